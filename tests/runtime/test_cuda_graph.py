"""The cascade as one CUDA graph against the cascade itself."""

import copy

import pytest
import torch
from small_networks import SIZE, cascade_of, pictures

from cpr_lightning.choices import Precision, Runtime
from cpr_lightning.errors import SettingsError
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.choosing import use_runtime
from cpr_lightning.runtime.cuda_graph import CascadeGraph

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CUDA = torch.device("cuda")


def test_a_cascade_on_the_cpu_is_refused(part: NetworkPart):
    with pytest.raises(SettingsError, match=r"A CUDA graph needs device=cuda; the cascade is on cpu\."):
        CascadeGraph(cascade_of(part), 1, SIZE)


@needs_cuda
@pytest.mark.parametrize(("precision", "tolerance"), [(Precision.fp32, 1e-3), (Precision.fp16, 0.02)])
def test_a_replay_scores_like_the_cascade(part: NetworkPart, precision: Precision, tolerance: float):
    cascade = cascade_of(copy.deepcopy(part))
    cascade.bank.place(CUDA)
    cascade.to(CUDA)
    use_runtime(cascade, Runtime.eager, precision, CUDA, image_size=SIZE)
    graph = CascadeGraph(cascade, 2, SIZE)
    results = []
    for seed in (3, 4):
        images = pictures(2, seed)
        made, expected = graph(images), cascade(images.to(CUDA))
        assert torch.equal(made.neighbors, expected.neighbors)
        torch.testing.assert_close(made.score, expected.score, rtol=tolerance, atol=0)
        torch.testing.assert_close(made.anomaly_map, expected.anomaly_map, rtol=tolerance, atol=1e-3)
        results.append(made)
    assert not torch.equal(results[0].score, results[1].score)  # the first was not overwritten


@needs_cuda
def test_images_of_another_shape_are_refused(part: NetworkPart):
    cascade = cascade_of(copy.deepcopy(part))
    cascade.bank.place(CUDA)
    graph = CascadeGraph(cascade.to(CUDA), 1, SIZE)
    with pytest.raises(ValueError, match="captured for uint8 images"):
        graph(pictures(2, 3))


@needs_cuda
def test_a_part_that_leaves_the_gpu_is_told(part: NetworkPart):
    cascade = cascade_of(copy.deepcopy(part))
    cascade.bank.place(CUDA)
    cascade.to(CUDA)
    network = cascade.run_network
    cascade.run_network = lambda images: [output.cpu().to(CUDA) for output in network(images)]
    with pytest.raises(SettingsError, match="cannot be captured as a CUDA graph"):
        CascadeGraph(cascade, 1, SIZE)
