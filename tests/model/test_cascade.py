"""The scoring path against the golden numbers and a plain, slow recomputation."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from torch import Tensor
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval, assign_codes, block_histograms, fit_codebook
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.model.postprocess import image_score, postprocess, resize
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.settings import ScoringSettings

Golden = Callable[[str], dict[str, Tensor]]
SIZE, NEIGHBORS, WINDOWS = 64, 3, [3, 1]
SCORING = ScoringSettings(top_pixels=100, blur_sigma=2.0)


def images(count: int, seed: int) -> Tensor:
    """Smooth random pictures, each with other colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(np.stack([cv2.resize(each, (SIZE, SIZE)) for each in coarse]))


REFERENCES, QUERIES = images(7, 1), images(4, 2)


def cascade_of(
    backbone: Backbone, *, branch: bool = True, foreground: bool = True, codec: Codec = Codec.flat
) -> CascadePatchRetrieval:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        features = LocalFeatures(backbone, LocalBranch(backbone.channels, 16) if branch else None).eval()
        weight = torch.randn(backbone.channels[0]) * 0.1
    with torch.inference_mode():
        raw, local = features(REFERENCES)
    bank = ReferenceBank([(each.shape[2], each.shape[3], each.shape[1]) for each in local], codec)
    bank.add(local)
    codebook = torch.from_numpy(fit_codebook(raw.movedim(1, -1).reshape(-1, raw.shape[1]).numpy(), 12, 2, 66))
    branch_of_product = Foreground(weight, torch.tensor(0.5)) if foreground else None
    return CascadePatchRetrieval(
        features,
        GlobalRetrieval(codebook, block_histograms(assign_codes(raw, codebook), 12, 5)),
        bank,
        branch_of_product,
        branch_of_product(raw).clone() if branch_of_product else None,
        neighbors=NEIGHBORS,
        windows=WINDOWS,
        scoring=SCORING,
    )


@pytest.fixture(scope="module")
def cascade(small_backbone: Backbone) -> CascadePatchRetrieval:
    return cascade_of(small_backbone)


def slow_window(query: np.ndarray, references: np.ndarray, window: int) -> np.ndarray:
    """(H, W, D) and (K, H, W, D), cell by cell."""
    height, width, _ = query.shape
    reach = window // 2
    distance = np.empty((height, width), np.float32)
    for row in range(height):
        for column in range(width):
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            distance[row, column] = 1 - (references[:, rows, columns] @ query[row, column]).max()
    return distance


def slow_neighbors(cascade: CascadePatchRetrieval, raw: Tensor) -> np.ndarray:
    codes = torch.cdist(raw[0].flatten(1).T, cascade.network.codebook).argmin(1).view(1, *raw.shape[2:])
    query = block_histograms(codes, 12, 5).double().numpy() + 1e-8
    references = cascade.retrieval.histograms.double().numpy() + 1e-8
    divergence = np.sort(rel_entr(query, references).sum(2), axis=1)[:, :20].sum(1)
    return divergence.argsort()[:NEIGHBORS]


