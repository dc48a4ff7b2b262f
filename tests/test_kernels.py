"""Kernels are compiled once on a machine, and use torch's threads without changing them."""

import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numba.core import caching

from cpr_lightning import kernels

SOURCE = """
import numba


def double(numbers):
    for at in numba.prange(len(numbers)):
        numbers[at] *= 2
"""


def double(numbers: np.ndarray) -> None:
    for at in numba.prange(len(numbers)):
        numbers[at] *= 2


def test_a_kernel_computes_what_the_function_says():
    numbers = np.arange(1000.0)
    kernels.kept(double)(numbers)
    assert np.array_equal(numbers, 2 * np.arange(1000.0))


def test_a_kernel_is_kept_for_the_next_process(tmp_path: Path):
    (tmp_path / "doubling.py").write_text(SOURCE)
    program = (
        "import numpy, doubling; from cpr_lightning.kernels import kept; kernel = kept(doubling.double);"
        "kernel(numpy.ones(3)); print(sum(kernel.stats.cache_hits.values()))"
    )
    found = [
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert found == ["0\n", "1\n"]


def test_without_a_folder_to_keep_a_kernel_in_it_is_compiled_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    numbers = np.ones(5)
    kernels.kept(double)(numbers)
    assert np.array_equal(numbers, np.full(5, 2.0))
    assert "set NUMBA_CACHE_DIR" in caplog.text


def test_the_threads_are_torchs_and_numba_gets_its_own_number_back():
    threads, inside = torch.get_num_threads(), numba.get_num_threads()
    try:
        torch.set_num_threads(1)
        with kernels.torch_threads(8) as used:
            assert used == numba.get_num_threads() == 1
        assert numba.get_num_threads() == inside
        torch.set_num_threads(2)
        with kernels.torch_threads(1) as used:
            assert used == 1
    finally:
        torch.set_num_threads(threads)


def test_starting_numba_leaves_torchs_threads_alone():
    program = "import torch; torch.set_num_threads(1); import cpr_lightning.kernels; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
