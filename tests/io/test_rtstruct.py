"""Contours in millimetres fill, slice by slice, the very pixels of the labels that they were drawn around."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Polygon

from pipeline.errors import CaseError
from pipeline.io.discover import Case, read_case
from pipeline.io.orientation import canonical
from pipeline.io.rtstruct import check_structure_set, write_structure_set
from pipeline.io.volume import Volume
from tests.io.dicom_results import every_orientation, sources


def rasterised(contours, source: pydicom.Dataset) -> np.ndarray:
    """How many contours hold each pixel's centre of the slice `source`, by matplotlib."""
    along_row, along_column = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
    rows, columns = np.indices((source.Rows, source.Columns))
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    inside = np.zeros(len(centres), int)
    for contour in contours:
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert len(contour.ContourData) == 3 * contour.NumberOfContourPoints
        points = np.array(contour.ContourData, float).reshape(-1, 3) - np.array(source.ImagePositionPatient, float)
        assert np.abs(points @ np.cross(along_row, along_column)).max() < 1e-3  # in the plane
        between_rows, between_columns = source.PixelSpacing
        polygon = np.stack([points @ along_row / between_columns, points @ along_column / between_rows], axis=1)
        assert np.allclose((polygon + 0.5) % 1, np.rint((polygon + 0.5) % 1), atol=1e-3)  # on the edges of pixels
        inside += Polygon(np.vstack([polygon, polygon[:1]])).contains_points(centres)
    return inside.reshape(rows.shape)


@every_orientation
def test_every_contour_fills_the_labels_of_the_slice_that_it_refers_to(tmp_path, labelled_series, by, axes):
    case = labelled_series(axes)
    write_structure_set(tmp_path / "a.rtstruct.dcm", canonical(read_case(case)), source=case, by=by)
    found, slices = pydicom.dcmread(tmp_path / "a.rtstruct.dcm"), sources(case)
    for roi in found.ROIContourSequence:
        contours = defaultdict(list)
        for contour in roi.ContourSequence:
            contours[contour.ContourImageSequence[0].ReferencedSOPInstanceUID].append(contour)
        assert contours.keys() <= slices.keys()
        for uid, source in slices.items():
            expected = source.pixel_array == roi.ReferencedROINumber
            assert np.array_equal(rasterised(contours[uid], source), expected)


def test_it_refers_to_every_slice_of_the_series_and_to_its_frame_of_reference(tmp_path, labelled_series, by):
    case = labelled_series(PatientID="7")
    write_structure_set(tmp_path / "a", read_case(case), source=case, by=by)
    found = pydicom.dcmread(tmp_path / "a")
    (frame_of_reference,) = found.ReferencedFrameOfReferenceSequence
    (study,) = frame_of_reference.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame_of_reference.FrameOfReferenceUID == "1.2.3.5"
    assert study.ReferencedSOPInstanceUID == found.StudyInstanceUID == "1.2.3.4"
    assert series.SeriesInstanceUID == pydicom.dcmread(case.files[0]).SeriesInstanceUID
    assert {each.ReferencedSOPInstanceUID for each in series.ContourImageSequence} == sources(case).keys()
    assert found.PatientID == "7"
    kidney = found.StructureSetROISequence[0]
    assert (kidney.ROIName, kidney.ROIGenerationAlgorithm) == ("kidney", "AUTOMATIC")
    assert list(found.ROIContourSequence[0].ROIDisplayColor) == [185, 102, 83]
    assert found.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0].CodeValue == "64033007"


def test_a_label_without_voxels_is_a_roi_without_contours(tmp_path, labelled_series, by):
    case = labelled_series(stack=np.zeros((5, 4, 6), int))
    write_structure_set(tmp_path / "a", read_case(case), source=case, by=by)
    (roi,) = pydicom.dcmread(tmp_path / "a").ROIContourSequence
    assert roi.ReferencedROINumber == 1 and "ContourSequence" not in roi


def test_a_contour_of_any_length_is_one_value(tmp_path, labelled_series, by):
    """64 KiB is what a value of explicit VR holds: 2,500 points or so."""
    stack = np.zeros((5, 50, 50), int)
    stack[2, ::2, :] = stack[2, :, 0] = 1
    stack[2, 1::2, 1::2] = 1
    case = labelled_series(stack=stack)
    write_structure_set(tmp_path / "a", read_case(case), source=case, by=by)
    (contour,) = pydicom.dcmread(tmp_path / "a").ROIContourSequence[0].ContourSequence
    assert contour.NumberOfContourPoints > 3000
    source = sources(case)[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
    assert np.array_equal(rasterised([contour], source), stack[2])


def test_the_same_labels_of_the_same_source_are_the_same_bytes_and_others_another_object(tmp_path, labelled_series, by):
    case = labelled_series()
    for name, author in (("a", by), ("b", by), ("c", replace(by, weights_sha256="c"))):
        write_structure_set(tmp_path / name, read_case(case), source=case, by=author)
    a, c = (pydicom.dcmread(tmp_path / name) for name in "ac")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert a.SOPInstanceUID != c.SOPInstanceUID and a.SOPInstanceUID.startswith("2.25.")
    assert (a.StructureSetDate, a.StructureSetTime) == ("20220102", "030405")


def test_a_source_that_is_no_dicom_is_refused_by_its_code(tmp_path, by):
    labels = Volume(np.zeros((3, 4, 5), np.uint8), np.eye(4))
    with pytest.raises(CaseError, match="--format nifti") as error:
        write_structure_set(tmp_path / "a", labels, source=Case("a", "nifti", (tmp_path / "a.nii",)), by=by)
    assert error.value.code == "NO_REFERENCE"


def test_a_file_cut_anywhere_is_not_taken_for_a_whole_one(tmp_path, labelled_series, by):
    case = labelled_series()
    path = tmp_path / "a.rtstruct.dcm"
    write_structure_set(path, read_case(case), source=case, by=by)
    check_structure_set(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(CaseError) as error:
            check_structure_set(path)
        assert error.value.code in ("TRUNCATED", "UNREADABLE")
