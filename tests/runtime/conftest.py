"""Network parts that several tests share: exporting and compiling one takes seconds."""

import pytest
from small_networks import SIZE, part_of

from cpr_lightning.choices import Reading
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.network import NetworkPart


@pytest.fixture(scope="session")
def part(small_backbone: Backbone) -> NetworkPart:
    """On a ResNet-18, with branch and foreground."""
    return part_of(small_backbone)


@pytest.fixture(scope="session")
def light_part() -> NetworkPart:
    """On an EfficientNet-B0, with branch and foreground."""
    return part_of(Backbone("efficientnet_b0", "random", [1, 2], statistics=Reading.official, image_size=SIZE))
