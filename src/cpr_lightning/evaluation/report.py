"""One page about one run: its figures, its settings, and every test image with its heat map.

The page is a single HTML file that asks nothing of the network. It shows the pictures of the run directory it
lies in by relative paths, so the directory can be moved or zipped as a whole, and the page alone cannot.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from cpr_lightning.files import replaced

_SOURCES = files("cpr_lightning.evaluation")
PALETTE = _SOURCES.joinpath("palette.css").read_text(encoding="utf-8")  # of all pages, light and dark
_BINS = 40
_METRIC_NAMES = {
    "image_auroc": "Image AUROC",
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "pro": "PRO",
}


@dataclass(frozen=True)
class ReportRow:
    """One test image."""

    path: str  # as it is shown
    picture: str | None  # POSIX path relative to the report's folder, such as heatmaps/bent/000.png
    label: int | None  # 0 good, 1 defective, None unknown
    score: float
    is_anomalous: bool | None  # the verdict; None where the run has no threshold
    neighbors: list[str]  # the reference images it was compared with, nearest first

    @property
    def kind(self) -> str:
        """``good``, ``defective`` or ``unknown``: what the image is, whatever the verdict."""
        return "unknown" if self.label is None else "defective" if self.label else "good"

    @property
    def mistake(self) -> str | None:
        """What is wrong with the verdict, where both it and the truth are known."""
        if self.label is None or self.is_anomalous is None or bool(self.label) == self.is_anomalous:
            return None
        return "missed" if self.label else "false alarm"


def write_report(
    path: Path,
    *,
    title: str,
    facts: dict[str, str],
    metrics: dict[str, float],
    rows: Sequence[ReportRow],
    threshold: float | None = None,
) -> None:
    """Write the page; a reader never sees half of it.

    Args:
        path: the HTML file, normally ``RUN_DIR/report.html``; its folder must exist.
        title: the heading.
        facts: what was run, in the order to show: dataset, category, variant, backbone, steps, seed, command.
        metrics: fractions in [0, 1] by name; NaN is shown as undefined.
        rows: the test images in any order; the page lists the highest score first.
        threshold: the image score from which an image is called anomalous, if there is one.

    Raises:
        ValueError: a score or the threshold is NaN or infinite.
        OSError: the file cannot be written.

    """
    unusable = [row.path for row in rows if not isfinite(row.score)]
    if unusable:
        raise ValueError(f"The score of {unusable[0]} is not a finite number, so it cannot be ranked in a report.")
    if threshold is not None and not isfinite(threshold):
        raise ValueError(f"The threshold of a report must be a finite number, but is {threshold}.")

    template = Template(_SOURCES.joinpath("report.html").read_text(encoding="utf-8"))
    page = template.substitute(
        palette=PALETTE,
        title=escape(title),
        metrics="".join(_metric(name, value) for name, value in metrics.items()),
        facts="".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()),
        histogram=_histogram(rows, threshold),
        count=f"{len(rows)} test image{'' if len(rows) == 1 else 's'}",
        images="\n".join(_image(row) for row in sorted(rows, key=lambda row: -row.score)),
    )
    with replaced(path) as temporary:
        # A file name that is no UTF-8 reaches here with surrogates, which cannot be encoded as they are.
        temporary.write_bytes(page.encode("utf-8", "backslashreplace"))


def _metric(name: str, value: float) -> str:
    shown = escape(_METRIC_NAMES.get(name, name.replace("_", " ")))
    figure = f"<dd>{value:.4f}</dd>" if isfinite(value) else '<dd class="undefined">undefined</dd>'
    return f"<div><dt>{shown}</dt>{figure}</div>"


def _image(row: ReportRow) -> str:
    name = escape(row.path)
    picture = ""
    if row.picture is not None:
        # quote() keeps "#", "?" and "%" of a file name from being read as parts of an address.
        source = escape(quote(os.fsencode(row.picture)))
        picture = f'<a href="{source}"><img src="{source}" alt="Heat map of {name}" loading="lazy"></a>'
    verdict = "" if row.is_anomalous is None else f"<span>called {'anomalous' if row.is_anomalous else 'good'}</span>"
    mistake = "" if row.mistake is None else f'<span class="mistake">{row.mistake}</span>'
    neighbors = ""
    if row.neighbors:
        listed = "".join(f"<li>{escape(neighbor)}</li>" for neighbor in row.neighbors)
        neighbors = f"<details><summary>{len(row.neighbors)} neighbors</summary><ol>{listed}</ol></details>"
    kinds = row.kind if row.mistake is None else f"{row.kind} mistake"
    return (
        f'<article data-score="{row.score!r}" data-path="{name}" data-is="{kinds}">{picture}<div>'
        f'<div class="path">{name}</div><div class="line"><span>score <b>{row.score:.4g}</b></span>'
        f'<span class="label {row.kind}">{row.kind}</span>{verdict}{mistake}</div>{neighbors}</div></article>'
    )


def _histogram(rows: Sequence[ReportRow], threshold: float | None) -> str:
    """Bars of the image scores by kind, laid over each other, as inline SVG with its legend."""
    if not rows:
        return "<p>There are no scores.</p>"
    seen = [row.score for row in rows] + ([] if threshold is None else [threshold])
    low, high = min(seen), max(seen)
    size = max(1.0, abs(low), abs(high))
    if high - low < 1e-9 * size:  # all but equal scores: float64 could not tell the edges of the bins apart
        low, high = low - size / 2, high + size / 2
    edges = np.linspace(low, high, _BINS + 1)
    scores = {
        kind: [row.score for row in rows if row.kind == kind]
        for kind in ("good", "defective", "unknown")
        if any(row.kind == kind for row in rows)
    }
    counts = {kind: np.histogram(values, edges)[0] for kind, values in scores.items()}
    tallest = max(int(count.max()) for count in counts.values())
    shapes = "".join(_bars(kind, count, tallest) for kind, count in counts.items())
    legend = "".join(f'<span><i class="{kind}"></i>{kind} ({len(values)})</span>' for kind, values in scores.items())
    if threshold is not None:
        x = 100 * _BINS * (threshold - low) / (high - low)
        shapes += f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="1000"/>'
        legend += f'<span><i class="dashes"></i>threshold {threshold:.4g}</span>'
    ticks = "".join(f"<span>{value:.4g}</span>" for value in np.linspace(low, high, 5))
    return (
        f'<svg viewBox="0 0 {100 * _BINS} 1000" preserveAspectRatio="none" role="img" '
        f'aria-label="Histogram of the image scores">{shapes}</svg>'
        f'<div class="axis">{ticks}</div><div class="legend">{legend}</div>'
    )


def _bars(kind: str, counts: NDArray[np.integer], tallest: int) -> str:
    return "".join(
        f'<rect class="bar {kind}" x="{100 * index + 6}" y="{1000 - 960 * int(count) / tallest:.1f}" '
        f'width="88" height="{960 * int(count) / tallest:.1f}"/>'
        for index, count in enumerate(counts)
        if count
    )
