"""A Segmentation holds each slice's labels in a frame that lies on that slice and refers to it."""

from __future__ import annotations

import traceback
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pipeline.errors import CaseError
from pipeline.io.dicom_seg import read_segmentation
from pipeline.io.dicom_seg_write import write_segmentation
from pipeline.io.discover import Case, read_case
from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume
from tests.io.dicom_results import every_orientation, sources


def refusal(path, labels, source, by) -> str:
    with pytest.raises(CaseError) as error:
        write_segmentation(path, labels, source=source, by=by)
    return error.value.code


@every_orientation
def test_every_frame_is_the_labels_of_the_slice_that_it_refers_to(tmp_path, labelled_series, by, axes):
    case = labelled_series(axes)
    write_segmentation(tmp_path / "a.seg.dcm", canonical(read_case(case)), source=case, by=by)
    found, slices = pydicom.dcmread(tmp_path / "a.seg.dcm"), sources(case)
    frames = zip(found.PerFrameFunctionalGroupsSequence, found.pixel_array, strict=True)
    assert int(found.NumberOfFrames) == 2 * len(slices)
    for groups, frame in frames:
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        reference = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        source = slices.pop(reference) if number == 2 else slices[reference]
        assert np.allclose(groups.PlanePositionSequence[0].ImagePositionPatient, source.ImagePositionPatient)
        assert np.array_equal(frame, source.pixel_array == number)
    assert not slices
    shared = found.SharedFunctionalGroupsSequence[0]
    orientation = [*axes[:, 0], *axes[:, 1]]
    assert np.allclose(shared.PlaneOrientationSequence[0].ImageOrientationPatient, orientation)
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.5, 0.75]
    back, there = canonical(read_segmentation(tmp_path / "a.seg.dcm")), canonical(read_case(case))
    assert np.array_equal(back.array, there.array) and np.allclose(back.affine, there.affine)


def test_highdicom_finds_the_labels_of_each_source_instance(tmp_path, labelled_series, by):
    case = labelled_series()
    write_segmentation(tmp_path / "a.seg.dcm", read_case(case), source=case, by=by)
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in case.files]
    by_source = hd.seg.segread(tmp_path / "a.seg.dcm").get_pixels_by_source_instance(uids, combine_segments=True)
    assert np.array_equal(by_source, [pydicom.dcmread(file).pixel_array for file in case.files])


def test_the_same_labels_of_the_same_source_are_the_same_bytes_and_others_another_object(tmp_path, labelled_series, by):
    case = labelled_series()
    labels = read_case(case)
    other = Volume(np.where(labels.array == 2, 0, labels.array), labels.affine)
    given = {"a": (labels, by), "b": (labels, by), "c": (other, by), "d": (labels, replace(by, weights_sha256="c"))}
    for name, (volume, author) in given.items():
        write_segmentation(tmp_path / name, volume, source=case, by=author)
    a, _, c, d = (pydicom.dcmread(tmp_path / name) for name in given)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    uids = [each[key].value for each in (a, c, d) for key in ("SOPInstanceUID", "SeriesInstanceUID")]
    assert len(set(uids)) == 6 and all(uid.startswith("2.25.") and uid.is_valid for uid in uids)
    assert (a.ContentDate, a.ContentTime, a.InstanceCreationDate) == ("20220102", "030405", "20220102")


