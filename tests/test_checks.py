"""Settings are refused before any work, with a sentence that names the key."""

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, ValidationError

from cpr_lightning.checks import check_settings
from cpr_lightning.choices import Kind, Reading
from cpr_lightning.errors import SettingsError
from cpr_lightning.settings import Settings

REQUIRED = {
    "dataset._target_": "some.Layout",
    "dataset.name": "mvtec",
    "dataset.root": "/data",
    "category": "bottle",
    "variant": "cpr",
    "ablation": "full",
    "scenario": "unsupervised",
}


def composed(*overrides: str, without: str | None = None) -> DictConfig:
    required = [f"{key}={value}" for key, value in REQUIRED.items() if key != without]
    merged = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.from_dotlist([*required, *overrides]))
    assert isinstance(merged, DictConfig)
    return merged


def test_the_defaults_are_accepted_and_are_those_of_the_released_code():
    settings = check_settings(composed())
    assert isinstance(settings, Settings)
    assert (settings.retrieval.neighbors, settings.retrieval.blocks, settings.retrieval.clusters) == (10, 5, 12)
    assert (settings.retrieval.ignored_blocks, settings.retrieval.windows) == (5, [3, 1])
    assert (settings.scoring.top_pixels, settings.scoring.blur_sigma) == (512, 4.0)
    assert (settings.training.positive_margin, settings.training.negative_margin, settings.training.power) == (
        0.8,
        -0.2,
        3,
    )
    assert settings.branch.dim == 384
    assert settings.backbone.statistics is Reading.official


def test_overrides_become_typed_values():
    settings = check_settings(composed("dataset.kind=texture", "retrieval.windows=[5,3]", "retrieval.neighbors=4"))
    assert settings.dataset.kind is Kind.texture
    assert settings.retrieval.windows == [5, 3]
    assert settings.retrieval.neighbors == 4


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_key_that_is_not_set_is_named(key: str):
    with pytest.raises(SettingsError, match=f"^{key} is not set"):
        check_settings(composed(without=key))


COUNTS = [
    "image_size",
    "retrieval.neighbors",
    "retrieval.blocks",
    "retrieval.clusters",
    "retrieval.codebook_vectors",
    "retrieval.codebook_restarts",
    "branch.dim",
    "training.batch_size",
    "training.pairs",
    "training.power",
    "training.checkpoint_every",
    "supervised.images",
    "supervised.pasted_most",
    "scoring.top_pixels",
    "calibration.images",
    "foreground.vectors",
]


@pytest.mark.parametrize("value", [0, -3])
@pytest.mark.parametrize("key", COUNTS)
def test_a_count_below_one_is_refused(key: str, value: int):
    with pytest.raises(SettingsError, match=f"{key}={value}"):
        check_settings(composed(f"{key}={value}"))


@pytest.mark.parametrize("value", ["-0.01", "1.01"])
@pytest.mark.parametrize(
    "key",
    [
        "training.defect_probability",
        "training.augment_probability",
        "supervised.shown_probability",
        "supervised.pasted_probability",
        "supervised.altered_probability",
        "supervised.moved_probability",
        "foreground.border",
        "foreground.centre",
    ],
)
def test_a_share_outside_0_to_1_is_refused(key: str, value: str):
    with pytest.raises(SettingsError, match=f"{key}={value}"):
        check_settings(composed(f"{key}={value}"))


@pytest.mark.parametrize(
    "key",
    [
        "seed",
        "retrieval.codebook_seed",
        "supervised.seed",
        "training.max_steps",
        "training.learning_rate",
        "training.weight_decay",
        "training.workers",
        "scoring.blur_sigma",
        "calibration.sigmas",
    ],
)
def test_a_negative_number_is_refused_and_zero_is_not(key: str):
    with pytest.raises(SettingsError, match=f"{key}=-1"):
        check_settings(composed(f"{key}=-1"))
    check_settings(composed(f"{key}=0"))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["retrieval.ignored_blocks=25"], r"retrieval\.ignored_blocks=25 .*25 blocks"),
        (["retrieval.ignored_blocks=-1"], r"retrieval\.ignored_blocks=-1"),
        (["retrieval.blocks=2"], r"retrieval\.ignored_blocks=5 .*retrieval\.blocks=2"),
        (["retrieval.windows=[2,1]"], r"retrieval\.windows=\[2, 1\].*odd"),
        (["retrieval.windows=[3,0]"], r"retrieval\.windows=\[3, 0\].*odd"),
        (["retrieval.windows=[-1,1]"], r"retrieval\.windows=\[-1, 1\].*odd"),
        (["retrieval.windows=[3]"], r"retrieval\.windows=\[3\] and backbone\.strides=\[4, 8\]"),
        (["backbone.layers=[1,2,3]"], r"backbone\.layers=\[1, 2, 3\] and backbone\.strides=\[4, 8\]"),
        (["backbone.strides=[8,4]"], r"backbone\.strides=\[8, 4\].*finest scale first"),
        (["backbone.strides=[0,8]"], r"backbone\.strides=\[0, 8\]"),
        (["backbone.strides=[]", "retrieval.windows=[]"], r"backbone\.strides=\[\]"),
        (["image_size=31"], r"image_size=31"),
        (["supervised.scale=[0,1]"], r"supervised\.scale=\[0\.0, 1\.0\]"),
        (["supervised.scale=[1.5,0.5]"], r"supervised\.scale=.*low ≤ high"),
        (["supervised.scale=[1,50]"], r"supervised\.scale=.*10"),
        (["supervised.opacity=[0.5]"], r"supervised\.opacity=\[0\.5\]"),
        (["supervised.opacity=[0.5,1.1]"], r"supervised\.opacity=.*high ≤ 1\."),
        (["category=' '"], r"category is empty"),
    ],
)
def test_values_that_make_no_sense_are_refused(overrides: list[str], said: str):
    with pytest.raises(SettingsError, match=said):
        check_settings(composed(*overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ["retrieval.ignored_blocks=24"],
        ["retrieval.ignored_blocks=0"],
        ["retrieval.windows=[3]", "backbone.strides=[4]"],
        ["retrieval.windows=[1,1]"],
        ["image_size=32"],
        ["training.defect_probability=0"],
        ["training.defect_probability=1"],
        ["training.max_steps=null"],
    ],
)
def test_values_at_the_edge_are_accepted(overrides: list[str]):
    check_settings(composed(*overrides))


def test_a_mistyped_key_or_a_value_of_the_wrong_type_cannot_be_composed():
    with pytest.raises(ConfigKeyError, match="neighbours"):
        composed("retrieval.neighbours=3")
    with pytest.raises(ValidationError, match="few"):
        composed("retrieval.neighbors=few")
    with pytest.raises(ValidationError, match="sphere"):
        composed("dataset.kind=sphere")


def test_on_error_takes_the_word_that_messages_and_documentation_use():
    assert check_settings(composed("dataset.on_error=skip")).dataset.on_error.value == "skip"
    assert check_settings(composed("dataset.on_error=raise")).dataset.on_error.value == "raise"
