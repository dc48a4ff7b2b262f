"""Checkpoints are whole or absent, and a damaged one is named."""

from pathlib import Path

import pytest
import torch

from cpr_lightning.errors import RunError
from cpr_lightning.training.checkpoints import WholeCheckpointIO


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.arange(3)}, "global_step": 7}, path)
    loaded = WholeCheckpointIO().load_checkpoint(path, weights_only=True)
    assert loaded["global_step"] == 7
    assert loaded["state_dict"]["weight"].tolist() == [0, 1, 2]
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"global_step": 1}, path)

    def full_disk(content: object, file: Path) -> None:
        del content
        file.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match=r"last\.ckpt could not be written"):
        WholeCheckpointIO().save_checkpoint({"global_step": 2}, path)
    monkeypatch.undo()
    assert WholeCheckpointIO().load_checkpoint(path, weights_only=True) == {"global_step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("kept", [0, 100])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"last\.ckpt is not a whole checkpoint"):
        WholeCheckpointIO().load_checkpoint(path, weights_only=True)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"anything": Path("pickled")}, path)
    with pytest.raises(RunError, match=r"last\.ckpt"):
        WholeCheckpointIO().load_checkpoint(path, weights_only=True)
