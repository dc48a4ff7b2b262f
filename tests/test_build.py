"""Objects from `_target_` configurations."""

import pytest

from cpr_lightning.build import build
from cpr_lightning.errors import DataError, SettingsError


def test_the_target_is_called_with_the_other_keys() -> None:
    assert build({"_target_": "fractions.Fraction", "numerator": 3}, denominator=4).denominator == 4


@pytest.mark.parametrize(
    "config", [{"_target_": "cpr_lightning.nothing.Here"}, {"_target_": "fractions.Fraction", "colour": "red"}]
)
def test_what_cannot_be_built_is_named(config: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=config["_target_"]):
        build(config)


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(SettingsError, match="'colour'"):
        build({"_target_": "fractions.Fraction", "colour": "red"})


def test_what_the_target_itself_complains_about_is_passed_on() -> None:
    folder = {"_target_": "cpr_lightning.data.textures.TextureFolder", "root": "/nowhere"}
    with pytest.raises(DataError, match="nowhere"):
        build(folder)