def bilinear(maps: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(maps, (size, size), interpolation=cv2.INTER_LINEAR)


def slow_scoring(cascade: CascadePatchRetrieval, image: Tensor) -> tuple[np.ndarray, float, list[int]]:
    """Algorithm 2 for one image with NumPy and OpenCV."""
    with torch.inference_mode():
        raw = cascade.features.backbone(image[None])
        local = raw if cascade.features.branch is None else cascade.features.branch(raw)
        stored = cascade.features.backbone(REFERENCES)
        stored = stored if cascade.features.branch is None else cascade.features.branch(stored)
    neighbors = slow_neighbors(cascade, raw[0])
    total = np.zeros((16, 16), np.float32)
    for query, references, window in zip(local, stored, WINDOWS, strict=True):
        cells = query[0].permute(1, 2, 0).numpy()
        others = references.permute(0, 2, 3, 1).numpy()[neighbors]
        cells = cells / np.linalg.norm(cells, axis=-1, keepdims=True)
        others = others / np.linalg.norm(others, axis=-1, keepdims=True)
        total += bilinear(slow_window(cells, others, window), 16)
    anomaly_map = bilinear(total, SIZE)
    if cascade.network.foreground is not None:
        assert cascade.reference_foreground is not None
        weight, bias = cascade.network.foreground.weight.numpy(), cascade.network.foreground.bias.numpy()
        own = np.clip(np.tensordot(weight, raw[0][0].numpy(), 1) + bias, 0, 1)
        maps = [own, *cascade.reference_foreground.numpy()[neighbors]]
        anomaly_map = anomaly_map * np.max([bilinear(each, SIZE) for each in maps], axis=0)
    anomaly_map = cv2.GaussianBlur(anomaly_map, (17, 17), 2.0, borderType=cv2.BORDER_REFLECT_101)
    return anomaly_map, float(np.sort(anomaly_map.ravel())[-SCORING.top_pixels :].sum()), neighbors.tolist()


def test_golden_postprocessing_and_score(golden: Golden):
    numbers = golden("postprocess")
    foreground = resize(numbers["foreground"][None], (80, 80)).amax(1)
    distances = [numbers["distance_scale1"][None], numbers["distance_scale2"][None]]
    anomaly_map = postprocess(distances, foreground, (80, 80), 4.0)
    torch.testing.assert_close(anomaly_map[0], numbers["anomaly_map"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(image_score(anomaly_map, 512)[0], numbers["image_score"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("branch", "foreground"), [(True, True), (True, False), (False, True), (False, False)])
def test_agrees_with_a_slow_recomputation(small_backbone: Backbone, branch: bool, foreground: bool):
    cascade = cascade_of(small_backbone, branch=branch, foreground=foreground)
    output = cascade(QUERIES)
    assert output.anomaly_map.shape == (4, SIZE, SIZE)
    for number, image in enumerate(QUERIES):
        anomaly_map, score, neighbors = slow_scoring(cascade, image)
        assert output.neighbors[number].tolist() == neighbors
        span = np.ptp(anomaly_map)
        np.testing.assert_allclose(output.anomaly_map[number].numpy(), anomaly_map, rtol=1e-4, atol=1e-5 * span)
        assert output.score[number].item() == pytest.approx(score, rel=1e-4)
    assert len({tuple(row) for row in output.neighbors.tolist()}) > 1  # targeting does choose


def test_a_batch_is_scored_like_its_images_one_by_one(cascade: CascadePatchRetrieval):
    together = cascade(QUERIES)
    for number in range(len(QUERIES)):
        alone = cascade(QUERIES[number : number + 1])
        assert torch.equal(alone.neighbors[0], together.neighbors[number])
        torch.testing.assert_close(alone.anomaly_map[0], together.anomaly_map[number], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(alone.score[0], together.score[number], rtol=1e-4, atol=1e-5)


def test_a_reference_matches_itself_unless_it_is_excluded(cascade: CascadePatchRetrieval):
    rows = torch.arange(len(REFERENCES))
    own, others = cascade(REFERENCES), cascade(REFERENCES, excluded=rows)
    assert torch.equal(own.neighbors[:, 0], rows)
    assert own.anomaly_map.abs().max() < 1e-5
    assert not (others.neighbors == rows[:, None]).any()
    assert torch.equal(others.neighbors[:, : NEIGHBORS - 1], own.neighbors[:, 1:])
    assert (others.score > 100 * own.score.abs() + 0.1).all()


def test_given_neighbors_take_the_place_of_targeting(cascade: CascadePatchRetrieval):
    targeted = cascade(QUERIES[:2])
    same = cascade(QUERIES[:2], neighbors=targeted.neighbors)
    assert torch.equal(same.anomaly_map, targeted.anomaly_map)
    given = torch.tensor([[6], [0]])
    other = cascade(QUERIES[:2], neighbors=given)
    assert torch.equal(other.neighbors, given)
    assert not torch.allclose(other.anomaly_map, targeted.anomaly_map)


def test_more_references_never_raise_the_distance(cascade: CascadePatchRetrieval):
    with torch.inference_mode():
        local = cascade.network.named(cascade.network(QUERIES[:1])).local
    few = cascade.match(local, torch.tensor([[2, 4]]))
    more = cascade.match(local, torch.tensor([[2, 4, 0]]))
    assert all((b <= a).all() for a, b in zip(few, more, strict=True))
    assert any((b < a).any() for a, b in zip(few, more, strict=True))


def test_half_precision_changes_scores_by_less_than_a_thousandth(small_backbone: Backbone):
    exact, half = cascade_of(small_backbone)(QUERIES), cascade_of(small_backbone, codec=Codec.fp16)(QUERIES)
    torch.testing.assert_close(half.score, exact.score, rtol=1e-3, atol=0)
    assert not torch.equal(half.score, exact.score)


def test_the_joint_foreground_is_the_maximum_over_query_and_neighbors(cascade: CascadePatchRetrieval):
    assert cascade.reference_foreground is not None
    with torch.inference_mode():
        own = cascade.network.named(cascade.network(QUERIES[:1])).foreground
    assert own is not None
    joint = cascade.joint_foreground(own, torch.tensor([[5, 1]]), (SIZE, SIZE))
    assert joint is not None
    maps = [own[0], cascade.reference_foreground[5], cascade.reference_foreground[1]]
    expected = np.max([bilinear(each.numpy(), SIZE) for each in maps], axis=0)
    np.testing.assert_allclose(joint[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_cascade_evaluates_and_leaves_its_parts_alone(small_backbone: Backbone):
    cascade = cascade_of(small_backbone)
    assert not cascade.training
    assert not any(part.training for part in cascade.modules())
    before = {name: value.clone() for name, value in cascade.state_dict().items()}
    output = cascade(QUERIES)
    assert not output.anomaly_map.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in cascade.state_dict().items())
    assert torch.equal(cascade(QUERIES).anomaly_map, output.anomaly_map)


def test_a_foreground_branch_without_the_references_maps_is_refused(small_backbone: Backbone):
    whole = cascade_of(small_backbone)
    for branch, maps in ((whole.network.foreground, None), (None, whole.reference_foreground)):
        with pytest.raises(ValueError, match="go together"):
            CascadePatchRetrieval(
                whole.features,
                whole.retrieval,
                whole.bank,
                branch,
                maps,
                neighbors=NEIGHBORS,
                windows=WINDOWS,
                scoring=SCORING,
            )


def test_the_features_that_fill_the_bank_are_those_that_describe_the_query(cascade: CascadePatchRetrieval):
    with torch.inference_mode():
        raw, local = cascade.features(REFERENCES)
    backbone = cascade.features.backbone
    assert torch.equal(raw, backbone(REFERENCES)[0])
    described = cascade.network.named(cascade.network(REFERENCES)).local
    for stored, scale, cells in zip(cascade.bank.stored(), local, described, strict=True):
        torch.testing.assert_close(stored.codes, scale.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
        assert torch.equal(cells, scale.permute(0, 2, 3, 1))
        torch.testing.assert_close(scale.norm(dim=1), torch.ones_like(scale[:, 0]))


def test_the_network_part_can_be_computed_by_another(cascade: CascadePatchRetrieval):
    expected = cascade(QUERIES)
    seen = []

    def other(images: Tensor) -> list[Tensor]:
        seen.append(len(images))
        return cascade.network(images)

    own, cascade.run_network = cascade.run_network, other
    try:
        assert torch.equal(cascade(QUERIES).anomaly_map, expected.anomaly_map)
    finally:
        cascade.run_network = own
    assert seen == [len(QUERIES)]


def test_distances_are_summed_at_the_finest_scale_and_then_resized():
    generator = torch.Generator().manual_seed(0)
    fine, coarse = torch.rand(2, 12, 12, generator=generator), torch.rand(2, 5, 5, generator=generator)
    made = postprocess([fine, coarse], None, (48, 48), 0.0)
    for number in range(2):
        summed = fine[number].numpy() + bilinear(coarse[number].numpy(), 12)
        np.testing.assert_allclose(made[number].numpy(), bilinear(summed, 48), rtol=1e-4, atol=1e-5)


def test_the_foreground_multiplies_before_the_blur():
    distances = [torch.ones(1, 8, 8)]
    foreground = torch.zeros(1, 32, 32)
    foreground[0, 10:20, 10:20] = 1
    made = postprocess(distances, foreground, (32, 32), 1.5)
    expected = cv2.GaussianBlur(foreground[0].numpy(), (13, 13), 1.5, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(made[0].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert made[0, 8, 15] > 0.05  # a blur before the product would leave nothing outside the foreground


def test_without_a_sigma_nothing_is_blurred():
    distances = [torch.rand(1, 6, 6)]
    assert torch.equal(postprocess(distances, None, (6, 6), 0.0), distances[0])


@pytest.mark.parametrize("top", [1, 7, 48, 1000])
@pytest.mark.parametrize("size", [(6, 8), (41, 37)])
def test_the_score_is_the_sum_of_the_largest_pixels(size: tuple[int, int], top: int):
    maps = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    maps[1] = maps[1].sort().values  # the largest side by side
    expected = np.sort(maps.flatten(1).numpy(), axis=1)[:, -top:].sum(1)
    np.testing.assert_allclose(image_score(maps, top).numpy(), expected, rtol=1e-5)


def test_resizing_is_opencvs():
    maps = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(2))
    made = resize(maps, (32, 32))
    assert made.shape == (2, 3, 32, 32)
    np.testing.assert_allclose(made[1, 2].numpy(), bilinear(maps[1, 2].numpy(), 32), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made, F.interpolate(maps, size=(32, 32), mode="bilinear"))
