"""JSON objects come back as they were; what is none is refused by the name of its file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.io.json_file import read_json, write_json


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Zoë", "sizes": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"name": "Zoë", "sizes": [1, 2.5, None]}


def test_a_file_that_says_the_same_is_left_alone_and_another_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    first = path.stat().st_ino
    write_json(path, {"a": 1})
    assert path.stat().st_ino == first
    write_json(path, {"a": 2})
    assert path.stat().st_ino != first and read_json(path) == {"a": 2}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_what_is_no_json_object_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json cannot be read \(No such file"):
        read_json(tmp_path / "a.json")


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert not (tmp_path / "a.json").exists()
