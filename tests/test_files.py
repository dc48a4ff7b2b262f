"""Files that are whole or absent."""

import json
from pathlib import Path

import pytest

from cpr_lightning.errors import RunError
from cpr_lightning.files import new_folder, read_json, remove_halves, replaced, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_replaced_file_is_the_old_one_until_the_block_ends(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replaced(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename within one file system
        assert temporary.suffix == ".csv"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("reason", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, reason: type[BaseException]):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def interrupted() -> None:
        with replaced(path) as temporary:
            temporary.write_text("half")
            raise reason

    with pytest.raises(reason):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_missing_parents_are_made(tmp_path: Path):
    write_text(tmp_path / "a" / "b" / "note.txt", "δ-window\n")
    assert (tmp_path / "a" / "b" / "note.txt").read_text(encoding="utf-8") == "δ-window\n"


def test_a_new_folder_appears_only_when_complete(tmp_path: Path):
    path = tmp_path / "cache" / "abc"
    with new_folder(path) as temporary:
        (temporary / "one").write_text("1")
        assert not path.exists()
    assert names(path) == ["one"]
    assert names(path.parent) == ["abc"]


@pytest.mark.parametrize("reason", [OSError, KeyboardInterrupt])
def test_an_interrupted_folder_leaves_nothing(tmp_path: Path, reason: type[BaseException]):
    def interrupted() -> None:
        with new_folder(tmp_path / "abc") as temporary:
            (temporary / "one").write_text("1")
            raise reason

    with pytest.raises(reason):
        interrupted()
    assert names(tmp_path) == []


def test_a_folder_made_by_another_process_in_the_meantime_stays(tmp_path: Path):
    path = tmp_path / "abc"
    with new_folder(path) as temporary:
        (temporary / "one").write_text("ours")
        path.mkdir()
        (path / "one").write_text("theirs")
    assert (path / "one").read_text() == "theirs"
    assert names(tmp_path) == ["abc"]


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path):
    with new_folder(tmp_path / "abc") as temporary:
        left = temporary
    (tmp_path / "abc").rmdir()
    left.mkdir()
    (left / "stale").write_text("stale")  # a process of the same number was killed here
    with new_folder(tmp_path / "abc") as temporary:
        assert temporary == left
        (temporary / "one").write_text("1")
    assert names(tmp_path / "abc") == ["one"]
    assert names(tmp_path) == ["abc"]


def test_json_is_read_as_it_was_written(tmp_path: Path):
    content = {"category": "Schraube ø4", "pro": 0.1234567890123456, "rows": [1, None, True]}
    write_json(tmp_path / "metrics.json", content)
    assert read_json(tmp_path / "metrics.json") == content
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == content
    assert "ø" in (tmp_path / "metrics.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_are_refused_and_the_old_file_stays(tmp_path: Path, number: float):
    write_json(tmp_path / "metrics.json", {"pro": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "metrics.json", {"pro": number})
    assert read_json(tmp_path / "metrics.json") == {"pro": 0.5}
    assert names(tmp_path) == ["metrics.json"]


def test_a_missing_json_file_is_named(tmp_path: Path):
    with pytest.raises(RunError, match=r"metrics\.json is missing"):
        read_json(tmp_path / "metrics.json")


@pytest.mark.parametrize("content", [b'{"pro": 0.', b"", b"\xff\xfe\x00\x01"])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.json is not JSON"):
        read_json(tmp_path / "metrics.json")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path):
    kept = [tmp_path / ".hydra" / "overrides.yaml", tmp_path / "a" / "metrics.json", tmp_path / ".locks" / "a.lock"]
    halves = [tmp_path / ".metrics.4711.json", tmp_path / "a" / ".index.77.safetensors", tmp_path / ".folder.123" / "x"]
    for path in [*kept, *halves, tmp_path / ".last.ckpt"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    remove_halves(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*kept, tmp_path / ".last.ckpt"}


def test_the_names_of_unfinished_files_are_those_that_are_removed(tmp_path: Path):
    with (
        replaced(tmp_path / "metrics.json") as file,
        replaced(tmp_path / "plain") as plain,
        new_folder(tmp_path / "folder") as folder,
    ):
        for path in (file, plain, folder / "x"):
            path.touch()
        remove_halves(tmp_path)
        assert not any(path.exists() for path in (file, plain, folder))
        file.touch()
        plain.touch()
        folder.mkdir()
