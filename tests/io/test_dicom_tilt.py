"""A tilted gantry, accepted by choice: each voxel where its slice puts it, results on the very slices."""

from __future__ import annotations

from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pipeline.errors import CaseError
from pipeline.io.dicom_series import read_series
from pipeline.io.discover import find_cases, read_case
from pipeline.io.orientation import canonical
from pipeline.io.write import read_back, write_labels

STEP = np.array([0.0, 0.7, 2.4])  # mm from slice to slice: 16 degrees
CORNER = np.array([-12.5, 30.0, 7.0])


@pytest.fixture
def tilted(tmp_path, write_series):
    """A series of 5 slices of 4 rows and 6 columns, labels 0 to 2 as its pixels, not in the order of the files."""
    stack = np.random.default_rng(0).integers(0, 3, (5, 4, 6)).astype(np.int16)
    order = [3, 0, 4, 1, 2]
    write_series(tmp_path / "series", stack[order], positions=[CORNER + k * STEP for k in order],
        StudyInstanceUID="1.2.3.4", FrameOfReferenceUID="1.2.3.5", StudyDate="20220102", StudyTime="030405",
    )  # fmt: skip
    (case,) = find_cases(tmp_path / "series", allow_tilt=True)
    return case, stack


def test_it_is_refused_unless_it_is_asked_for_and_the_message_says_how(tilted):
    case, _ = tilted
    with pytest.raises(CaseError, match=r"tilted by 16\.3 degrees: .* --allow-tilt") as refusal:
        read_case(replace(case, tilt_allowed=False))
    assert refusal.value.code == "GANTRY_TILT"


def test_every_voxel_lies_where_its_slice_puts_it(tilted):
    case, stack = tilted
    volume = read_case(case)
    for k, row, column in [(0, 0, 0), (2, 1, 4), (4, 3, 5)]:
        x, y, z = CORNER + k * STEP + [column * 0.75, row * 0.5, 0]
        assert np.allclose(volume.affine @ [column, row, k, 1], [-x, -y, z, 1])
        assert volume.array[column, row, k] == stack[k, row, column]
    assert abs(np.linalg.det(volume.affine)) == pytest.approx(0.75 * 0.5 * 2.4)  # so volumes in ml are right


def test_a_gap_or_a_shift_on_the_tilted_line_is_refused_as_on_a_straight_one(tmp_path, write_series):
    for code, positions in {
        "SLICE_GAP": [k * STEP for k in (0, 1, 2, 4, 5)],
        "BAD_GEOMETRY": [k * STEP + [0.3 * (k == 2), 0, 0] for k in range(5)],
        "DUPLICATE_SLICES": [k * STEP for k in (0, 1, 2, 2, 3)],
    }.items():
        files = write_series(tmp_path / code, np.zeros((5, 4, 6), np.int16), positions=positions)
        with pytest.raises(CaseError) as refusal:
            read_series(files, allow_tilt=True)
        assert refusal.value.code == code


def test_a_straight_series_has_the_same_affine_either_way(tmp_path, write_series):
    files = write_series(tmp_path, np.zeros((5, 4, 6), np.int16), positions=[(0, 0.01 * k, 2 * k) for k in range(5)])
    assert np.array_equal(read_series(files).affine, read_series(files, allow_tilt=True).affine)


def test_a_segmentation_holds_the_labels_of_each_slice_and_reads_back_for_a_resume(tilted, by, tmp_path):
    case, stack = tilted
    write_labels(tmp_path / "a.seg.dcm", canonical(read_case(case)), source=case, by=by)
    read_back(tmp_path / "a.seg.dcm")
    slices = sorted(map(pydicom.dcmread, case.files), key=lambda each: each.ImagePositionPatient[2])
    found = hd.seg.segread(tmp_path / "a.seg.dcm")
    by_source = found.get_pixels_by_source_instance([each.SOPInstanceUID for each in slices], combine_segments=True)
    assert np.array_equal(by_source, stack)
    assert found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == pytest.approx(2.4)
    places = {tuple(g.PlanePositionSequence[0].ImagePositionPatient) for g in found.PerFrameFunctionalGroupsSequence}
    assert np.allclose(sorted(places, key=lambda place: place[2]), [CORNER + k * STEP for k in range(5)])
    whole = (tmp_path / "a.seg.dcm").read_bytes()
    (tmp_path / "a.seg.dcm").write_bytes(whole[:-20])
    with pytest.raises(CaseError):
        read_back(tmp_path / "a.seg.dcm")


def test_the_contours_of_a_structure_set_lie_on_the_tilted_slices(tilted, by, tmp_path):
    case, _ = tilted
    write_labels(tmp_path / "a.rtstruct.dcm", read_case(case), source=case, by=by)
    read_back(tmp_path / "a.rtstruct.dcm")
    slices = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, case.files)}
    for contour in pydicom.dcmread(tmp_path / "a.rtstruct.dcm").ROIContourSequence[0].ContourSequence:
        corner = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID].ImagePositionPatient
        points = np.array(contour.ContourData, float).reshape(-1, 3) - np.array(corner, float)
        assert np.abs(points[:, 2]).max() < 1e-3
        rows = points[:, 1] / 0.5  # edges of pixels: half-way between whole numbers
        assert np.allclose(rows % 1, 0.5, atol=1e-3) and rows.min() > -0.6 and rows.max() < 3.6


def test_nifti_keeps_the_shear_in_its_sform_alone(tilted, tmp_path):
    nib = pytest.importorskip("nibabel")
    volume = read_case(tilted[0])
    write_labels(tmp_path / "a.nii.gz", volume)
    read_back(tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    assert np.allclose(image.affine, volume.affine) and image.get_qform(coded=True)[1] == 0
    (case,) = find_cases(tmp_path / "a.nii.gz", allow_tilt=True)
    assert np.array_equal(read_case(case).array, volume.array)
    write_labels(tmp_path / "b.nii.gz", read_case(case), source=case)
    with pytest.raises(CaseError) as refusal:
        read_case(replace(case, tilt_allowed=False))
    assert refusal.value.code == "SHEARED"


def test_formats_without_a_shear_are_refused(tilted, tmp_path):
    for name in ("a.mha", "a.nrrd"):
        with pytest.raises(CaseError, match=r"write \.nii\.gz") as refusal:
            write_labels(tmp_path / name, read_case(tilted[0]))
        assert refusal.value.code == "SHEARED" and not (tmp_path / name).exists()


def test_the_real_tilted_scan_is_read_on_its_own_grid(shared_data):
    (case,) = find_cases(shared_data / "dicom/dicom2nifti/failing/gantrytilting/001", allow_tilt=True)
    volume = read_case(case)
    corners = sorted((pydicom.dcmread(file).ImagePositionPatient for file in case.files), key=lambda place: place[2])
    for k, (x, y, z) in enumerate(corners):
        at = k if volume.affine[2, 2] > 0 else len(corners) - 1 - k
        assert np.allclose((volume.affine @ [0, 0, at, 1])[:3], [-x, -y, z], atol=0.1)
