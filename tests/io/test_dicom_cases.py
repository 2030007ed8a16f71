"""Which DICOM files of a tree are scans, which are passed over and why; a medium with a DICOMDIR and bare names."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pydicom.fileset import FileSet

from pipeline.errors import CaseError, InputError
from pipeline.io.discover import find_cases, read_case

STACK = np.zeros((3, 4, 5), np.int16)
SCAN, OTHER = "1.2.3.4.5.6.7.8.1001", "1.2.3.4.5.6.7.8.2002"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
NO_SCANS = [
    ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    ("reformatted images", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR"]}),
    ("projections or renderings", {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}),
    ("projections or renderings", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIN_IP"]}),
    ("screen save", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
    ("screen save", {"ImageType": None, "SOPClassUID": CAPTURE, "ImagePositionPatient": None}),
    ("dose report", {"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}),
    ("X-Ray Radiation Dose SR", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "Modality": "SR"}),
    ("RT Structure Set", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Modality": "RTSTRUCT"}),
]


@pytest.mark.parametrize(("what", "tags"), NO_SCANS)
def test_what_is_no_scan_is_passed_over_with_the_reason(tmp_path, write_series, caplog, what, tags):
    write_series(tmp_path / "ct", STACK, series=SCAN)
    files = write_series(tmp_path / "more", STACK, series=OTHER, **tags)
    with caplog.at_level(logging.INFO):
        assert [case.id for case in find_cases(tmp_path)] == ["ct"]
    assert f"files passed over: 3 {what}" in caplog.text
    assert f"{tmp_path / 'more'}: 3 files passed over: {what} (series {OTHER})" in caplog.text
    assert {case.files[0].parent for case in find_cases(tmp_path, series=OTHER)} == {tmp_path / "more"}
    assert len(find_cases(files[0])) == 1  # what is named itself is answered for


def test_the_localizer_among_the_slices_of_a_scan_is_left_out(tmp_path, write_series):
    write_series(tmp_path, STACK, series=SCAN)
    (tmp_path / "slice_000.dcm").rename(tmp_path / "a.dcm")
    scout = write_series(tmp_path, STACK[:1], series=SCAN, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (case,) = find_cases(tmp_path)
    assert scout[0] not in case.files and read_case(case).array.shape == (5, 4, 3)


@pytest.mark.parametrize("kind", ["AXIAL", "OTHER", "LOW_DOSE", ""])
def test_a_derived_scan_is_taken_and_said_to_be_one(tmp_path, write_series, kind):
    write_series(tmp_path / "ct", STACK, ImageType=["DERIVED", "SECONDARY", kind])
    (case,) = find_cases(tmp_path)
    assert case.notes == ("its ImageType is DERIVED: taken for a scan all the same",)
    assert read_case(case).array.shape == (5, 4, 3)


def test_a_photograph_that_was_captured_stays_a_picture(tmp_path, write_series):
    write_series(tmp_path, STACK[:1], Modality="XC", SOPClassUID=CAPTURE, ImagePositionPatient=None)
    (case,) = find_cases(tmp_path)
    assert (case.kind, case.modality) == ("dicom_image", "XC")


def test_a_tree_without_a_scan_says_what_is_in_it(tmp_path, write_series):
    write_series(tmp_path, STACK, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(InputError, match="3 localizer"):
        find_cases(tmp_path)


def test_a_medium_with_a_dicomdir_and_files_without_suffix_is_read_as_its_series(tmp_path, write_series):
    medium = FileSet()
    for number, (series, value) in enumerate({SCAN: 7, OTHER: 9}.items()):
        facts = {"PatientID": "1", "PatientName": "a", "StudyInstanceUID": "1.2.3", "StudyDate": "20200101",
            "StudyTime": "101010", "StudyID": "1", "AccessionNumber": "", "SeriesNumber": number}  # fmt: skip
        for path in write_series(tmp_path / f"in{number}", STACK + value, series=series, **facts):
            medium.add(path)
    medium.write(tmp_path / "medium")
    names = {path.name for path in (tmp_path / "medium").rglob("*") if path.is_file()}
    assert "DICOMDIR" in names and not any("." in name for name in names)
    cases = find_cases(tmp_path / "medium")
    assert sorted(int(read_case(case).array.max()) for case in cases) == [7, 9]
    (case,) = find_cases(tmp_path / "medium", series=OTHER)
    assert len(case.files) == 3 and read_case(case).array.min() == 9
    with pytest.raises(InputError, match=f"give the folder of the medium, {tmp_path / 'medium'}$"):
        find_cases(tmp_path / "medium/DICOMDIR")


def test_a_study_of_which_nothing_is_left_is_warned_of(tmp_path, write_series, caplog):
    write_series(tmp_path / "a/ct", STACK, series=SCAN, StudyInstanceUID="1.2.1")
    reformatted = {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}
    write_series(tmp_path / "a/mpr", STACK, series=OTHER, StudyInstanceUID="1.2.1", **reformatted)
    with caplog.at_level(logging.WARNING):
        find_cases(tmp_path)
        assert not caplog.text
        write_series(tmp_path / "b", STACK, series=f"{OTHER}.1", StudyInstanceUID="1.2.2", **reformatted)
        find_cases(tmp_path)
    assert f"{tmp_path / 'b'}: no scan in study 1.2.2, all of it was passed over" in caplog.text


def test_the_modality_is_that_of_the_header(tmp_path, write_series):
    write_series(tmp_path / "a", STACK, series=SCAN, Modality="MR")
    (case,) = find_cases(tmp_path)
    assert case.modality == "MR"


def test_a_report_that_is_named_itself_is_refused_by_its_code(tmp_path, write_series):
    (path,) = write_series(tmp_path, STACK[:1], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67", Modality="SR")
    (case,) = find_cases(path)
    with pytest.raises(CaseError) as error:
        read_case(case)
    assert error.value.code == "NOT_AN_IMAGE"


def test_a_number_of_the_wrong_length_is_a_case_that_is_refused_and_stops_no_other(tmp_path, write_series):
    write_series(tmp_path / "ct", STACK, series=SCAN)
    (odd,) = write_series(tmp_path / "odd", STACK[:1], series=OTHER, DiffusionBValue=800.0, Rows=None)
    data = odd.read_bytes()
    at = data.index(b"\x18\x00\x87\x90FD\x08\x00")
    odd.write_bytes(data[: at + 6] + b"\x07\x00" + data[at + 8 : at + 15] + data[at + 16 :])
    cases = {case.id: case for case in find_cases(tmp_path)}
    assert read_case(cases["ct"]).array.shape == (5, 4, 3)
    with pytest.raises(CaseError):
        read_case(cases["odd/slice_000"])
