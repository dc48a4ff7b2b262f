"""Reading back what an offline W&B run wrote, as `wandb sync` does: records in LevelDB's log format."""

import json
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from wandb.proto import wandb_internal_pb2

_RECORD: Any = wandb_internal_pb2.Record  # pyright: ignore[reportAttributeAccessIssue]
_BLOCK = 32768
_HEADER = struct.Struct("<IHB")  # checksum, length, type
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """What the datastore of a run holds."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)  # type → name in it → where the file lies
    exit_code: int | None = None

    def curve(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a metric."""
        return [(line["trainer/global_step"], line[name]) for line in self.history if name in line]

    def table(self, name: str) -> dict[str, Any]:
        """A logged table: its columns and rows; the summary has it, too."""
        assert self.summary[f"{name}/_type"] == "table-file"
        return json.loads(self.artifacts["run_table"][f"{name}.table.json"].read_text(encoding="utf-8"))


def offline_runs(run_directory: Path) -> list[OfflineRun]:
    """The closed offline runs in a run directory, oldest first."""
    return [_closed(folder) for folder in sorted((run_directory / "wandb").glob("offline-run-*"))]


def online_runs(run_directory: Path) -> list[OfflineRun]:
    """The same of runs that were online: W&B writes down what it sends."""
    return [_closed(folder) for folder in sorted((run_directory / "wandb").glob("run-*"))]


def _closed(folder: Path) -> OfflineRun:
    """W&B's service, a process of its own, writes the last records just after the run was closed."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with suppress(AssertionError):
            found = _read(folder)
            if found.exit_code is not None:
                return found
        time.sleep(0.05)
    found = _read(folder)
    assert found.exit_code is not None, f"{folder} was never closed"
    return found


def _read(folder: Path) -> OfflineRun:
    (path,) = folder.glob("*.wandb")
    found = OfflineRun(folder)
    for content in _records(path.read_bytes()):
        record = _RECORD.FromString(content)
        match record.WhichOneof("record_type"):
            case "run":
                found.run = record.run
                found.config |= _items(record.run.config.update)
            case "config":
                found.config |= _items(record.config.update)
            case "history":
                found.history.append(_items(record.history.item))
            case "summary":
                found.summary |= _items(record.summary.update)
            case "artifact":
                entries = record.artifact.manifest.contents
                files = {entry.path: Path(entry.local_path) for entry in entries}
                found.artifacts.setdefault(record.artifact.type, {}).update(files)
            case "exit":
                found.exit_code = record.exit.exit_code
    return found


def _items(items: Any) -> dict[str, Any]:
    """Keys and JSON values; a nested key is a path."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    """Whole records; asserts that the file is undamaged to its end."""
    assert data[:4] == b":W&B"
    at, pending = 7, b""
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:  # too little for a header: filled with zeros
            at += left
            continue
        checksum, length, kind = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        piece = data[at : at + length]
        assert len(piece) == length, "cut short"
        assert crc32(piece, crc32(bytes([kind]))) & 0xFFFFFFFF == checksum, "damaged"
        at += length
        pending = piece if kind in (_WHOLE, _FIRST) else pending + piece
        if kind in (_WHOLE, _LAST):
            yield pending
