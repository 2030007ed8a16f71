"""Pixels read straight from the file are those that pydicom decodes; a file that changes meanwhile is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from pipeline.errors import CaseError
from pipeline.io import dicom_series
from pipeline.io.dicom_header import read_header
from pipeline.io.dicom_native import native_pixels
from pipeline.io.dicom_series import read_series
from pipeline.io.discover import find_cases, read_case

STACK = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 6)).astype(np.int16)


def pixels_of(path: Path):
    with path.open("rb") as file:
        return native_pixels(read_header(file))


def saved(files: list[Path], syntax=ExplicitVRLittleEndian) -> list[Path]:
    for path in files:
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:
            dataset.compress(syntax)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return files


def refusal(read) -> str:
    with pytest.raises(CaseError) as error:
        read()
    return error.value.code


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
@pytest.mark.parametrize("tags", [{}, {"RescaleIntercept": -1024}, {"RescaleSlope": 0.5}, {"unused": 3}])
def test_values_are_those_that_pydicom_decodes(tmp_path, write_series, monkeypatch, syntax, dtype, tags):
    limits = np.iinfo(dtype)
    stack = np.random.default_rng(1).integers(limits.min, limits.max, (3, 3, 5), dtype, endpoint=True)
    if "unused" in tags:  # 3 bits with anything in them
        stored = 8 * stack.itemsize - 3
        tags = {"BitsStored": stored, "HighBit": stored - 1}
    files = saved(write_series(tmp_path, stack, **tags), syntax)
    found = read_series(files).array
    assert pixels_of(files[0]).dtype == dtype
    monkeypatch.setattr(dicom_series, "native_pixels", lambda header: None)
    expected = read_series(files).array
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    if not tags:
        assert np.array_equal(found, stack.T.astype(found.dtype))


@pytest.mark.parametrize(
    "tags",
    [
        {"NumberOfFrames": 2},
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"BitsStored": 17},
        {"BitsStored": None},
        {"PixelRepresentation": 2},
        {"PixelRepresentation": None},
        {"PixelData": b"\0\0"},
        {"PixelData": None},
        {"Rows": 0},
        {"ModalityLUTSequence": [pydicom.Dataset()]},
    ],
)
def test_anything_else_is_left_to_pydicom(tmp_path, write_series, tags):
    assert pixels_of(write_series(tmp_path / "a", STACK)[0]) is not None
    assert pixels_of(write_series(tmp_path / "b", STACK, **tags)[0]) is None


def test_compressed_slices_are_read_as_before(tmp_path, write_series):
    files = saved(write_series(tmp_path, STACK), RLELossless)
    assert pixels_of(files[0]) is None and np.array_equal(read_series(files).array, STACK.T)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


@pytest.mark.parametrize(("harm", "code"), [(Path.unlink, "UNREADABLE"), (cut, "TRUNCATED")])
def test_a_file_harmed_between_discovery_and_reading_is_refused(tmp_path, write_series, harm, code):
    write_series(tmp_path, STACK)
    (case,) = find_cases(tmp_path)
    harm(case.files[1])
    assert refusal(lambda: read_case(case)) == code


def test_slices_that_changed_places_after_discovery_are_read_where_they_are_now(tmp_path, write_series):
    write_series(tmp_path, STACK)
    (case,) = find_cases(tmp_path)
    write_series(tmp_path, STACK[::-1], positions=[(-10, 20, 9 - 2 * k) for k in range(3)])
    assert np.array_equal(read_case(case).array, STACK.T)


def other(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0\0")


@pytest.mark.parametrize("harm", [Path.unlink, cut, other])
def test_a_file_harmed_between_its_header_and_its_pixels_is_refused(tmp_path, write_series, monkeypatch, harm):
    files = write_series(tmp_path, STACK)
    check = dicom_series.slice_grid

    def grid(*args, **kwargs):
        harm(files[1])
        return check(*args, **kwargs)

    monkeypatch.setattr(dicom_series, "slice_grid", grid)
    assert refusal(lambda: read_series(files)) == "UNREADABLE"