def test_it_says_what_the_labels_are_and_what_drew_them(tmp_path, labelled_series, by):
    case = labelled_series(PatientName="Doe^Jane", PatientID="7")
    for name, automatic in (("a", True), ("b", False)):
        author = replace(by, automatic=automatic)
        write_segmentation(tmp_path / name, read_case(case), source=case, by=author)
    found = pydicom.dcmread(tmp_path / "a")
    assert (found.PatientName, found.PatientID, found.StudyInstanceUID) == ("Doe^Jane", "7", "1.2.3.4")
    assert (found.FrameOfReferenceUID, found.SegmentationType) == ("1.2.3.5", "BINARY")
    kidney, unnamed = found.SegmentSequence
    assert (kidney.SegmentLabel, unnamed.SegmentLabel) == ("kidney", "label 2")
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    assert kidney.SegmentAlgorithmType == "AUTOMATIC"
    assert pydicom.dcmread(tmp_path / "b").SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    algorithm = kidney.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("a_bundle", "0.1.0")
    assert by.weights_sha256 in algorithm.AlgorithmParameters
    assert hd.color.CIELabColor.from_dicom_value(kidney.RecommendedDisplayCIELabValue).to_rgb() == (185, 102, 83)


def test_slices_without_labels_are_left_out_but_not_all_of_them(tmp_path, labelled_series, by):
    stack = np.zeros((5, 4, 6), int)
    stack[3, 1, 2] = 1
    case = labelled_series(stack=stack)
    labels = read_case(case)
    write_segmentation(tmp_path / "one", labels, source=case, by=by)
    write_segmentation(tmp_path / "none", Volume(np.zeros_like(labels.array), labels.affine), source=case, by=by)
    assert read_segmentation(tmp_path / "one").array.shape[0] == 1
    assert not read_segmentation(tmp_path / "none").array.any()


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_source_without_the_identity_to_refer_to_is_refused_by_its_code(tmp_path, labelled_series, by, missing):
    case = labelled_series(**{missing: ""})
    assert refusal(tmp_path / "a.seg.dcm", read_case(case), case, by) == "NO_REFERENCE"
    assert not (tmp_path / "a.seg.dcm").exists()


def test_a_source_that_is_no_dicom_is_refused_by_its_code(tmp_path, by):
    labels = Volume(np.zeros((3, 4, 5), np.uint8), np.eye(4))
    for source in (Case("a", "nifti", (tmp_path / "a.nii.gz",)), None):
        assert refusal(tmp_path / "a.seg.dcm", labels, source, by) == "NO_REFERENCE"


def test_labels_of_another_grid_are_refused_by_their_code(tmp_path, labelled_series, by):
    case = labelled_series()
    labels = read_case(case)
    shifted = labels.affine.copy()
    shifted[:3, 3] += labels.affine[:3, 2] / 2
    turned = labels.affine @ np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    others = [Volume(labels.array, shifted), Volume(labels.array[..., 1:], labels.affine), Volume(labels.array, turned)]
    assert [refusal(tmp_path / "a", each, case, by) for each in others] == ["GRID_MISMATCH"] * 3


def test_an_anonymised_source_without_dates_and_with_odd_values_is_taken(tmp_path, labelled_series, by):
    case = labelled_series(StudyDate="", StudyTime="", PatientSex="X", SeriesNumber=None)
    write_segmentation(tmp_path / "a", read_case(case), source=case, by=by)
    found = pydicom.dcmread(tmp_path / "a")
    assert (found.ContentDate, found.PatientSex) == ("19000101", "")


def test_nothing_of_the_patient_is_told_to_anybody(tmp_path, labelled_series, by, recwarn, caplog):
    case = labelled_series(PatientName="Doe", PatientID="7")  # highdicom warns of a name of one word, and quotes it
    write_segmentation(tmp_path / "a", read_case(case), source=case, by=by)
    told = " ".join([*(str(warning.message) for warning in recwarn), *caplog.messages])
    assert "Doe" not in told


def test_a_birthday_that_is_no_date_is_refused_and_told_to_nobody(tmp_path, labelled_series, by):
    case = labelled_series(PatientBirthDate="31.12.1950")
    with pytest.raises(CaseError) as refused:
        write_segmentation(tmp_path / "a", read_case(case), source=case, by=by)
    assert refused.value.code == "NO_REFERENCE"
    assert "1950" not in "".join(traceback.format_exception(refused.value))
