"""A file appears whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.errors import CaseError
from pipeline.io.whole_file import append_text, remove_parts, whole_file, write_text


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_there_only_after_the_block(tmp_path):
    with whole_file(tmp_path / "new" / "a.csv") as part:
        part.write_text("x")
        assert not (tmp_path / "new" / "a.csv").exists() and part.name.startswith(".")
    assert left_in(tmp_path / "new") == ["a.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_block_leaves_the_older_file_and_nothing_else(tmp_path, error):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(error), whole_file(tmp_path / "a.csv") as part:
        part.write_text("half")
        raise error
    assert left_in(tmp_path) == ["a.csv"] and (tmp_path / "a.csv").read_text() == "old"


def test_a_full_disk_is_a_refusal_with_a_code(tmp_path):
    with pytest.raises(CaseError, match="No space left") as caught, whole_file(tmp_path / "a.csv") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.code == "WRITE_FAILED" and left_in(tmp_path) == []


def test_a_file_in_the_way_of_the_folder_is_a_refusal_too(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(CaseError) as caught, whole_file(tmp_path / "out" / "a.csv") as part:
        part.write_text("x")
    assert caught.value.code == "WRITE_FAILED"


def test_text_keeps_its_line_ends_on_any_system(tmp_path):
    write_text(tmp_path / "a.csv", "é\nb\r\n")
    assert (tmp_path / "a.csv").read_bytes() == b"\xc3\xa9\nb\r\n"


def test_what_cannot_be_appended_whole_is_not_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    append_text(path, "a\n")
    append_text(path, "b\n")
    assert path.read_text() == "a\nb\n"
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(CaseError, match="No space left") as refused:
        append_text(tmp_path / "full", "c\n")
    assert refused.value.code == "WRITE_FAILED"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with whole_file(tmp_path / "sub/labels.nii.gz") as part:
        part.write_bytes(b"labels")
        left = part.with_name(".part-01234567.nii.gz")
        left.write_bytes(b"half")
    (tmp_path / ".part-of-a-book.txt").write_text("mine")
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"labels.nii.gz", ".part-of-a-book.txt"}
