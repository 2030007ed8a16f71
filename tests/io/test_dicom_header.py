"""The quick walk over a header says what pydicom says, and leaves to pydicom whatever is not plain."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.io.dicom_header import PlainHeader, read_header
from pipeline.io.refusals import decode_errors

STACK = np.arange(24, dtype=np.int16).reshape(1, 4, 6)
FACTS = {"AcquisitionNumber": 3, "EchoTime": "4.60", "DiffusionBValue": 800.5, "AcquisitionTime": "101500.25",
    "RescaleSlope": "", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}  # fmt: skip
KEYWORDS = ("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept",
    "PhotometricInterpretation", "BitsStored", "PixelRepresentation", *FACTS)  # fmt: skip


def header_of(path: Path):
    with path.open("rb") as file:
        return read_header(file)


def pydicoms(path: Path) -> Dataset:
    return pydicom.dcmread(path, force=True, stop_before_pixels=True)


def words(header, keyword: str) -> list[float | str] | None:
    """A value as numbers where it is, else as texts; None for a damaged one."""
    try:
        value = header.get(keyword)
    except decode_errors():
        return None
    several = [] if value is None or value == "" else [value] if isinstance(value, str | float | int) else list(value)
    return [number(each) for each in several]


def number(value) -> float | str:
    try:
        return float(value)
    except ValueError:
        return str(value)


def assert_same(found, expected: Dataset) -> None:
    for keyword in KEYWORDS:
        assert words(found, keyword) == words(expected, keyword), keyword
        assert (keyword in found) == (keyword in expected), keyword


@pytest.fixture
def write(tmp_path, write_series):
    """A writer of one slice in a transfer syntax; `change` is done to the dataset before."""

    def slice_(syntax=ExplicitVRLittleEndian, change=lambda dataset: None) -> Path:
        (path,) = write_series(tmp_path, STACK, **FACTS)
        dataset = pydicom.dcmread(path)
        change(dataset)
        if syntax == RLELossless:
            dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset["PixelData"].VR = "OW"
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
        return path

    return slice_


def nested(dataset: Dataset) -> None:
    """Sequences within sequences, items and sequences with and without a length, an empty one, and private tags."""
    inner, empty, item = Dataset(), Dataset(), Dataset()
    inner.ReferencedSOPInstanceUID, inner.Modality, inner.Rows = "1.2.3", "MR", 7  # of another image
    inner.is_undefined_length_sequence_item = True
    item.ReferencedImageSequence = [inner, empty]
    item["ReferencedImageSequence"].is_undefined_length = True
    dataset.SourceImageSequence = [item, inner]
    dataset["SourceImageSequence"].is_undefined_length = True
    dataset.ReferencedStudySequence = [item]
    dataset.ReferencedPatientSequence = []
    block = dataset.private_block(0x0029, "somebody", create=True)
    block.add_new(1, "OB", b"\xfe\xff\xdd\xe0" * 5000)  # looks like the end of a sequence
    block.add_new(2, "SQ", [inner])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("change", [lambda dataset: None, nested], ids=["flat", "nested"])
def test_the_walk_says_what_pydicom_says(write, syntax, change):
    path = write(syntax, change)
    found = header_of(path)
    assert isinstance(found, PlainHeader) and found.syntax == syntax
    assert_same(found, pydicoms(path))
    if syntax != RLELossless:
        offset, length = found.pixels
        assert path.read_bytes()[offset : offset + length] == STACK.tobytes()


def test_texts_stay_as_they_are_written_and_empty_ones_are_none(write):
    found = header_of(write())
    assert found.get("EchoTime") == "4.60" and "RescaleSlope" in found and found.get("RescaleSlope") is None


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(write, syntax):
    path = write(syntax)
    found = header_of(path)
    assert isinstance(found, Dataset)
    assert_same(found, pydicoms(path))


def swapped(data: bytes) -> bytes:
    """Rows (0028,0010) behind Columns (0028,0011)."""
    at = data.index(b"\x28\x00\x10\x00US")
    return data[:at] + data[at + 10 : at + 20] + data[at : at + 10] + data[at + 20 :]


@pytest.mark.parametrize(
    "damage",
    [
        swapped,
        lambda data: data[132:],  # no preamble
        lambda data: data.replace(b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x10\x00SS\x02\x00"),
        lambda data: data.replace(b"IS\x02\x003 ", b"IS\x02\x00x "),
        lambda data: data.replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00??"),
        lambda data: data.replace(b"\x02\x00\x13\x00SH", b"\x02\x01\x13\x00SH"),  # another group among the first
        lambda data: data.replace(
            b"\x02\x00\x12\x00UI\x1c\x00", b"\x02\x00\x12\x00UI\x1c\x5c"
        ),  # a length in the first group
        lambda data: data[:140] + struct.pack("<L", 10) + data[144:],  # the length of the first group
    ],
)
def test_what_is_not_plain_is_left_to_pydicom(write, damage):
    path = write()
    changed = damage(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    try:
        pydicom.dcmread(path, force=True, stop_before_pixels=True)
    except decode_errors() as error:
        with pytest.raises(type(error)):
            header_of(path)
    else:
        assert isinstance(header_of(path), Dataset)


def test_a_value_longer_than_any_that_is_meant_is_left_to_pydicom(write):
    path = write(change=lambda dataset: setattr(dataset, "ImageType", ["ORIGINAL"] * 100))
    assert isinstance(header_of(path), Dataset)


def test_a_value_that_ends_with_the_file_is_left_to_pydicom(write):
    path = write()
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"MONOCHROME2") + 5])
    assert isinstance(header_of(path), Dataset)


def test_a_sequence_that_holds_something_else_than_items_is_left_to_pydicom(write):
    path = write(ImplicitVRLittleEndian, nested)
    data = path.read_bytes()
    at = data.index(b"\xfe\xff\x00\xe0", data.index(b"\x08\x00\x12\x21"))
    path.write_bytes(data[:at] + b"\x08\x00" + data[at + 2 :])
    assert isinstance(header_of(path), Dataset)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_cut_anywhere_gives_the_header_that_pydicom_gives(write):
    path = write(change=nested)
    whole = path.read_bytes()
    assert len(whole) > 20_000  # a private value
    for length in [*range(132, 1200, 11), *range(1200, len(whole), 1999)]:
        path.write_bytes(whole[:length])
        try:
            expected = pydicoms(path)
        except decode_errors():
            with pytest.raises(decode_errors()):
                header_of(path)
        else:
            assert_same(header_of(path), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_real_files_have_the_header_that_pydicom_finds(shared_data):
    walked = 0
    for path in sorted((shared_data / "dicom").rglob("*")):
        if path.is_file() and path.stat().st_size > 132 and path.read_bytes()[128:132] == b"DICM":
            found = header_of(path)
            walked += isinstance(found, PlainHeader)
            if isinstance(found, PlainHeader):
                assert_same(found, pydicoms(path))
    assert walked > 150
