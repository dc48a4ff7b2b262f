"""What stands in ``report.html``, whatever a browser makes of it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from fabricated import write_benchmark, write_run

from cpr_lightning.reporting.collect import collect
from cpr_lightning.reporting.page import write_page
from cpr_lightning.visual.overlay import write_png

GOOD = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.5, "pro": 0.7}
EVIL = "</script><script>alert(1)</script><!--&amp;"


def write(folder: Path, megabytes: int = 1) -> str:
    write_page(folder / "report" / "report.html", f"Runs {EVIL}", collect(folder), megabytes=megabytes)
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


def data_of(page: str, name: str) -> Any:
    found = re.findall(f'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert len(found) == 1
    return json.loads(found[0])


def test_runs_are_there_with_their_methods(tmp_path: Path):
    config = "branch:\n  dim: 64\ntraining:\n  max_steps: {}\n"
    write_run(tmp_path / "a", GOOD, config.format(7))
    write_run(tmp_path / "b", GOOD | {"seed": 67, "pro": None}, config.format(7))
    write_run(tmp_path / "c", GOOD | {"variant": "fast"}, config.format(7))
    write_benchmark(tmp_path / "c", 362.0)
    overview = data_of(write(tmp_path), "overview")
    assert [method["label"] for method in overview["methods"]] == ["cpr", "fast"]
    first, second, third = overview["runs"]
    assert [run["method"] for run in (first, second, third)] == [0, 0, 1]
    assert first["metrics"] == GOOD
    assert second["metrics"]["pro"] is None
    assert (third["speed"], third["condition"]) == (362.0, "eager fp32, batch 1, RTX 4090")
    assert first["link"] == "../a/"
    assert overview["settings"]["training.max_steps"] == "7"
    assert first["settings"] == {}


def test_no_text_can_end_its_element(tmp_path: Path):
    write_run(tmp_path / "a<b&", GOOD | {"category": EVIL})
    page = write(tmp_path)
    assert page.count("<script") == page.count("</script>") == 3  # overview, the run, the page's own
    assert data_of(page, "overview")["runs"][0]["category"] == EVIL
    assert data_of(page, "overview")["runs"][0]["link"] == "../a%3Cb%26/"
    assert "alert(1)</script>" not in page


def test_nothing_is_asked_of_the_network(tmp_path: Path):
    write_run(tmp_path / "a", GOOD)
    page = write(tmp_path).replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?:|//cdn|@import|url\(", page)
    assert "default-src 'none'" in page


def test_what_is_left_out_is_named(tmp_path: Path):
    write_run(tmp_path / "a", GOOD)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.yaml").touch()
    write_run(tmp_path / "b", {"pro": 0.7})
    (tmp_path / "b" / "metrics.json").write_text("{", encoding="utf-8")
    (tmp_path / "a" / "predictions.csv").write_text("nonsense\n1\n", encoding="utf-8")
    page = write(tmp_path)
    skipped = data_of(page, "overview")["skipped"]
    assert [Path(where).name for where, _ in skipped] == ["b", "half"]
    (note,) = data_of(page, "run-0")["notes"]
    assert "predictions.csv" in note


def test_pictures_are_shared_fairly_and_the_rest_is_linked(tmp_path: Path):
    noise = np.random.default_rng(0)
    for run in ("a", "b"):
        write_run(tmp_path / run, GOOD | {"seed": ord(run)})
        lines = [f"/data/test/hole/{n:03}.png,1,{20 + n}.0,10.0,1" for n in range(12)]
        text = "path,label,score,threshold,is_anomalous\n" + "\n".join(lines)
        (tmp_path / run / "predictions.csv").write_text(text, encoding="utf-8")
        (tmp_path / run / "heatmaps" / "hole").mkdir(parents=True)
        for number in range(12):
            picture = noise.integers(0, 256, (500, 640, 3), dtype=np.uint8)
            write_png(tmp_path / run / "heatmaps" / "hole" / f"{number:03}.png", picture)
    page = write(tmp_path)
    shown = [data_of(page, f"run-{number}")["worst"] for number in range(2)]
    pictures = [[image["picture"] for image in images] for images in shown]
    assert pictures[0][0] is not None  # the most telling one of each run comes before the second of any
    assert pictures[1][0] is not None
    assert None in pictures[0] + pictures[1]
    assert shown[0][3]["link"] == "../a/heatmaps/hole/003.png"
    assert data_of(page, "overview")["left_out"] > 0
    addresses = re.findall(r'<script type="text/plain" id="picture-\d+">(.*?)</script>', page)
    assert 0 < sum(map(len, addresses)) <= 1_000_000
    assert write(tmp_path, megabytes=0).count('type="text/plain"') == 0
