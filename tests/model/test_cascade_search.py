"""What a query is matched with: its nearest references, all within the window, or the whole bank without places."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from cpr_lightning.choices import Codec, Search
from cpr_lightning.model import cascade as cascade_module
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.foreground import Foreground
from cpr_lightning.model.global_retrieval import GlobalRetrieval, assign_codes, block_histograms, fit_codebook
from cpr_lightning.model.local_branch import LocalBranch
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.whole_bank import choose_coreset
from cpr_lightning.settings import ScoringSettings

SIZE, COUNT = 64, 7
Make = Callable[..., CascadePatchRetrieval]


def images(count: int, seed: int) -> Tensor:
    """Smooth random pictures, each with other colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(np.stack([cv2.resize(each, (SIZE, SIZE)) for each in coarse]))


REFERENCES, QUERIES = images(COUNT, 1), images(4, 2)


@pytest.fixture(scope="module")
def make(small_backbone: Backbone) -> Make:
    """Cascades of the same parts that differ in how they search."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        features = LocalFeatures(small_backbone, LocalBranch(small_backbone.channels, 16)).eval()
        part = Foreground(torch.randn(small_backbone.channels[0]) * 0.1, torch.tensor(0.5))
    with torch.inference_mode():
        raw, local = features(REFERENCES)
    bank = ReferenceBank([(each.shape[2], each.shape[3], each.shape[1]) for each in local], Codec.flat)
    bank.add(local)
    codebook = torch.from_numpy(fit_codebook(raw.movedim(1, -1).reshape(-1, raw.shape[1]).numpy(), 12, 2, 66))
    histograms = block_histograms(assign_codes(raw, codebook), 12, 5)

    def cascade_of(
        search: Search, *, neighbors: int = 3, share: float = 1.0, foreground: Foreground | None = part
    ) -> CascadePatchRetrieval:
        return CascadePatchRetrieval(
            features,
            GlobalRetrieval(codebook, histograms),
            bank,
            foreground,
            None if foreground is None else foreground(raw).clone(),
            neighbors=neighbors,
            windows=[3, 1],
            scoring=ScoringSettings(top_pixels=100, blur_sigma=2.0),
            search=search,
            coreset=choose_coreset(bank, share, 0) if search is Search.coreset else None,
        )

    return cascade_of


def bilinear(maps: np.ndarray) -> np.ndarray:
    return cv2.resize(maps, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def brute_force(cascade: CascadePatchRetrieval, image: Tensor, excluded: int | None = None) -> np.ndarray:
    """PatchCore on the same features, in NumPy and OpenCV: all cells of all references, F* of the query alone."""
    with torch.inference_mode():
        raw, local = cascade.features(image[None])
        _, stored = cascade.features(REFERENCES)
    kept = [row for row in range(COUNT) if row != excluded]
    total = np.zeros((16, 16), np.float32)
    for query, references in zip(local, stored, strict=True):
        cells = query[0].flatten(1).T.numpy()
        others = references[kept].movedim(1, -1).reshape(-1, cells.shape[1]).numpy()
        distance = (1 - (cells @ others.T).max(1)).reshape(query.shape[2:])
        total += cv2.resize(distance, (16, 16), interpolation=cv2.INTER_LINEAR)
    foreground = cascade.network.foreground
    assert foreground is not None
    own = np.clip(np.tensordot(foreground.weight.numpy(), raw[0].numpy(), 1) + foreground.bias.numpy(), 0, 1)
    return cv2.GaussianBlur(bilinear(total) * bilinear(own), (17, 17), 2.0, borderType=cv2.BORDER_REFLECT_101)


def test_the_whole_bank_agrees_with_brute_force(make: Make):
    cascade = make(Search.coreset)
    found = cascade(QUERIES)
    for anomaly_map, score, image in zip(found.anomaly_map, found.score, QUERIES, strict=True):
        expected = brute_force(cascade, image)
        np.testing.assert_allclose(anomaly_map.numpy(), expected, rtol=1e-4, atol=1e-5 * np.ptp(expected))
        assert score.item() == pytest.approx(np.sort(expected.ravel())[-100:].sum(), rel=1e-4)


def test_an_excluded_reference_is_left_out_of_the_whole_bank(make: Make):
    cascade = make(Search.coreset)
    rows = torch.tensor([1, 6])
    assert cascade(REFERENCES[rows]).score.max() < 1e-2  # each finds itself
    found = cascade(REFERENCES[rows], excluded=rows).anomaly_map
    for anomaly_map, row in zip(found, rows.tolist(), strict=True):
        expected = brute_force(cascade, REFERENCES[row], excluded=row)
        np.testing.assert_allclose(anomaly_map.numpy(), expected, rtol=1e-4, atol=1e-5 * np.ptp(expected))


def test_a_coreset_is_never_nearer_than_the_whole_bank_and_nearly_as_near(make: Make):
    whole = make(Search.coreset)(QUERIES).anomaly_map
    part, less = (make(Search.coreset, share=share)(QUERIES).anomaly_map for share in (0.3, 0.01))
    assert (part >= whole - 1e-6).all()
    assert (less >= whole - 1e-6).all()
    assert whole.mean() < part.mean() < less.mean()


def test_the_whole_bank_is_nearer_than_any_window(make: Make):
    local = make(Search.coreset).network.named(make(Search.coreset).network(QUERIES)).local
    everywhere = make(Search.coreset).match(local, torch.zeros(4, 0, dtype=torch.int64))
    windowed = make(Search.window).match(local, torch.arange(COUNT).repeat(4, 1))
    for one, other in zip(everywhere, windowed, strict=True):
        assert (one <= other + 1e-6).all()
        assert (one < other - 1e-3).any()


@pytest.mark.parametrize("at_once", [2, 100])
def test_all_references_in_the_window_are_as_many_neighbors_as_references(
    make: Make, at_once: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cascade_module, "_AT_ONCE", at_once)
    found, targeted, fewer = (
        make(search, neighbors=neighbors, foreground=None)(QUERIES)
        for search, neighbors in ((Search.window, 3), (Search.targeted, COUNT), (Search.targeted, COUNT - 1))
    )
    assert torch.equal(found.anomaly_map, targeted.anomaly_map)
    assert torch.equal(found.score, targeted.score)
    assert not torch.equal(found.anomaly_map, fewer.anomaly_map)
    # How torch resizes a map depends in the last digit on how many others it resizes with it.
    found, targeted = make(Search.window)(QUERIES), make(Search.targeted, neighbors=COUNT)(QUERIES)
    torch.testing.assert_close(found.anomaly_map, targeted.anomaly_map, rtol=1e-6, atol=1e-8)


def test_an_excluded_reference_is_left_out_of_the_window(make: Make):
    rows = torch.tensor([0, 3, 6])
    found = make(Search.window)(REFERENCES[rows], excluded=rows)
    targeted = make(Search.targeted, neighbors=COUNT - 1)(REFERENCES[rows], excluded=rows)
    torch.testing.assert_close(found.anomaly_map, targeted.anomaly_map, rtol=1e-6, atol=1e-8)


def test_the_bank_is_told_what_is_read_a_few_references_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch):
    touched: list[list[int]] = []

    def touch(rows: Any) -> None:
        touched.append(sorted({int(row) for row in (rows.flatten() if isinstance(rows, Tensor) else rows)}))

    monkeypatch.setattr(cascade_module, "_AT_ONCE", 3)
    for search, expected in ((Search.window, [[0, 1, 2], [3, 4, 5], [6]]), (Search.coreset, [list(range(COUNT))])):
        cascade = make(search)
        monkeypatch.setattr(cascade.bank, "touch", touch)
        touched.clear()
        cascade(QUERIES)
        assert touched == expected


@pytest.mark.parametrize("search", [Search.window, Search.coreset])
def test_where_none_are_targeted_no_neighbors_are_named(make: Make, search: Search):
    assert make(search)(QUERIES).neighbors.shape == (4, 0)
    assert make(Search.targeted)(QUERIES).neighbors.shape == (4, 3)


def test_a_coreset_and_its_search_go_together(make: Make):
    cascade = make(Search.targeted)
    for search, coreset in ((Search.coreset, None), (Search.window, []), (Search.targeted, [])):
        with pytest.raises(ValueError, match="go together"):
            CascadePatchRetrieval(
                cascade.features,
                cascade.retrieval,
                cascade.bank,
                None,
                None,
                neighbors=3,
                windows=[3, 1],
                scoring=ScoringSettings(),
                search=search,
                coreset=coreset,
            )
