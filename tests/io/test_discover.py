"""What counts as a case, what it is called, and that nothing is passed over without a word."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CaseError, InputError
from pipeline.io.discover import find_cases, read_case, read_file
from pipeline.io.volume import Volume
from pipeline.io.write import write_labels

STACK = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
A, B = "1.2.3.4.5.6.7.8.1001", "1.2.3.4.5.6.7.8.2002"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def ids(*roots: Path) -> list[str]:
    return [case.id for case in find_cases(roots)]


def test_each_suffix_has_its_reader_and_loses_it_in_the_id(tmp_path):
    touch(tmp_path, "a/x.nii.gz", "b.NII", "c.mha", "d.nrrd", "e.png", "f.JPG", "g.tiff", "h.bmp")
    found = {case.id: case.kind for case in find_cases(tmp_path)}
    grouped = {"nifti": ["a/x", "b"], "metaimage": ["c", "d"], "image": ["e", "f", "g", "h"]}
    assert found == {name: kind for kind, names in grouped.items() for name in names}


def test_series_are_told_by_their_uid_wherever_their_files_lie(tmp_path, write_series):
    files = write_series(tmp_path / "one", STACK, series=A)
    (tmp_path / "two").mkdir()
    files[0].rename(tmp_path / "two" / "IM.0001")
    files[1].rename(tmp_path / "two" / "no_extension")
    write_series(tmp_path / "two", STACK, series=B)
    cases = find_cases(tmp_path, series=A)
    assert [len(case.files) for case in cases] == [3]
    assert read_case(cases[0]).array.shape == (5, 4, 3)


def test_an_empty_series_is_not_that_of_the_files_without_one(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="no series '' was found"):
        find_cases(tmp_path, series="")


def test_a_folder_with_one_series_gives_its_name_and_one_with_two_says_so(tmp_path, write_series):
    write_series(tmp_path / "p1" / "ct", STACK, series=A)
    assert ids(tmp_path) == ["p1/ct"]
    assert ids(tmp_path / "p1" / "ct") == ["ct"]
    for path in write_series(tmp_path / "other", STACK, series=B):
        path.rename(tmp_path / "p1" / "ct" / f"b_{path.name}")
    cases = find_cases(tmp_path)
    assert [case.id for case in cases] == ["p1/ct/series_3_7.8.1001", "p1/ct/series_3_7.8.2002"]
    assert all(case.notes == ("2 series in this folder: one case each",) for case in cases)


def test_slices_given_one_by_one_are_one_series_and_a_single_file_gives_its_stem(tmp_path, write_series):
    files = write_series(tmp_path / "ct", STACK)
    assert ids(*files) == ["ct"]
    assert ids(files[0]) == ["slice_000"]


def test_an_anonymised_series_without_uids_is_grouped_by_folder_and_says_so(tmp_path, write_series):
    write_series(tmp_path / "ct", STACK, SeriesInstanceUID="", SOPClassUID="")
    (case,) = find_cases(tmp_path)
    assert case.id == "ct" and "no SeriesInstanceUID" in case.notes[0]
    assert read_case(case).array.shape == (5, 4, 3)


def test_pictures_of_one_series_are_one_case_a_file(tmp_path, write_series):
    write_series(tmp_path / "us", STACK, Modality="US", ImagePositionPatient=None)
    cases = find_cases(tmp_path)
    assert [case.id for case in cases] == ["us/slice_000", "us/slice_001", "us/slice_002"]
    assert all(case.is_picture and read_case(case).array.shape == (4, 5) for case in cases)


def test_objects_without_a_scan_are_cases_that_are_refused(tmp_path, write_series):
    write_series(tmp_path / "ct", STACK, series=A)
    write_series(tmp_path / "seg", STACK[:1], series=A, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG")
    ct, seg = find_cases(tmp_path)
    assert len(ct.files) == 3
    with pytest.raises(CaseError) as error:
        read_case(seg)
    assert error.value.code == "NOT_AN_IMAGE"


def test_what_is_named_like_an_image_and_is_none_is_a_case_that_is_refused(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.mha", "c.png", "d.dcm")
    (tmp_path / "e.nii").symlink_to(tmp_path / "gone.nii")
    for case in find_cases(tmp_path):
        with pytest.raises(CaseError) as error:
            read_case(case)
        assert error.value.code in {"UNREADABLE", "TRUNCATED"}, case


def test_other_files_are_counted_in_the_log_and_hidden_ones_passed_over(tmp_path, caplog):
    touch(
        tmp_path,
        "a.png",
        "notes.txt",
        "x.json",
        "y.json",
        "README",
        ".hidden.png",
        "._a.png",
        "__MACOSX/a.png",
        ".d/a.png",
    )
    with caplog.at_level(logging.INFO):
        assert ids(tmp_path) == ["a"]
    assert "1 .txt, 2 .json, 1 no suffix" in caplog.text or "2 .json, 1 .txt, 1 no suffix" in caplog.text


def test_a_folder_that_cannot_be_listed_is_a_case_and_stops_no_other(tmp_path, monkeypatch):
    touch(tmp_path, "open/a.png", "closed/b.png")
    scandir = os.scandir

    def guarded(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    closed, opened = find_cases(tmp_path)
    assert (closed.id, closed.kind, opened.id) == ("closed", "unreadable", "open/a")
    with pytest.raises(CaseError, match="Permission denied") as error:
        read_case(closed)
    assert error.value.code == "UNREADABLE"


def test_loops_and_overlapping_roots_give_each_file_once(tmp_path):
    touch(tmp_path, "a/x.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert len(find_cases([tmp_path, tmp_path / "a", tmp_path / "a" / "x.png"])) == 1


def test_what_is_there_by_a_link_too_keeps_its_own_name_and_that_is_told(tmp_path, caplog):
    touch(tmp_path, "in/z/deep/x.png", "in/z/y.png")
    for link in ("in/a", "in/zz"):
        (tmp_path / link).symlink_to(tmp_path / "in/z/deep")
    (tmp_path / "in/b.png").symlink_to(tmp_path / "in/z/y.png")
    with caplog.at_level(logging.INFO):
        assert ids(tmp_path / "in") == ["z/deep/x", "z/y"]
    for link in ("a", "zz", "b.png"):
        assert f"{tmp_path / 'in' / link} is there by another name already: taken once" in caplog.text


def test_a_link_to_a_file_elsewhere_is_that_file_and_one_to_nothing_is_refused(tmp_path):
    touch(tmp_path, "elsewhere/x.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").symlink_to(tmp_path / "elsewhere/x.png")
    (tmp_path / "in/b.nii.gz").symlink_to(tmp_path / "nothing.nii.gz")
    _, lost = find_cases(tmp_path / "in")
    with pytest.raises(CaseError, match=r"b\.nii\.gz cannot be read"):
        read_case(lost)


def test_a_pipe_is_not_waited_for(tmp_path):
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.nii.gz")
    (tmp_path / "c.nii.gz").symlink_to(tmp_path / "b.nii.gz")
    assert ids(tmp_path) == ["a"]


def test_equal_names_keep_their_suffix_then_take_their_roots_name_then_a_number(tmp_path):
    touch(tmp_path, "s/a.nii.gz", "s/a.mha", "s/B.png", "s/b.png", "t/a.nii.gz", "u/s/a.nii.gz")
    assert ids(tmp_path / "s") == ["a.mha", "a.nii.gz", "s/B.png", "s/b.png_2"]
    assert ids(tmp_path / "s" / "a.nii.gz", tmp_path / "t" / "a.nii.gz") == ["s/a", "t/a"]
    assert ids(tmp_path / "s" / "a.nii.gz", tmp_path / "u" / "s" / "a.nii.gz") == ["s/a.nii.gz", "s/a.nii.gz_2"]


def test_the_order_of_roots_does_not_matter(tmp_path):
    touch(tmp_path, "s/a.png", "t/a.png", "t/c.png")
    assert find_cases([tmp_path / "s", tmp_path / "t"]) == find_cases([tmp_path / "t", tmp_path / "s"])


def test_nothing_found_says_what_was_looked_for(tmp_path):
    touch(tmp_path, "a.txt")
    with pytest.raises(InputError, match=r"1 other file: 1 \.txt\): looked for DICOM, NIfTI"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_cases([tmp_path, tmp_path / "nowhere"])


def test_a_series_that_is_not_there_lists_those_that_are(tmp_path, write_series):
    write_series(tmp_path / "a", STACK, series=A)
    write_series(tmp_path / "b", STACK, series=B)
    touch(tmp_path, "c.png")
    assert [case.id for case in find_cases(tmp_path, series=B)] == ["b"]
    with pytest.raises(InputError, match=f"{A}, {B}"):
        find_cases(tmp_path, series="9.9")


def test_a_file_is_read_by_its_suffix_and_one_without_is_refused(tmp_path):
    write_labels(tmp_path / "a.nrrd", Volume(STACK, np.eye(4)))
    assert np.array_equal(read_file(tmp_path / "a.nrrd").array, STACK)
    for name in ("a.txt", "b.dcm"):
        with pytest.raises(CaseError, match=f"{name} has no suffix"):
            read_file(tmp_path / name)
