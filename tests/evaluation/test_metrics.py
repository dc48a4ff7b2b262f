"""The metrics against scikit-learn, a plain slow PRO, and the golden numbers."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from cpr_lightning.errors import CprError
from cpr_lightning.evaluation.metrics import Metrics, evaluate

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.npz"


def made_up(seed: int = 0, step: float = 0.0, size: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Six maps with overlapping score ranges; masks with several regions; scores far outside [0, 1]."""
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 1, 0, 1, 1])
    masks = np.zeros((6, size, size), bool)
    for index in np.flatnonzero(labels):
        for _ in range(4):
            y, x, h, w = rng.integers(0, size - 6, 2).tolist() + rng.integers(1, 6, 2).tolist()
            masks[index, y : y + h, x : x + w] = True
    maps = (rng.normal(size=masks.shape) * 3 + 2.5 * masks).astype(np.float32)
    if step:
        maps = (np.round(maps / step) * step).astype(np.float32)
    scores = maps.max(axis=(1, 2)) * 100
    return maps, masks, scores, labels


def slow_pro(maps: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """PRO threshold by threshold, region by region."""
    regions = []
    for index, mask in enumerate(masks):
        labelled = np.empty(mask.shape, np.int32)
        ndimage.label(mask, structure=np.ones((3, 3)), output=labelled)
        regions += [(index, labelled == number) for number in range(1, labelled.max() + 1)]
    curve = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        flagged = maps >= threshold
        overlap = np.mean([flagged[index][region].mean() for index, region in regions])
        curve.append((float(flagged[~masks].mean()), float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 >= limit or x1 == x0:
            continue
        end = min(x1, limit)
        area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / limit


def same(first: Metrics, second: Metrics) -> bool:
    return first.as_dict() == pytest.approx(second.as_dict(), rel=1e-12)


@pytest.mark.parametrize("step", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_scikit_learn(seed: int, step: float) -> None:
    maps, masks, scores, labels = made_up(seed, step)
    metrics = evaluate(maps, masks, scores, labels)
    assert metrics.pixel_auroc == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), rel=1e-12)
    assert metrics.pixel_ap == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), rel=1e-12)
    assert metrics.image_auroc == pytest.approx(roc_auc_score(labels, scores), rel=1e-6)


def test_image_scores_outside_the_unit_interval_are_not_squashed() -> None:
    maps, masks, _, labels = made_up()
    scores = np.array([500.0, 600, 700, 650, 800, 900])  # a sigmoid turns all of them to 1.0
    assert evaluate(maps, masks, scores, labels).image_auroc == pytest.approx(7 / 8, rel=1e-6)


@pytest.mark.parametrize("step", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_pro_agrees_with_a_threshold_loop(seed: int, step: float) -> None:
    maps, masks, scores, labels = made_up(seed, step, size=14)
    assert evaluate(maps, masks, scores, labels).pro == pytest.approx(slow_pro(maps, masks), rel=1e-12)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 0:3, 0:3] = mask[0, 3, 3] = True  # ten pixels; by 4-neighbours they would be nine and one
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 3, 3] = 2.0
    maps[~mask] = np.linspace(0.5, 1.0, 54)
    assert evaluate(maps, mask, [1.0], [1]).pro == pytest.approx(0.1, rel=1e-12)


def test_every_region_weighs_the_same() -> None:
    mask = np.zeros((2, 8, 8), bool)
    mask[0, 0, 0] = True
    mask[1, 0:4, 0:4] = True
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 0, 0] = 2.0
    maps[~mask] = np.linspace(0.5, 1.0, (~mask).sum())
    assert evaluate(maps, mask, [1.0, 1.0], [1, 1]).pro == pytest.approx(0.5, rel=1e-12)


def test_agrees_with_the_golden_numbers() -> None:
    with np.load(GOLDEN) as golden:
        masks, labels = golden["masks"] > 0, (golden["masks"] > 0).any(axis=(1, 2)).astype(int)
        scores = golden["maps"].max(axis=(1, 2))
        metrics = evaluate(golden["maps"], masks, scores, labels)
        quantised = evaluate(golden["quantised_maps"], masks, scores, labels)
        assert metrics.pro == pytest.approx(float(golden["pro"]), rel=1e-9)
        assert metrics.pixel_auroc == pytest.approx(float(golden["pixel_auroc"]), rel=1e-9)
        assert metrics.pixel_ap == pytest.approx(float(golden["pixel_ap"]), rel=1e-9)
        assert quantised.pro == pytest.approx(float(golden["quantised_pro"]), rel=1e-9)


def test_monotone_transforms_change_nothing() -> None:
    maps, masks, scores, labels = made_up(step=0.25)
    metrics = evaluate(maps, masks, scores, labels)
    assert same(metrics, evaluate(1000 + 8 * maps, masks, scores / 7 - 5, labels))
    assert same(metrics, evaluate(np.exp(maps / 4), masks, np.cbrt(scores), labels))


def test_a_perfect_and_a_constant_map() -> None:
    _, masks, _, labels = made_up()
    perfect = evaluate(masks.astype(np.float32), masks, labels, labels)
    assert same(perfect, Metrics(1.0, 1.0, 1.0, 1.0))
    constant = evaluate(np.full(masks.shape, 7, np.float32), masks, np.zeros(6), labels)
    expected = Metrics(image_auroc=0.5, pixel_auroc=0.5, pixel_ap=masks.mean(), pro=0.15)
    assert same(constant, expected)


def test_one_class_alone_is_undefined() -> None:
    maps, masks, scores, _ = made_up()
    good_only = evaluate(maps, np.zeros_like(masks), scores, np.zeros(6, int))
    defects_only = evaluate(maps, np.ones_like(masks), scores, np.ones(6, int))
    assert np.isnan(list(good_only.as_dict().values())).all()
    assert np.isnan(list(defects_only.as_dict().values())).all()
    lost_masks = evaluate(maps, np.zeros_like(masks), scores, np.array([0, 0, 0, 1, 1, 1]))
    assert np.isfinite(lost_masks.image_auroc)
    assert np.isnan([lost_masks.pixel_auroc, lost_masks.pixel_ap, lost_masks.pro]).all()


def test_the_inputs_are_left_as_they_were() -> None:
    maps, masks, scores, labels = made_up()
    before = maps.copy(), masks.copy()
    evaluate(maps, masks, scores, labels)
    assert np.array_equal(maps, before[0])
    assert np.array_equal(masks, before[1])


def test_wrong_shapes_and_kinds_are_refused() -> None:
    maps, masks, scores, labels = made_up()
    with pytest.raises(ValueError, match="one shape"):
        evaluate(maps[:, 1:], masks, scores, labels)
    with pytest.raises(ValueError, match="one shape"):
        evaluate(maps[0], masks[0], scores, labels)
    with pytest.raises(ValueError, match="as many image scores"):
        evaluate(maps, masks, scores[1:], labels)
    with pytest.raises(ValueError, match="masks bool"):
        evaluate(maps, masks.astype(np.uint8) * 255, scores, labels)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or 1"):
        evaluate(maps, masks, scores, labels * 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_number_are_refused_by_name(bad: float) -> None:
    maps, masks, scores, labels = made_up()
    scores[2] = bad
    with pytest.raises(CprError, match="number 2"):
        evaluate(maps, masks, scores, labels)
    maps, masks, scores, labels = made_up()
    maps[3, 4, 5] = bad
    with pytest.raises(CprError, match="number 3"):
        evaluate(maps, masks, scores, labels)
