"""What the words of a sweep stand for."""

import pytest

from cpr_lightning.errors import SettingsError
from cpr_lightning.sweeps.words import Between, Swept, parse


def one(word: str) -> Swept:
    (swept,) = parse([word])
    return swept


@pytest.mark.parametrize(
    ("word", "words", "plain"),
    [
        ("seed=1", ["seed=1"], True),
        ("seed=1,2", ["seed=1", "seed=2"], True),
        ("seed=choice(1,2)", ["seed=1", "seed=2"], True),
        ("retrieval.windows=[3,1],[1,1]", ["retrieval.windows=[3,1]", "retrieval.windows=[1,1]"], True),
        ("variant=cpr,fast", ["variant=cpr", "variant=fast"], False),
        ("+trainer.precision=16,32", ["+trainer.precision=16", "+trainer.precision=32"], False),
        ("~logger", ["~logger"], False),
    ],
)
def test_values(word: str, words: list[str], plain: bool):
    swept = one(word)
    assert (list(swept.words), swept.plain, swept.line, swept.between) == (words, plain, word, None)


@pytest.mark.parametrize(
    ("word", "between", "count"),
    [
        ("a.b=interval(0.5,2)", Between(0.5, 2), 1),
        ("a.b=tag(log,interval(1e-4,1e-2))", Between(1e-4, 1e-2, log=True), 1),
        ("a.b=int(interval(1,20))", Between(1, 20), 1),
        ("a.b=range(1,21)", Between(1, 20, 1), 20),
        ("a.b=range(8,33,8)", Between(8, 32, 8), 4),
        ("a.b=range(1,8.5,0.5)", Between(1, 8, 0.5), 15),
    ],
)
def test_numbers(word: str, between: Between, count: int):
    swept = one(word)
    assert swept.between == between
    assert len(swept.words) == count
    assert swept.endless == (count == 1)


def test_of_several_the_last_holds():
    assert [each.line for each in parse(["a=1,2", "b=3", "a=4"])] == ["a=4", "b=3"]


@pytest.mark.parametrize("word", ["a", "a=[", "a=range(3,1)"])
def test_what_is_not_understood_is_named(word: str):
    with pytest.raises(SettingsError, match=r"a"):
        parse([word])
