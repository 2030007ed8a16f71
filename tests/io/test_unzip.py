"""What is in a .zip is input as if it were unpacked beside it; what could do harm is refused by name."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CaseError, InputError
from pipeline.io import unzip
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.volume import Volume
from pipeline.io.write import write_labels

STACK = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


def packed(archive: Path, *files: Path, members: dict[str, bytes] | None = None) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in files:
            file.write(path, f"study/{path.name}")
        for name, content in (members or {}).items():
            file.writestr(name, content)
    return archive


def found(root: Path) -> dict[str, Case]:
    return {case.id: case for case in find_cases(root, unpack_to=root.parent / "unpacked")}


def refusal(case: Case) -> str:
    with pytest.raises(CaseError) as error:
        read_case(case)
    assert error.value.code == "UNREADABLE"
    return error.value.message


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_series_and_files_of_a_zip_are_cases_named_as_if_it_were_a_folder(tmp_path, write_series, caplog):
    write_labels(tmp_path / "a.nii.gz", Volume(STACK, np.eye(4)))
    slices = write_series(tmp_path / "ct", STACK)
    archive = packed(
        tmp_path / "in/p1/Export.ZIP", *slices, members={"b/a.nii.gz": (tmp_path / "a.nii.gz").read_bytes()}
    )
    with caplog.at_level(logging.INFO):
        cases = found(tmp_path / "in")
    assert set(cases) == {"p1/Export/study", "p1/Export/b/a"}
    assert np.array_equal(read_case(cases["p1/Export/study"]).array, STACK.T)
    assert np.array_equal(read_case(cases["p1/Export/b/a"]).array, STACK)
    assert {case.archive.path for case in cases.values()} == {archive}
    assert f"{archive}: 4 files unpacked" in caplog.text
    assert [case.id for case in find_cases(archive, unpack_to=tmp_path / "again")] == ["Export/b/a", "Export/study"]


def test_members_have_the_time_of_the_zip_so_that_a_resume_sees_what_changed(tmp_path):
    archive = packed(tmp_path / "in/a.zip", members={"b.png": b"x"})
    (case,) = found(tmp_path / "in").values()
    assert case.files[0].stat().st_mtime == archive.stat().st_mtime


def test_hidden_members_and_other_files_are_passed_over(tmp_path):
    packed(tmp_path / "in/a.zip", members={"a.png": b"x", ".b.png": b"x", "__MACOSX/c.png": b"x", "d.txt": b"x"})
    assert set(found(tmp_path / "in")) == {"a/a"}


def test_without_a_place_to_unpack_to_a_zip_is_no_input(tmp_path):
    packed(tmp_path / "in/a.zip", members={"a.png": b"x"})
    with pytest.raises(InputError, match=r"1 \.zip"):
        find_cases(tmp_path / "in")


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/out.png", "..\\out.png", "C:/out.png"])
def test_a_path_that_leads_out_of_the_zip_refuses_it_and_nothing_is_written(tmp_path, name):
    archive = packed(tmp_path / "in/a.zip", members={"a.png": b"x", name: b"x"})
    (case,) = found(tmp_path / "in").values()
    assert case.id == "a.zip"
    assert str(archive) in refusal(case) and "may lead out of it" in refusal(case)
    assert files_below(tmp_path) == ["a.zip"]


def test_a_zip_in_a_zip_is_refused_by_name_and_the_rest_is_read(tmp_path):
    inner = packed(tmp_path / "inner.zip", members={"b.png": b"x"}).read_bytes()
    archive = packed(tmp_path / "in/a.zip", members={"a.png": b"x", "more/inner.zip": inner})
    cases = found(tmp_path / "in")
    assert set(cases) == {"a/a", "a/more/inner.zip"}
    assert f"{archive}: its member more/inner.zip is an archive in an archive" in refusal(cases["a/more/inner.zip"])


def test_what_would_grow_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(unzip, "LARGEST_GB", 1e-3)
    packed(tmp_path / "in/a.zip", members={"a.png": bytes(1 << 20), "b.png": bytes(1 << 20)})
    (case,) = found(tmp_path / "in").values()
    assert "would take 0.0 GB, 0.001 are allowed" in refusal(case)
    assert files_below(tmp_path / "unpacked") == []


def test_what_the_disk_has_no_room_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unzip.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1}))
    packed(tmp_path / "in/a.zip", members={"a.png": b"xx"})
    (case,) = found(tmp_path / "in").values()
    assert "set TMPDIR" in refusal(case)


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_said(tmp_path):
    archive = packed(tmp_path / "in/a.zip", members={"a.png": bytes(5000)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    (case,) = found(tmp_path / "in").values()
    assert "cannot be unpacked" in refusal(case)
    assert sum(path.stat().st_size for path in (tmp_path / "unpacked").rglob("*") if path.is_file()) <= 10


def test_a_damaged_zip_and_a_damaged_member_are_refused_and_stop_no_other(tmp_path):
    archive = packed(tmp_path / "in/a.zip", members={"a.png": bytes(range(256)) * 9, "b.png": b"x"})
    content = bytearray(archive.read_bytes())
    content[40] ^= 0xFF
    archive.write_bytes(bytes(content))
    (tmp_path / "in/cut.zip").write_bytes(bytes(content[:60]))
    cases = found(tmp_path / "in")
    assert set(cases) == {"a/a.png", "a/b", "cut.zip"}
    assert "its member a.png cannot be unpacked" in refusal(cases["a/a.png"])
    assert "cut.zip cannot be unpacked" in refusal(cases["cut.zip"])


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = packed(tmp_path / "in/a.zip", members={"a.png": b"x"})
    content = bytearray(archive.read_bytes())
    for start, flags in ((content.index(b"PK\x03\x04"), 6), (content.index(b"PK\x01\x02"), 8)):
        content[start + flags] |= 1
    archive.write_bytes(bytes(content))
    (case,) = found(tmp_path / "in").values()
    assert "is encrypted" in refusal(case)


def test_two_members_of_one_name_are_not_written_over_one_another(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = tmp_path / "in/a.zip"
        archive.parent.mkdir()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a.png", b"x")
            file.writestr("a.png", b"y")
    cases = found(tmp_path / "in")
    assert len(cases) == 2
    assert any("exists" in note for case in cases.values() for note in case.notes)
