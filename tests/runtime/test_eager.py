"""Half precision in torch, against float32."""

import torch
from small_networks import assert_close, cascade_of, part_of, pictures

from cpr_lightning.choices import Precision
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.network import NetworkPart
from cpr_lightning.runtime.eager import channels_last, in_precision


def test_fp32_is_the_network_part_itself(part: NetworkPart):
    assert in_precision(part, Precision.fp32) is part


def test_bf16_is_close_for_any_number_of_images(part: NetworkPart):
    mixed = in_precision(part, Precision.bf16)
    for count in (1, 3):
        assert_close(part, mixed.forward, pictures(count, 3))


def test_bf16_of_another_backbone(light_part: NetworkPart):
    assert_close(light_part, in_precision(light_part, Precision.bf16).forward, pictures(2, 3))


def test_bf16_without_branch_and_foreground(small_backbone: Backbone):
    plain = part_of(small_backbone, branch=False, foreground=False)
    assert_close(plain, in_precision(plain, Precision.bf16).forward, pictures(2, 3))


def test_the_weights_are_shared_and_stay_float32(part: NetworkPart):
    mixed = in_precision(part, Precision.bf16)
    places = {value.data_ptr() for value in part.state_dict().values()}
    assert {value.data_ptr() for value in mixed.state_dict().values()} <= places
    assert all(value.dtype == torch.float32 for value in mixed.parameters())
    assert not mixed.training


def test_channels_last_changes_the_layout_alone(small_backbone: Backbone):
    part = part_of(small_backbone)
    convolution = part.features.branch.branches()[0].inception.three.conv if part.features.branch else None
    assert convolution is not None
    before, expected = convolution.weight.clone(), part(pictures(1, 3))
    channels_last(part)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(convolution.weight, before)
    for one, other in zip(part(pictures(1, 3)), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_the_cascade_scores_nearly_the_same_in_bf16(part: NetworkPart):
    cascade = cascade_of(part)
    expected = cascade(pictures(2, 3))
    cascade.run_network = in_precision(part, Precision.bf16).forward
    made = cascade(pictures(2, 3), neighbors=expected.neighbors)
    torch.testing.assert_close(made.score, expected.score, rtol=0.05, atol=0)
    assert not torch.equal(made.score, expected.score)
