"""An export that is there twice is one scan, and what only looks like a copy is not taken for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CaseError
from pipeline.io.copies import without_copies
from pipeline.io.dicom_files import DicomFile
from pipeline.io.dicom_split import Place
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.walk import Entry

STACK = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


@pytest.fixture
def twice(tmp_path, write_series) -> Path:
    """A folder with a series in `a`, and again in `b/c`."""
    write_series(tmp_path / "in/a", STACK)
    shutil.copytree(tmp_path / "in/a", tmp_path / "in/b/c")
    return tmp_path / "in"


def only(*roots: Path, **how) -> Case:
    (case,) = find_cases(roots, **how)
    return case


def test_the_first_folder_is_taken_and_the_others_are_told(twice):
    case = only(twice)
    assert case.id == "a" and {path.parent for path in case.files} == {twice / "a"}
    assert case.notes == (f"3 files are left out, byte for byte there already: {twice / 'b/c/slice_000.dcm'}, ...",)
    assert np.array_equal(read_case(case).array, STACK.T)


def test_a_half_that_is_there_twice_is_completed_by_the_other(twice):
    (twice / "a/slice_001.dcm").unlink()
    case = only(twice)
    assert len(case.files) == 3 and np.array_equal(read_case(case).array, STACK.T)


def test_what_lies_in_a_zip_too_is_taken_from_the_folder(twice, tmp_path, monkeypatch):
    shutil.rmtree(twice / "b")
    shutil.make_archive(str(twice / "0"), "zip", twice / "a")
    monkeypatch.chdir(twice.parent)  # relative names, as they are typed, and the absolute ones of what is unpacked
    case = only(Path("in"), unpack_to=tmp_path / "unpacked")
    assert case.id == "a" and case.archive is None
    assert case.notes == (f"3 files are left out, byte for byte there already: {twice / '0/slice_000.dcm'}, ...",)


def test_slices_that_differ_at_one_place_are_refused_wherever_they_lie(twice, tmp_path, write_series, monkeypatch):
    shutil.rmtree(twice / "b")
    write_series(tmp_path / "other", STACK + 1)
    shutil.make_archive(str(twice / "0"), "zip", tmp_path / "other")
    monkeypatch.chdir(twice.parent)
    with pytest.raises(CaseError, match="take out what is there twice") as refused:
        read_case(only(Path("in"), unpack_to=tmp_path / "unpacked"))
    assert refused.value.code == "DUPLICATE_SLICES"
    assert "in/a/slice_000.dcm, " in refused.value.message and "0.zip/slice_000.dcm)" in refused.value.message


def test_a_file_that_cannot_be_opened_is_no_copy(tmp_path):
    header = DicomFile(place=Place((1, 0, 0, 0, 1, 0), 0.0, (), ()))
    group = [(Entry(tmp_path / name, tmp_path, (name,)), header) for name in ("gone", "lost")]
    assert without_copies(group) == (group, ())
