"""One file with many frames is the volume that its slices would be, and results refer to its frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pipeline.errors import CaseError
from pipeline.io.dicom_seg import read_segmentation
from pipeline.io.dicom_source import read_source
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.orientation import canonical
from pipeline.io.write import write_labels
from tests.io.dicom_results import axes_48, sources

OBLIQUE = axes_48()[-1]


@pytest.fixture
def enhanced(labelled_series: Callable[..., Case], tmp_path: Path) -> tuple[Case, Case]:
    """A series of single slices, and the same as one enhanced file, its frames in the order of the files."""
    single = labelled_series(OBLIQUE, PatientName="", PatientID="", PatientBirthDate="", PatientSex="", StudyID="",
        AccessionNumber="", ReferringPhysicianName="", Manufacturer="", SliceThickness=2, AcquisitionNumber=1,
    )  # fmt: skip
    slices = list(sources(single).values())
    many = hd.legacy.LegacyConvertedEnhancedCTImage(slices, "1.2.3.6", 4, "1.2.3.7", 1)
    (tmp_path / "one").mkdir()
    many.save_as(tmp_path / "one" / "many.dcm")
    (case,) = find_cases(tmp_path / "one")
    return single, case


def changed(case: Case, change: Callable[[pydicom.Dataset], None]) -> Case:
    dataset = pydicom.dcmread(case.files[0])
    change(dataset)
    dataset.save_as(case.files[0])
    return case


def test_it_is_read_as_the_series_of_its_slices_is(enhanced):
    single, many = (read_case(case) for case in enhanced)
    assert np.array_equal(many.array, single.array) and many.array.dtype == np.int16
    assert np.allclose(many.affine, single.affine)


def test_each_frame_is_rescaled_by_its_own_numbers(enhanced):
    def steeper(dataset: pydicom.Dataset) -> None:
        for k, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            item = pydicom.Dataset()
            item.RescaleSlope, item.RescaleIntercept, item.RescaleType = k + 1, -k, "HU"
            groups.PixelValueTransformationSequence = [item]
        shared = dataset.SharedFunctionalGroupsSequence[0]
        shared.pop("PixelValueTransformationSequence", None)

    stored = pydicom.dcmread(enhanced[1].files[0]).pixel_array
    frames = read_source(enhanced[1], Path("a")).planes
    order = np.argsort([plane.affine[:3, 2] @ OBLIQUE[:, 2] for plane in frames])
    expected = [stored[k] * (k + 1) - k for k in order]
    assert np.array_equal(read_case(changed(enhanced[1], steeper)).array.T, expected)


def test_several_frames_at_one_place_are_refused_as_several_slices_are(enhanced):
    def twice(dataset: pydicom.Dataset) -> None:
        first, second = dataset.PerFrameFunctionalGroupsSequence[:2]
        second.PlanePositionSequence = first.PlanePositionSequence

    with pytest.raises(CaseError) as refusal:
        read_case(changed(enhanced[1], twice))
    assert refusal.value.code == "DUPLICATE_SLICES"


@pytest.mark.parametrize(
    ("lost", "code"),
    [
        ("SharedFunctionalGroupsSequence", "NO_GEOMETRY"),
        ("PerFrameFunctionalGroupsSequence", "NO_GEOMETRY"),
        ("PixelData", "TRUNCATED"),
    ],
)
def test_a_file_without_places_or_pixels_is_refused(enhanced, lost, code):
    with pytest.raises(CaseError, match=r"many\.dcm") as refusal:
        read_case(changed(enhanced[1], lambda dataset: delattr(dataset, lost)))
    assert refusal.value.code == code


def test_two_such_files_in_one_series_are_refused(enhanced, tmp_path):
    again = pydicom.dcmread(enhanced[1].files[0])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "1.2.3.8"
    again.save_as(tmp_path / "one" / "again.dcm")
    (case,) = find_cases(tmp_path / "one")
    with pytest.raises(CaseError) as refusal:
        read_case(case)
    assert refusal.value.code == "MULTI_FRAME"


def test_results_refer_to_its_frames(enhanced, by, tmp_path):
    _, case = enhanced
    for suffix in (".seg.dcm", ".rtstruct.dcm"):
        write_labels(tmp_path / f"a{suffix}", read_case(case), source=case, by=by)
    source, found = pydicom.dcmread(case.files[0]), pydicom.dcmread(tmp_path / "a.seg.dcm")
    assert len(found.PerFrameFunctionalGroupsSequence) == 10
    for groups, frame in zip(found.PerFrameFunctionalGroupsSequence, found.pixel_array, strict=True):
        reference = groups.DerivationImageSequence[0].SourceImageSequence[0]
        k, number = reference.ReferencedFrameNumber - 1, groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        there = source.PerFrameFunctionalGroupsSequence[k].PlanePositionSequence[0].ImagePositionPatient
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert np.allclose(groups.PlanePositionSequence[0].ImagePositionPatient, there)
        assert np.array_equal(frame, source.pixel_array[k] == number)
    assert np.array_equal(canonical(read_segmentation(tmp_path / "a.seg.dcm")).array, canonical(read_case(case)).array)
    for contour in pydicom.dcmread(tmp_path / "a.rtstruct.dcm").ROIContourSequence[0].ContourSequence:
        k = contour.ContourImageSequence[0].ReferencedFrameNumber - 1
        there = source.PerFrameFunctionalGroupsSequence[k].PlanePositionSequence[0].ImagePositionPatient
        away = np.array(contour.ContourData[:3], float) - np.array(there, float)
        assert abs(away @ OBLIQUE[:, 2]) < 1e-3
