"""The network part through torch.compile against torch."""

from pathlib import Path

import pytest
import torch
from small_networks import SIZE, assert_close, assert_same, cascade_of, part_of, pictures

from cpr_lightning.choices import Precision
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.runtime.compiled import compiled_network, compiler_problem

CPU = torch.device("cpu")


needs_compiler = pytest.mark.skipif(compiler_problem(CPU) is not None, reason="this machine has no C++ compiler")


@pytest.mark.slow
@needs_compiler
def test_fp32_is_the_same_for_any_number_of_images(small_backbone: Backbone):
    part = part_of(small_backbone, branch=False)  # compiled twice: half the network takes half the time
    compiled = compiled_network(part, Precision.fp32, SIZE)
    for count in (1, 3):
        assert_same(part, compiled, pictures(count, 3), foreground=1e-4)


@pytest.mark.slow
@needs_compiler
def test_bf16_is_close_and_scores_in_the_cascade(small_backbone: Backbone):
    part = part_of(small_backbone)
    compiled = compiled_network(part, Precision.bf16, SIZE)
    assert_close(part, compiled, pictures(1, 3))
    cascade = cascade_of(part)
    expected = cascade(pictures(1, 3))
    cascade.run_network = compiled
    made = cascade(pictures(1, 3), neighbors=expected.neighbors)
    torch.testing.assert_close(made.score, expected.score, rtol=0.05, atol=0)


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "my-compiler")
    problem = compiler_problem(CPU)
    assert problem == ("torch needs a C++ compiler to compile for a CPU, and finds none of my-compiler, g++, clang++")
    compiler = tmp_path / "clang++"
    compiler.touch(0o755)
    assert compiler_problem(CPU) is None


def test_a_missing_triton_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    assert compiler_problem(torch.device("cuda")) == "torch needs the package triton to compile for a GPU"
