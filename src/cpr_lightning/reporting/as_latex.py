"""Tables as LaTeX, with the package booktabs."""

from collections.abc import Sequence
from itertools import groupby

from cpr_lightning.reporting.cells import Table
from cpr_lightning.reporting.published import PAPER

_SIGNS = {
    "\\": r"\textbackslash{}",
    "—": "---",
    "±": r"$\pm$",
    "−": "$-$",
    "✓": r"$\surd$",
    "×": r"$\times$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "[": "{[}",  # else it would be an argument of the \\\\ before it
    "`": r"\textasciigrave{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex(title: str, tables: Sequence[Table]) -> str:
    r"""A ``table`` environment for each table, to ``\input`` into a document."""
    head = [
        f"% {_one_line(title)}",
        r"% \input this file; it needs \usepackage{booktabs,graphicx}. Published: " + PAPER + ".",
        "% Numbers are in percent, unless the head says images/s; the spread is the sample standard deviation over",
        "% seeds.",
    ]
    return "\n\n".join(["\n".join(head), *map(_table, tables)]) + "\n"


def _table(table: Table) -> str:
    parts = table.parts
    first = len(table.headers) + 1  # the first column behind the labels
    titles, rules = [""] * len(table.headers), []
    for title, members in groupby(parts, key=lambda part: part.column.title):
        width = len(list(members))
        titles.append(f"\\multicolumn{{{width}}}{{c}}{{{_escaped(title)}}}")
        rules.append(f"\\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    lines = [
        r"\begin{table}[p]",
        r"  \centering\footnotesize\setlength{\tabcolsep}{3pt}",
        f"  \\caption{{{_caption(table)}}}\\smallskip",
        f"  \\label{{tab:{table.name}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"  \\begin{{tabular}}{{{'l' * len(table.headers)}{'r' * len(parts)}}}",
        r"    \toprule",
        f"    {' & '.join(titles)} \\\\",
        f"    {' '.join(rules)}",
        f"    {' & '.join([*map(_escaped, table.headers), *(part.kind for part in parts)])} \\\\",
        r"    \midrule",
    ]
    for number, row in enumerate(table.rows):
        lines.append(f"    {' & '.join(_cells(row.labels, [part.text(row) for part in parts], row.is_average))} \\\\")
        if row.is_average and number + 1 < len(table.rows):
            lines.append(r"    \midrule")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"])


def _cells(labels: Sequence[str], texts: Sequence[str], bold: bool) -> list[str]:
    cells = [_escaped(text) for text in (*labels, *texts)]
    return [f"\\textbf{{{cell}}}" if bold else cell for cell in cells]


def _caption(table: Table) -> str:
    return _escaped(" ".join([f"{table.group}: {table.title}.", *table.notes]))


def _escaped(text: str) -> str:
    return "".join(_SIGNS.get(sign, sign) for sign in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())
