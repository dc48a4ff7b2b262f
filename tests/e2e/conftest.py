"""What the end-to-end tests share: a tiny data set, and one run trained on it in a process of its own."""

import shutil
from pathlib import Path

import pytest
from e2e_helpers import Trained, call_cpr, run_cpr, small


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set; read-only by agreement."""
    root = tmp_path_factory.mktemp("e2e_data") / "tiny"
    words = ["tiny", f"root={root}", "size=96", "train=12", "test_good=4", "test_per_defect=2"]
    done = run_cpr(*words, cwd=root.parent)
    assert done.status == 0, done.err
    assert {path.name for path in root.iterdir()} == {"washer", "weave"}
    return root


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of these tests lie; they share an index cache."""
    return tmp_path_factory.mktemp("e2e_runs")


@pytest.fixture(scope="session")
def trained(tiny: Path, bench: Path) -> Trained:
    """A run that was trained by the command line, in a process of its own; read-only by agreement."""
    done = run_cpr(*small(tiny, bench / "trained", "trainer.log_every_n_steps=1"), cwd=bench)
    assert done.status == 0, done.out + done.err
    return Trained(bench / "trained", tiny, done)


@pytest.fixture
def run_copy(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained run, to damage."""
    return Path(shutil.copytree(trained.folder, tmp_path / "copy"))


@pytest.fixture
def data_copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to damage."""
    return Path(shutil.copytree(tiny, tmp_path / "data"))


@pytest.fixture(scope="session")
def unbroken(tiny: Path, bench: Path) -> Path:
    """Twelve steps without an interruption."""
    folder = bench / "unbroken"
    done = call_cpr(*small(tiny, folder, "training.max_steps=12", "training.checkpoint_every=2"), cwd=bench)
    assert done.status == 0, done.out + done.err
    return folder
