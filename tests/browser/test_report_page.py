"""``report.html`` in a real browser, opened from the disk: it loads, sorts, filters, opens a run, and says no error."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cpr_lightning.reporting.collect import Collected, collect
from cpr_lightning.reporting.measured import measure
from cpr_lightning.reporting.page import write_page
from cpr_lightning.reporting.records import Record
from cpr_lightning.reporting.rows import CategoryRow
from cpr_lightning.reporting.speeds import Speed
from cpr_lightning.visual.overlay import write_png

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CATEGORIES = ("bottle", "cable", "grid", "screw")
ABLATIONS = ("full", "no_foreground", "no_local")
EVIL = '<img src=x onerror="document.title=1">'


def record(folder: Path, number: int, category: str, variant: str, ablation: str, seed: int) -> Record:
    value = np.random.default_rng([number, seed]).uniform(0.5, 0.99)
    names = ("pixel_ap", "pro", "pixel_auroc", "image_auroc")
    speed = Speed(100.0 + number, False, "eager fp32, batch 1, RTX 4090") if ablation == "full" else None
    return Record(
        *(folder / f"run{number:04}", "mvtec", category, variant, ablation, "unsupervised", seed),
        metrics={name: value ** (1 / place) for place, name in enumerate(names, 1)},
        settings={"config.yaml": "there"},
        written=1.7e9,
        backbone="resnet18",
        speed=speed,
    )


def sweep(folder: Path, seeds: int) -> list[Record]:
    cells = [
        (category, variant, ablation, seed)
        for variant in ("cpr", "fast", "faster")
        for ablation in ABLATIONS
        for category in CATEGORIES
        for seed in range(seeds)
    ]
    return [record(folder, number, *cell) for number, cell in enumerate(cells)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Collected]:
    """A page over 72 runs, one of them with files; its data."""
    folder = tmp_path_factory.mktemp("page")
    records = sweep(folder, 2)
    run = records[0].folder
    (run / "training_log" / "version_0").mkdir(parents=True)
    log = "loss,loss_same,step\n" + "".join(f"{1 / step},{0.5 / step},{step}\n" for step in range(1, 30))
    (run / "training_log" / "version_0" / "metrics.csv").write_text(log, encoding="utf-8")
    lines = [f"/d/test/hole/{n}.png,1,{5 + 2 * n},10.0,{int(5 + 2 * n > 10)},{run / 'ref.png'}" for n in range(6)]
    head = "path,label,score,threshold,is_anomalous,neighbor_1\n"
    (run / "predictions.csv").write_text(head + "\n".join(lines) + f"\n/d/test/good/{EVIL},0,2,10,0,\n", "utf-8")
    (run / "heatmaps" / "hole").mkdir(parents=True)
    (run / "figures").mkdir()
    pictures = ["ref.png", "figures/foreground.png", *(f"heatmaps/hole/{n}.png" for n in range(5))]
    for name in pictures:
        write_png(run / name, np.full((60, 180, 3), 90, np.uint8))
    collected = Collected(records, skipped=collect_skipped(folder))
    path = folder / "report" / "report.html"
    write_page(path, f"72 runs {EVIL}", collected)
    return path, collected


def collect_skipped(folder: Path) -> list[Any]:
    """What ``collect`` says of a damaged run beside a sound one."""
    for name, text in (("sound", '{"dataset": "d", "category": "c", "variant": "v", "ablation": "a", '
                                 '"scenario": "s", "seed": 1, "pro": 0.5}'), ("damaged", "{")):  # fmt: skip
        (folder / "others" / name).mkdir(parents=True)
        (folder / "others" / name / "metrics.json").write_text(text, encoding="utf-8")
    return collect(folder / "others").skipped


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Headless Chromium."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (a development group)")
    if CHROMIUM is None:
        pytest.skip("There is no Chromium on this machine; Debian's package is `chromium`.")
    with driver.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def page(browser: "Browser", small: tuple[Path, Collected]) -> "Iterator[Page]":
    """The page of ``small``, opened; at the end nothing was said on the console and nothing was fetched."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "request", lambda request: errors.extend([] if request.url.startswith(("file:", "data:")) else [request.url])
    )
    tab.goto(small[0].as_uri())
    yield tab
    tab.close()
    assert errors == []


def column(page: "Page", number: int) -> list[str]:
    return page.locator(f"#leaderboard tbody tr > :nth-child({number})").all_inner_texts()


def head(page: "Page", name: str) -> int:
    """The number of a column by its head, from 1."""
    return 1 + [text.strip() for text in page.locator("#leaderboard thead th").all_inner_texts()].index(name)


def test_it_sorts_by_every_column_both_ways(page: "Page"):
    page.select_option("#rows", "0")
    assert page.locator("#leaderboard tbody tr").count() == 72
    number = head(page, "Pixel AP")
    shown = [float(value) for value in column(page, number)]
    assert shown == sorted(shown, reverse=True)
    page.click("#leaderboard thead th[data-key=pixel_ap] button")
    assert [float(value) for value in column(page, number)] == sorted(shown)
    assert page.get_attribute("#leaderboard thead th[data-key=pixel_ap]", "aria-sort") == "ascending"
    page.focus("#leaderboard thead th[data-key=category] button")
    page.keyboard.press("Enter")
    assert column(page, 1) == sorted(column(page, 1))
    for _ in range(2):
        page.click("#leaderboard thead th[data-key=speed] button")
        speeds = column(page, head(page, "images/s"))
        assert speeds[24:] == ["—"] * 48  # what is missing comes last, up or down
        assert "—" not in speeds[:24]


