"""The report page: all that it is given is on it, escaped, and it asks nothing of the network."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from cpr_lightning.evaluation.report import ReportRow, write_report

VOID = {"meta", "img", "rect", "line", "br"}


class Page(HTMLParser):
    """Tags with their attributes, the text outside scripts and styles, and the tags left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


ROWS = [
    ReportRow("test/good/000.png", "heatmaps/good/000.png", 0, 1.5, False, ["train/good/001.png"]),
    ReportRow("test/good/001.png", "heatmaps/good/001.png", 0, 4.0, True, ["train/good/002.png"]),
    ReportRow("test/bent/000.png", "heatmaps/bent/000.png", 1, 9.25, True, []),
    ReportRow("test/bent/001.png", None, 1, 2.0, False, []),
    ReportRow("line/17.png", None, None, 3.0, None, []),
]


def report(folder: Path, rows: list[ReportRow] = ROWS, threshold: float | None = 3.5, title: str = "grid") -> Page:
    path = folder / "report.html"
    facts = {"dataset": "MVTec AD", "command": "cpr train a=<b> & c"}
    metrics = {"image_auroc": 0.98765, "pro": float("nan")}
    write_report(path, title=title, facts=facts, metrics=metrics, rows=rows, threshold=threshold)
    assert [found.name for found in folder.iterdir()] == ["report.html"]
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_everything_given_is_on_the_page(tmp_path: Path) -> None:
    page = report(tmp_path)
    given = [
        "MVTec AD",
        "cpr train a=<b> & c",
        "Image AUROC",
        "0.9877",
        "undefined",
        "threshold 3.5",
        "5 test images",
    ]
    given += [row.path for row in ROWS] + [neighbor for row in ROWS for neighbor in row.neighbors]
    assert [text for text in given if text not in page.text] == []
    assert [image["src"] for image in page.all("img")] == [
        "heatmaps/bent/000.png",
        "heatmaps/good/001.png",
        "heatmaps/good/000.png",
    ]


def test_cards_come_by_score_and_tell_mistakes(tmp_path: Path) -> None:
    cards = report(tmp_path).all("article")
    assert [float(card["data-score"]) for card in cards] == [9.25, 4.0, 3.0, 2.0, 1.5]
    kinds = ["defective", "good mistake", "unknown", "defective mistake", "good"]
    assert [card["data-is"] for card in cards] == kinds
    assert [row.mistake for row in ROWS] == [None, "false alarm", None, "missed", None]


def test_the_histogram_counts_every_score_once(tmp_path: Path) -> None:
    rows = [ReportRow(f"{i}.png", None, 0, 1.0, None, []) for i in range(3)]
    rows += [ReportRow(f"b{i}.png", None, 1, 2.0, None, []) for i in range(6)]
    page = report(tmp_path, rows, threshold=1.5)
    bars = {bar["class"]: bar for bar in page.all("rect")}
    assert len(page.all("rect")) == 2
    assert float(bars["bar defective"]["height"]) == pytest.approx(2 * float(bars["bar good"]["height"]))
    assert float(bars["bar good"]["x"]) < float(page.all("line")[0]["x1"]) < float(bars["bar defective"]["x"])
    assert page.all("line")[0]["x1"] == "2000.0"  # halfway


@pytest.mark.parametrize("score", [0.0, 7.0, -3e16])
def test_equal_scores_and_no_scores_have_a_page(tmp_path: Path, score: float) -> None:
    same = [ReportRow(name, None, None, score, None, []) for name in "ab"]
    assert len(report(tmp_path, same, threshold=None).all("rect")) == 1
    assert "no scores" in report(tmp_path, [], threshold=None).text


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>$title'
    row = ReportRow(evil, f"heatmaps/{evil} 100%#1?.png", 1, 1.0, None, [evil])
    page = report(tmp_path, [row], title=evil)
    assert len(page.all("script")) == 1  # the page's own
    assert page.text.count(evil) >= 4
    source = page.all("img")[0]["src"]
    assert unquote(source) == row.picture
    assert not set(source) & set('#?"<> ')


def test_file_names_that_are_not_utf_8_are_shown(tmp_path: Path) -> None:
    row = ReportRow("caf\udce9.png", "heatmaps/caf\udce9.png", 0, 1.0, None, [])
    page = report(tmp_path, [row])
    assert page.all("img")[0]["src"] == "heatmaps/caf%E9.png"


def test_the_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    page = report(tmp_path)
    addresses = [value for _, tag in page.tags for name, value in tag.items() if name in ("src", "href")]
    assert addresses
    assert not [address for address in addresses if ":" in address or address.startswith("/")]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "@import" not in html
    assert "url(" not in html
    assert "$" not in html


def test_scores_that_are_no_number_are_refused(tmp_path: Path) -> None:
    row = ReportRow("test/bent/002.png", None, 1, float("nan"), None, [])
    with pytest.raises(ValueError, match=r"test/bent/002\.png"):
        report(tmp_path, [*ROWS, row])
    with pytest.raises(ValueError, match="threshold"):
        report(tmp_path, threshold=float("inf"))
    assert not list(tmp_path.iterdir())
