"""Plots of what ``benchmarks/speed.py`` measured.

python benchmarks/plots.py experiments/speed
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_COLOURS = {"whole": "#1b4965", "network": "#5fa8d3", "matching": "#d1495b", "targeting": "#66a182"}
_AXES = {
    "neighbors": ("K, references an image is matched with", "linear"),
    "window": ("window of the finer scale, cells on a side", "linear"),
    "image_size": ("image size, pixels on a side", "linear"),
    "references": ("references in the bank (mapped from disk)", "log"),
}
_BARS = ["plain", "eager fp32", "openvino fp32", "openvino bf16"]


def main() -> None:
    """Draw every plot whose numbers are there."""
    folder = Path(sys.argv[1])
    curves, sides = folder / "curves.json", folder / "sides.json"
    if curves.is_file():
        rows = json.loads(curves.read_text(encoding="utf-8"))["rows"]
        for axis, (label, scale) in _AXES.items():
            draw_curve([row for row in rows if row["axis"] == axis], label, scale, folder / f"{axis}.png")
    if sides.is_file():
        rows = json.loads(sides.read_text(encoding="utf-8"))["rows"]
        draw_sides([row for row in rows if row["what"] == "whole" and row["threads"] == 2], folder / "sides.png")


def draw_curve(rows: list[dict[str, Any]], label: str, scale: str, path: Path) -> None:
    """Milliseconds of every part against one quantity."""
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for subject, colour in _COLOURS.items():
        points = [(row["value"], row["median_ms"]) for row in rows if row["subject"] == subject]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=subject)
    axes.set(xlabel=label, ylabel="ms per image (median)", xscale=scale, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_sides(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds of whole images, plain beside ours, on a logarithmic scale."""
    groups = list(dict.fromkeys((row["variant"], row["kind"]) for row in rows))
    figure, axes = plt.subplots(figsize=(7.2, 4), layout="constrained")
    colours = ["#8d99ae", "#5fa8d3", "#1b4965", "#d1495b"]
    for place, (subject, colour) in enumerate(zip(_BARS, colours, strict=True)):
        found = {(row["variant"], row["kind"]): row["median_ms"] for row in rows if row["subject"] == subject}
        heights = [found[group] for group in groups]
        bars = axes.bar(
            [at + (place - 1.5) * 0.2 for at in range(len(groups))], heights, 0.19, color=colour, label=subject
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(groups)), [f"{name}\n({kind})" for name, kind in groups])
    axes.set(ylabel="ms per image (median)", yscale="log")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", frameon=False, ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
