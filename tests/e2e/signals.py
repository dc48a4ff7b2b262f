"""Starting `cpr` so that it can be sent signals, and seeing that nothing is left of it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from e2e_helpers import child_environment, command


def started(words: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    """A process group of its own, so that signals reach its loader processes, and not us."""
    with (cwd / "said.txt").open("wb") as said:
        return subprocess.Popen(
            command(*words),
            cwd=cwd,
            env=child_environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], cwd: Path, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        said = (cwd / "said.txt").read_text(errors="replace")
        assert process.poll() is None, f"ended early with {process.returncode}:\n{said}"
        assert time.monotonic() < end, said
        time.sleep(0.005)


def group_is_gone(group: int, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=180)