def test_it_filters_and_pages(page: "Page"):
    assert page.locator("#leaderboard tbody tr").count() == 25
    page.click("#pages button[aria-label='Next page']")
    assert "26–50 of 72" in page.inner_text("#pages")
    page.select_option("#filter-variant", "=fast")
    page.select_option("#filter-category", "=screw")
    assert page.inner_text("#count") == "6 of 72 runs"
    assert set(column(page, 1)) == {"screw"}
    page.fill("#search", "no_local")
    assert page.inner_text("#count") == "2 of 72 runs"
    page.fill("#search", "nothing like it")
    assert "No run fits" in page.inner_text("#leaderboard tbody")
    page.click("#filters button[type=reset]")
    # Not wait_for_function: its second look evaluates a string inside the page, which the page's own policy forbids.
    page.locator("#count", has_text=re.compile("^72 runs$")).wait_for()


def test_charts_say_what_the_tables_say(page: "Page", small: tuple[Path, Collected]):
    records = [r for r in small[1].records if r.variant == "fast" and r.ablation == "no_local"]
    measured = measure(records, CategoryRow("average", CATEGORIES), "pro")
    assert measured is not None
    assert measured.spread is not None
    page.select_option("#metric", "pro")
    wanted = f"{measured.mean:.1f} ± {measured.spread:.1f}"
    assert page.locator(f"svg [aria-label^='fast, no_local: {wanted}']").count() == 1
    heat = page.locator("table.heat")
    assert heat.locator("tbody th").all_inner_texts() == ["cpr", "fast", "faster"]
    heat.page.locator(".heat-section select").select_option("methods")
    row = page.locator("table.heat tbody tr", has=page.get_by_role("rowheader", name="fast, no_local", exact=True))
    assert row.locator("td").last.inner_text() == wanted
    assert page.locator("svg path.mark").count() == 3  # the variants that were timed


def test_a_run_opens_and_the_way_back_keeps_the_filters(page: "Page"):
    page.select_option("#filter-variant", "=cpr")
    page.fill("#search", "run0000")
    page.focus("#leaderboard tbody a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run-title")
    assert page.inner_text("#run-title") == "mvtec / bottle / cpr / seed 0"
    assert page.locator("#run-view path.curve").count() == 2
    assert page.locator("#run-view rect.bar").count() > 0
    view = page.inner_text("#run-view")
    assert EVIL in view  # as text
    for word in ("missed", "Worst images", "Best images", "Foreground", "resnet18"):
        assert word in view
    assert page.evaluate("[...document.querySelectorAll('#run-view img')].every((i) => i.naturalWidth > 0)")
    assert page.locator("#run-view article a > img").count() == 5
    page.go_back()
    page.wait_for_selector("#leaderboard", state="visible")
    assert page.inner_text("#count") == "1 of 72 runs"


def test_a_picture_that_is_neither_in_the_page_nor_beside_it_is_linked(browser: "Browser", tmp_path: Path):
    records = sweep(tmp_path, 1)[:1]
    run = records[0].folder
    write_png(run / "heatmaps" / "hole" / "0.png", np.full((60, 180, 3), 90, np.uint8))
    text = "path,label,score,threshold,is_anomalous\n/d/test/hole/0.png,1,5,10.0,0\n"
    (run / "predictions.csv").write_text(text, encoding="utf-8")
    path = tmp_path / "report.html"
    write_page(path, "One run", Collected(records), megabytes=0)
    tab = browser.new_page()
    opened = "location.hash = data.runs[0].address"
    tab.goto(path.as_uri())
    tab.evaluate(opened)
    tab.wait_for_selector("#run-view article img")
    assert tab.evaluate("document.querySelector('#run-view article img').decode().then(() => 1)") == 1
    assert tab.evaluate("document.querySelector('#run-view article img').naturalWidth") == 180
    shutil.rmtree(run)
    tab.reload()
    tab.wait_for_selector("#run-view article .absent")
    assert tab.get_attribute("#run-view article a", "href") == "run0000/heatmaps/hole/0.png"
    tab.close()


def test_what_was_skipped_is_listed(page: "Page"):
    assert "One folder or file was skipped" in page.inner_text("#notice")
    assert "not JSON" in page.inner_text("#left-out")
    assert EVIL in page.inner_text("h1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_sideways(browser: "Browser", small: tuple[Path, Collected], width: int, scheme: Any):
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab.goto(small[0].as_uri())
    wide = "document.documentElement.scrollWidth"
    assert tab.evaluate(wide) <= width
    tab.evaluate("location.hash = data.runs[0].address")
    tab.wait_for_selector("#run-title")
    assert tab.evaluate(wide) <= width
    red, green, blue = tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert (red + green + blue < 200) == (scheme == "dark")
    tab.close()


def test_a_thousand_runs_load_and_sort(browser: "Browser", tmp_path: Path):
    path = tmp_path / "report.html"
    write_page(path, "1008 runs", Collected(sweep(tmp_path, 28)))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    assert tab.inner_text("#count") == "1,008 runs"
    tab.click("#leaderboard thead th[data-key=pro] button")
    shown = [float(value) for value in column(tab, head(tab, "PRO"))]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 25
    assert tab.locator("#leaderboard tbody tr").count() == 25
    tab.close()
