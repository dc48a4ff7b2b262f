"""What the command line prepares before a verb runs."""

import os

import pytest

from cpr_lightning import cli

SPIN = "GOMP_SPINCOUNT"


@pytest.mark.parametrize(
    ("verb", "words", "sleeps"),
    [
        ("benchmark", ["variant=cpr"], True),
        ("benchmark", ["variant=cpr", "runtime=eager"], False),
        ("predict", ["runtime=openvino", "run=x"], True),
        ("evaluate", ["runtime=onnx"], True),
        ("train", ["runtime=eager", "runtime=auto"], True),
        ("train", [], False),
    ],
)
def test_idle_threads_sleep_where_another_library_computes(
    verb: str, words: list[str], sleeps: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "environ", {})
    cli._share_cores(verb, words)
    assert (SPIN in os.environ) == sleeps


def test_it_is_interrupted_without_a_traceback_also_while_it_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(name: str) -> object:
        raise KeyboardInterrupt(name)

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["train"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "environ", {SPIN: "7"})
    cli._share_cores("benchmark", [])
    assert os.environ == {SPIN: "7"}
