"""The paper's numbers, and which of them belongs to which runs.

Numbers are in percent, speeds in images per second. They stand in ``published/``, with their source.
"""

import csv
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from cpr_lightning.reporting.rows import TOTAL_AVERAGE

PAPER = "arXiv 2308.06748"
SPEED, SPEED_TENSORRT = "images_per_second", "images_per_second_tensorrt"
OWN = "CPR"  # the paper's own row
VARIANTS = {"cpr": OWN, "fast": "CPR-Fast", "faster": "CPR-Faster"}  # as Table VIII calls them
BACKBONES = {"cpr": "densenet201", "fast": "densenet201", "faster": "efficientnet_b0"}
MACHINE = "RTX 4090"

Figures = Mapping[tuple[str, str], float]  # (row, metric) → number

_CATEGORIES = {
    ("mvtec", "unsupervised"): ("Table I", "table1_mvtec_unsupervised"),
    ("mvtec3d", "unsupervised"): ("Table III", "table3_mvtec3d_unsupervised"),
    ("btad", "unsupervised"): ("Table IV", "table4_btad_unsupervised"),
    ("mvtec", "supervised"): ("Table V", "table5_mvtec_supervised"),
    ("btad", "supervised"): ("Table VI", "table6_btad_supervised"),
}
_MVTEC = ("mvtec", "unsupervised")  # what Tables II, VII and VIII are about
_METRICS = {"ap": "pixel_ap", "fps_pytorch": SPEED, "fps_tensorrt": SPEED_TENSORRT}
_WHOLE = 7
# The parts of the method, as Table VII calls them, and which of them an ablation is without.
PARTS = ("GRB", "FEB", "LRB", "MS", "PW")
_WITHOUT = {
    "full": (),
    "no_global": ("GRB",),
    "whole_bank": ("GRB",),
    "no_foreground": ("FEB",),
    "no_local": ("LRB", "PW"),
    "no_multiscale": ("MS",),
    "no_pair_weight": ("PW",),
}


@cache
def category_figures(dataset: str, scenario: str) -> dict[str, Figures]:
    """Method → its numbers per category and average (Tables I, III–VI); empty where the paper has none."""
    if (dataset, scenario) not in _CATEGORIES:
        return {}
    methods: dict[str, dict[tuple[str, str], float]] = {}
    for line in read(_CATEGORIES[dataset, scenario][1]):
        methods.setdefault(line["method"], {}).update(_figures(line, _row_name(line["category"])))
    return dict(methods)


def image_auroc_figures(dataset: str, scenario: str) -> dict[str, Figures]:
    """Method → its image AUROC (Table II)."""
    if (dataset, scenario) != _MVTEC:
        return {}
    return {line["method"]: _figures(line, TOTAL_AVERAGE) for line in read("table2_mvtec_image_auroc")}


def row_of_table_7(ablation: str) -> int | None:
    """The number of the row, from 1 to 7, that an ablation is; None where it is none of them."""
    own = re.fullmatch(r"table7_([1-7])", ablation)
    return int(own.group(1)) if own else {"no_pair_weight": _WHOLE - 1, "full": _WHOLE}.get(ablation)


def ablation_figures(dataset: str, scenario: str, row: int) -> Figures:
    """The numbers of a row of Table VII."""
    return _figures(read("table7_ablation")[row - 1], TOTAL_AVERAGE) if (dataset, scenario) == _MVTEC else {}


def ablation_parts(ablation: str) -> dict[str, bool]:
    """Which of ``PARTS`` an ablation has; empty where it is not known."""
    row = row_of_table_7(ablation)
    if row is not None:
        marks = [value for value in read("table7_ablation")[row - 1].values() if value in ("yes", "no")]
        return {part: mark == "yes" for part, mark in zip(PARTS, marks, strict=True)}
    return {part: part not in _WITHOUT[ablation] for part in PARTS} if ablation in _WITHOUT else {}


def speed_figures(dataset: str, scenario: str) -> dict[str, Figures]:
    """Method → accuracy and speed (Table VIII)."""
    if (dataset, scenario) != _MVTEC:
        return {}
    return {line["method"]: _figures(line, TOTAL_AVERAGE) for line in read("table8_speed")}


def figures_of(dataset: str, scenario: str, variant: str, ablation: str) -> Figures:
    """Every number that the paper has of one method on one data set."""
    row = row_of_table_7(ablation)
    if row != _WHOLE:
        return ablation_figures(dataset, scenario, row) if row is not None and variant == "cpr" else {}
    own = dict(speed_figures(dataset, scenario).get(VARIANTS.get(variant, ""), {}))
    if variant == "cpr":
        own |= image_auroc_figures(dataset, scenario).get(OWN, {})
        own |= category_figures(dataset, scenario).get(OWN, {})
    return own


def source(dataset: str, scenario: str, variant: str, ablation: str) -> str | None:
    """The table of the paper that the numbers of a method on a data set are from; None where it has none."""
    if not figures_of(dataset, scenario, variant, ablation):
        return None
    row = row_of_table_7(ablation)
    if row != _WHOLE:
        return "Table VII"
    return _CATEGORIES[dataset, scenario][0] if variant == "cpr" else "Table VIII"


@cache
def read(name: str) -> list[dict[str, str]]:
    """The lines of a table of ``published/``."""
    text = files("cpr_lightning.reporting").joinpath("published", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _figures(line: Mapping[str, str], row: str) -> dict[tuple[str, str], float]:
    """The numbers of a line; what is no number is its name or a note, and empty is a number that was not published."""
    return {
        (row, _METRICS.get(key, key)): float(value)
        for key, value in line.items()
        if key not in ("category", "method", "note") and value not in ("", "yes", "no")
    }


def _row_name(printed: str) -> str:
    """``Metal Nut`` and ``CableGland`` as the data sets have them: ``metal_nut``, ``cable_gland``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", printed).replace(" ", "_").lower()
