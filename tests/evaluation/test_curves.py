"""The curves against scikit-learn's, and against the figures that are the areas below them."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score

from cpr_lightning.evaluation.curves import POINTS, image_curves, pixel_curves
from cpr_lightning.evaluation.metrics import PRO_LIMIT, evaluate


def made_up(side: int = 12, step: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Maps with ties, and masks with two regions each, of three images; the first is good."""
    rng = np.random.default_rng(5)
    masks = np.zeros((3, side, side), bool)
    masks[1:, 1:4, 2:5] = masks[1:, 8:11, 7:9] = True
    maps = (rng.normal(size=masks.shape) + 1.5 * masks) / step
    return (np.round(maps) * step).astype(np.float32), masks


def area(curve: dict[str, list[float]]) -> float:
    x, y = curve.values()
    return float(np.trapezoid(y, x))


def test_image_curves_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = np.round(rng.normal(size=60) + labels, 1)
    curves = image_curves(scores, labels)
    assert list(curves) == ["image_roc", "image_pr"]
    assert area(curves["image_roc"]) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    precision, recall, _ = precision_recall_curve(labels, scores)
    theirs = {(round(r, 9), round(p, 9)) for p, r in zip(precision.tolist(), recall.tolist(), strict=True)}
    ours = list(zip(*curves["image_pr"].values(), strict=True))
    assert len(ours) == len(np.unique(scores[labels == 1]))
    assert {(round(r, 9), round(p, 9)) for r, p in ours} <= theirs


def test_the_areas_below_pixel_curves_are_the_figures() -> None:
    maps, masks = made_up()
    curves = pixel_curves(maps.copy(), masks)
    assert list(curves) == ["pixel_roc", "pixel_pr", "pro"]
    figures = evaluate(maps, masks, [1.0, 2.0, 3.0], [0, 1, 1])
    assert area(curves["pixel_roc"]) == pytest.approx(figures.pixel_auroc, abs=1e-12)
    assert area(curves["pro"]) / PRO_LIMIT == pytest.approx(figures.pro, abs=1e-12)
    assert curves["pro"]["false_positive_rate"][-1] == PRO_LIMIT
    recall, precision = (np.array(axis) for axis in curves["pixel_pr"].values())
    steps = np.diff(recall, prepend=0.0)
    assert float(np.sum(steps * precision)) == pytest.approx(figures.pixel_ap, abs=1e-12)


def test_many_points_are_thinned_to_a_curve_that_looks_the_same() -> None:
    maps, masks = made_up(side=200, step=1e-6)
    masks[1:, 20:90, 30:80] = True
    curves = pixel_curves(maps.copy(), masks)
    assert all(2 < len(axis) <= POINTS for curve in curves.values() for axis in curve.values())
    figures = evaluate(maps, masks, [1.0, 2.0, 3.0], [0, 1, 1])
    assert area(curves["pixel_roc"]) == pytest.approx(figures.pixel_auroc, abs=1e-3)
    assert list(zip(*curves["pixel_roc"].values(), strict=True))[-1] == (1.0, 1.0)


def test_there_is_no_curve_where_a_class_is_missing() -> None:
    maps, masks = made_up()
    assert pixel_curves(maps, np.zeros_like(masks)) == {}
    assert image_curves(np.array([1.0, 2.0]), np.array([1, 1])) == {}
