"""The curves behind the figures of a test set: ROC and precision–recall of images and of pixels, and PRO's."""

import numpy as np
from numpy.typing import NDArray

from cpr_lightning.evaluation.metrics import Ranking, overlap_curve

POINTS = 200
"""Of a curve, at most: more than a picture of it can show."""
_CANDIDATES = 100 * POINTS

Curves = dict[str, dict[str, list[float]]]
"""Name → its two axes by name, x before y, in the order of falling thresholds."""


def image_curves(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Curves:
    """``image_roc`` and ``image_pr`` of (N,) scores and (N,) labels, 1 defective; none where a class is missing."""
    scores = np.asarray(scores, dtype=np.float64)
    return _roc_and_pr("image", Ranking.of(scores[labels == 1], scores[labels == 0]))


def pixel_curves(maps: NDArray[np.floating], masks: NDArray[np.bool_]) -> Curves:
    """``pixel_roc``, ``pixel_pr`` and ``pro`` (up to a false positive rate of 0.3) of (N, H, W) maps and masks.

    There are none where a class is missing.
    """
    ranking = Ranking.of(maps[masks], maps[~masks])
    if not ranking.has_both_classes:
        return {}
    rates, overlaps = overlap_curve(ranking, masks)
    some = _some(len(rates))
    pro = _curve("false_positive_rate", rates[some], "region_overlap", overlaps[some])
    return _roc_and_pr("pixel", ranking) | {"pro": pro}


def _roc_and_pr(name: str, ranking: Ranking) -> Curves:
    if not ranking.has_both_classes:
        return {}
    some = _some(len(ranking.counts))
    found, above, from_here = np.cumsum(ranking.counts)[some], ranking.above[some], ranking.from_here[some]
    # Between two thresholds that find defects lie only false alarms: a level piece joins them.
    before = found - ranking.counts[some]
    wrong = np.stack((above, from_here), axis=1).ravel() / ranking.n_normal
    right = np.stack((before, found), axis=1).ravel() / ranking.n_defect
    roc = (np.concatenate(([0.0], wrong, [1.0])), np.concatenate(([0.0], right, [1.0])))
    precision = found / (found + from_here)
    return {
        f"{name}_roc": _curve("false_positive_rate", roc[0], "true_positive_rate", roc[1]),
        f"{name}_pr": _curve("recall", found / ranking.n_defect, "precision", precision),
    }


def _some(count: int) -> NDArray[np.int64]:
    """Of millions of points, as many as are worth choosing from, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _CANDIDATES)).astype(np.int64))


def _curve(x_name: str, x: NDArray[np.float64], y_name: str, y: NDArray[np.float64]) -> dict[str, list[float]]:
    """The curve at points that are about equally far from each other along it, with its first and last."""
    if len(x) > POINTS:
        along = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
        chosen = np.searchsorted(along, np.linspace(0, along[-1], POINTS - 1))
        chosen = np.unique(np.concatenate((chosen, [len(x) - 1])))
        x, y = x[chosen], y[chosen]
    return {x_name: x.tolist(), y_name: y.tolist()}
