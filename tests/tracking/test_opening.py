"""Where W&B refuses, is silent, or is told nonsense, the run is kept offline, in a bounded time."""

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import wandb

from cpr_lightning.tracking import opening
from cpr_lightning.tracking.opening import open_run
from offline_records import offline_runs


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.asked += 1  # pyright: ignore[reportAttributeAccessIssue]
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors":[{"message":"the key is not known"}]}')

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def refusing() -> Iterator[ThreadingHTTPServer]:
    """A server that refuses every key, on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        server.asked = 0  # pyright: ignore[reportAttributeAccessIssue]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _far_from_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(opening, "_ANSWER", 2.0)
    monkeypatch.setattr(opening, "_stays_offline", False)
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        # Set first, so that what the code under test sets is put back, too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    wandb.teardown()  # W&B reads its variables once in a process
    yield
    wandb.teardown()


def kept_offline(folder: Path, *, offline: bool | None = None) -> bool:
    """Open and close a run; whether it was kept on the disk, closed."""
    run = open_run({"project": "p", "dir": str(folder)}, offline=offline, upload_timeout=5.0)
    assert run is not None
    run.log({"loss": 1.0})
    run.finish()
    (found,) = offline_runs(folder)
    return found.exit_code == 0 and found.history[0]["loss"] == 1.0


def test_a_refused_key_is_said_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusing: ThreadingHTTPServer
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{refusing.server_port}")
    (tmp_path / "one").mkdir()
    assert kept_offline(tmp_path / "one")
    asked: int = refusing.asked  # pyright: ignore[reportAttributeAccessIssue]
    assert asked > 0
    said = [record.message for record in caplog.records if record.name == opening.__name__]
    assert len(said) == 1
    assert "the key is not known" in said[0] or "unauthorized" in said[0].lower() or "401" in said[0]
    assert "kept offline" in said[0]
    (tmp_path / "two").mkdir()
    assert kept_offline(tmp_path / "two")
    assert refusing.asked == asked  # pyright: ignore[reportAttributeAccessIssue]


def test_a_server_that_never_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert kept_offline(tmp_path)
    assert "W&B cannot be used online" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "onlyne"), ("WANDB_BASE_URL", "not an address")])
def test_a_variable_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv(name, value)
    assert kept_offline(tmp_path)
    assert f"{name}={value}" in caplog.text
    assert os.environ[name] == value


@pytest.mark.parametrize("mode", [None, "online", "offline"])
def test_without_a_key_nobody_is_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    assert kept_offline(tmp_path, offline=False if mode == "online" else None)


def test_a_run_that_is_switched_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = open_run({"project": "p", "dir": str(tmp_path)}, offline=None, upload_timeout=5.0)
    assert run is not None
    run.log({"loss": 1.0})
    run.finish()
    assert offline_runs(tmp_path) == []
