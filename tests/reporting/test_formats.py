"""One table in every format; names with signs that mean something there."""

import csv
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

from cpr_lightning.reporting.as_csv import write_tables_csv
from cpr_lightning.reporting.as_latex import latex
from cpr_lightning.reporting.as_markdown import markdown
from cpr_lightning.reporting.cells import RATE, Cell, Column, Row, Table, table_name
from cpr_lightning.reporting.collect import Collected, Skipped
from cpr_lightning.reporting.measured import Measured
from cpr_lightning.reporting.terminal import print_tables

EVIL = r"m_1 & 50% #2 {x} ^~ \a $b$ | <i> `c` *d* [e]"


def table(label: str = "carpet") -> Table:
    rows = [
        Row(
            (label,),
            {"pro": Cell(Measured(81.25000000000001, 1 / 3, 3), 81.6), "rate": Cell(Measured(7.25, None, 1), 113.0)},
            facts={"row": label},
        ),
        Row(("missing",), {}, facts={"row": "missing"}),
        Row(
            ("Average",),
            {"pro": Cell(Measured(99.96, None, 1, 3, 5), 50.0), "rate": Cell(None, 1016.0)},
            is_average=True,
            facts={"row": "average"},
        ),
        Row(("equal",), {"pro": Cell(Measured(81.649, None, 1), 81.6)}, facts={"row": "equal"}),
    ]
    columns = [
        Column("pro", "PRO", facts={"metric": "pro"}),
        Column("rate", "images/s", RATE, facts={"metric": "rate"}),
        Column("none", "of nobody", facts={"metric": "none"}),
    ]
    return Table(
        "pro-of-all", f"tiny {label}", f"of {label}", ("name",), columns, rows, [f"Note: {label}."], {"dataset": "tiny"}
    )


SHOWN = [
    ["81.3 ± 0.3", "81.6", "−0.3", "7.2", "113", "−106"],
    ["—"] * 6,
    ["100.0 (3/5)", "50.0", "—", "—", "1016", "—"],
    ["81.6", "81.6", "0.0", "—", "—", "—"],
]


def test_cells_have_one_decimal_as_in_the_paper():
    made = table()
    kinds = ["measured", "published", "difference"]
    assert [(part.column.key, part.kind) for part in made.parts] == [
        (key, kind) for key in ("pro", "rate") for kind in kinds
    ]
    assert [[part.text(row) for part in made.parts] for row in made.rows] == SHOWN


def test_names_of_tables():
    assert table_name("Image AUROC", "mvtec, a=[3, 1]") == "image-auroc-mvtec-a-3-1"


def test_csv_has_every_cell_at_full_precision(tmp_path: Path):
    write_tables_csv(tmp_path / "report.csv", [table(EVIL)])
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["metric"]) for line in lines] == [
        (row, metric) for row in (EVIL, "missing", "average", "equal") for metric in ("pro", "rate")
    ]
    assert all(line["dataset"] == "tiny" and line["method"] == "" for line in lines)
    numbers = ("measured", "spread", "seeds", "published", "difference", "categories", "of_categories")
    assert [lines[0][key] for key in numbers] == ["81.25", "0.3333333333", "3", "81.6", "-0.35", "1", "1"]
    assert [lines[4][key] for key in numbers] == ["99.96", "", "1", "50.0", "", "3", "5"]
    assert [lines[5][key] for key in numbers] == ["", "", "", "1016.0", "", "", ""]
    assert {line["unit"] for line in lines[::2]} == {"percent"}
    assert {line["unit"] for line in lines[1::2]} == {"images/s"}


def test_markdown_has_the_tables_and_what_was_skipped():
    collected = Collected(skipped=[Skipped(Path("a_b/c*"), "it is <b>broken</b>")])
    text = markdown("3 runs", [table(EVIL), table()], collected)
    tokens = MarkdownIt().enable("table").parse(text)
    cells: list[list[str]] = []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            cells.append([])
        if before.type in ("th_open", "td_open"):
            cells[-1].append("".join(child.content for child in token.children or []))
    heads = [f"{title}, {kind}" for title in ("PRO", "images/s") for kind in ("measured", "published", "difference")]
    labels = [EVIL, "missing", "Average", "equal"]
    assert cells[:5] == [["name", *heads], *([label, *texts] for label, texts in zip(labels, SHOWN, strict=True))]
    assert len(cells) == 10
    headings = [
        "".join(child.content for child in token.children or [])
        for before, token in pairwise(tokens)
        if before.type == "heading_open"
    ]
    assert headings == ["3 runs", f"tiny {EVIL}", f"of {EVIL}", "tiny carpet", "of carpet", "Skipped"]
    inline = [child.content for token in tokens for child in token.children or []]
    assert "".join(inline).count("a_b/c*: it is <b>broken</b>") == 1
    assert not [token for token in tokens if token.type.startswith("html")]


def test_latex_has_a_table_with_as_many_cells_as_columns():
    text = latex("3 runs", [table()])
    columns = re.search(r"\\begin{tabular}{(l+)(r+)}", text)
    assert columns is not None
    assert (len(columns.group(1)), len(columns.group(2))) == (1, 6)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if "&" in line]
    assert len(rows) == 4
    assert all(line.count("&") == 6 and line.endswith(r" \\") for line in rows)
    assert r"carpet & 81.3 $\pm$ 0.3 & 81.6 & $-$0.3 & 7.2 & 113 & $-$106 \\" in rows[0]
    assert r"\textbf{100.0 (3/5)}" in rows[2]
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}" in text
    assert r"\label{tab:pro-of-all}" in text
    assert text.isascii()


def test_latex_escapes_what_it_would_take_for_its_own():
    text = latex("3 runs\nof \udce9 folder", [table(EVIL)])
    assert all(line.startswith("%") for line in text.splitlines()[:3])
    row = next(line for line in text.splitlines() if line.strip().startswith("m"))
    assert row.strip().startswith(
        r"m\_1 \& 50\% \#2 \{x\} \textasciicircum{}\textasciitilde{} \textbackslash{}a \$b\$ $|$ $<$i$>$ "
        r"\textasciigrave{}c\textasciigrave{} *d* {[}e] & 81.3"
    )
    plain = re.sub(r"\\[\\&%$#_{}]", "", text.split("\\centering", 1)[1])
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path):
    (tmp_path / "tables.tex").write_text(latex("3 runs", [table(EVIL), table()]), encoding="utf-8")
    page = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\\input{tables.tex}\\end{document}"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_every_cell_within_its_width(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", str(width))
    print_tables([table("[bold]carpet")])
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(cell_len, lines)) <= width
    assert "…" not in out
    words = [line.split() for line in lines]
    shown = [[text.replace(" ± ", "±") for text in texts] for texts in SHOWN]
    portions = [texts for texts in words if texts[:1] == ["[bold]carpet"]]
    assert [text for texts in portions for text in texts[1:]] == shown[0]
    assert len(portions) == (2 if width == 60 else 1)
    heads = [texts for texts in words if texts[:1] == ["name"]]
    assert [text for texts in heads for text in texts[1:]] == ["here", "paper", "diff."] * 2
    assert out.splitlines()[0] == "tiny [bold]carpet · of [bold]carpet"
    assert "Note: [bold]carpet." in lines
