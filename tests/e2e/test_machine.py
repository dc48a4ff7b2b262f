"""What the machine may refuse: a GPU, room on the disk, the right to write; and losses that are no numbers."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from e2e_helpers import Result, Trained, call_cpr, half_files, metrics_of, small

WHOLE = {".safetensors", ".faiss", ".json", ".csv", ".html", ".txt", ".yaml"}


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Stands in for a full disk wherever one runs: writes beyond `size` bytes fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 4 MB; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a log file may still be open


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(device: str, tiny: Path, trained: Trained, tmp_path: Path):
    for words in (
        small(tiny, tmp_path / "run", f"device={device}"),
        ["evaluate", f"run={trained.folder}", f"device={device}", "output=e"],
        ["predict", f"run={trained.folder}", f"device={device}", f"images={tiny}", "output=p"],
    ):
        said = call_cpr(*words, cwd=tmp_path).sentence()
        assert f"device={device}" in said
        assert "device=cpu" in said


def test_a_loss_that_is_no_number_stops_the_run(tiny: Path, trained: Trained, tmp_path: Path):
    run = tmp_path / "run"
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    said = call_cpr(*small(tiny, run, cache, "training.learning_rate=1e30"), cwd=tmp_path).sentence()
    assert "loss" in said
    assert "training.learning_rate" in said
    assert not (run / "model.safetensors").exists()
    assert not (run / "metrics.json").exists()


def test_the_remedy_for_a_loss_that_is_no_number_helps(tiny: Path, trained: Trained, tmp_path: Path):
    run = tmp_path / "run"
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    call_cpr(*small(tiny, run, cache, "training.max_steps=2", "training.checkpoint_every=2"), cwd=tmp_path)
    (run / "metrics.json").unlink()
    good = (run / "checkpoints" / "last.ckpt").read_bytes()
    wild = ["training.max_steps=6", "training.checkpoint_every=3", "training.learning_rate=1e30"]
    again = call_cpr("train", f"resume={run}", *wild, cwd=tmp_path)
    assert "training.learning_rate" in again.sentence(), "a rate that is given to resume= must count"
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == good, "the last good checkpoint is kept"
    done = call_cpr("train", f"resume={run}", "training.learning_rate=1e-3", "training.max_steps=6", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert metrics_of(run)["steps"] == 6


def nothing_is_half(folder: Path, result: Result) -> None:
    assert half_files(folder) == []
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in WHOLE:
            assert path.stat().st_size > 0, f"{path} is empty\n{result.err}"


@pytest.mark.parametrize(
    ("size", "steps", "cached"),
    [
        (2_000, 6, False),  # not even the index
        (20_000, 6, False),  # the features that the index is made from
        (1_000_000, 6, True),  # a checkpoint
        (1_000_000, 0, True),  # the model
        (2_500_000, 0, True),  # the first scale of the bank
    ],
)
def test_a_write_that_fails_is_said_and_leaves_nothing_half(
    size: int, steps: int, cached: bool, tiny: Path, trained: Trained, tmp_path: Path
):
    run = tmp_path / "run"
    cache = trained.folder.parent / "index_cache" if cached else tmp_path / "index_cache"
    words = small(tiny, run, f"training.max_steps={steps}", f"index_cache={cache}")
    with no_file_larger_than(size):
        done = call_cpr(*words, cwd=tmp_path)
    said = done.sentence()
    assert "too large" in said.lower() or "could not be written" in said.lower() or "no space" in said.lower()
    nothing_is_half(run, done)
    assert not (run / "metrics.json").exists()
    assert not list(tmp_path.rglob("index.safetensors"))
    assert not (run / "bank" / "scale1.faiss").exists()
    # With room it goes on.
    begun = (run / ".hydra" / "overrides.yaml").is_file()
    done = call_cpr(*(["train", f"resume={run}"] if begun else words), cwd=tmp_path)
    assert done.status == 0, done.out + done.err


@pytest.mark.parametrize("steps", [6, 0])
def test_a_full_disk_is_said_with_a_remedy(steps: int, tiny: Path, trained: Trained, small_disk: Path, tmp_path: Path):
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    words = small(tiny, small_disk / "run", cache, f"training.max_steps={steps}")
    done = call_cpr(*words, cwd=tmp_path)
    said = done.sentence()
    assert str(small_disk) in said
    assert "space" in said
    nothing_is_half(small_disk / "run", done)
    assert not (small_disk / "run" / "metrics.json").exists()


def test_a_checkpoint_that_the_disk_has_no_room_for_is_whole_or_absent(
    tiny: Path, trained: Trained, small_disk: Path, tmp_path: Path
):
    run = small_disk / "run"
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    done = call_cpr(*small(tiny, run, cache, "training.checkpoint_every=2"), cwd=tmp_path)
    assert done.status == 2, done.out
    for checkpoint in (run / "checkpoints").glob("*.ckpt"):
        torch.load(checkpoint, weights_only=True)


def test_results_on_a_full_disk(tiny: Path, trained: Trained, small_disk: Path, tmp_path: Path):
    (small_disk / "filler").write_bytes(b"\0" * (4 * 1024 * 1024 - 40_000))
    words = ["predict", f"run={trained.folder}", f"images={tiny / 'washer' / 'test'}", f"output={small_disk / 'p'}"]
    done = call_cpr(*words, cwd=tmp_path)
    assert str(small_disk) in done.sentence()
    assert half_files(small_disk) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tiny: Path, trained: Trained, tmp_path: Path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    assert str(locked) in call_cpr(*small(tiny, locked / "run", cache), cwd=tmp_path).sentence()
    image = tiny / "washer" / "test" / "good" / "000.png"
    words = ["predict", f"run={trained.folder}", f"images={image}", f"output={locked / 'p'}"]
    assert str(locked) in call_cpr(*words, cwd=tmp_path).sentence()
    assert str(locked) in call_cpr("tiny", f"root={locked / 'data'}", cwd=tmp_path).sentence()


def test_an_output_that_is_a_file(tiny: Path, trained: Trained, tmp_path: Path):
    (tmp_path / "taken").write_text("mine")
    image = tiny / "washer" / "test" / "good" / "000.png"
    words = ["predict", f"run={trained.folder}", f"images={image}", "output=taken"]
    assert "taken" in call_cpr(*words, cwd=tmp_path).sentence()
    assert "taken" in call_cpr("tiny", "root=taken", cwd=tmp_path).sentence()
    assert "taken" in call_cpr(*small(tiny, tmp_path / "taken"), cwd=tmp_path).sentence()
    assert (tmp_path / "taken").read_text() == "mine"
