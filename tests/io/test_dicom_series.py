"""A series becomes a volume only where its slices make one; each voxel lies where DICOM (C.7.6.2) puts it."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pydicom
import pydicom.pixels
import pytest

from pipeline.errors import CaseError
from pipeline.io.dicom_series import read_series

N = 5
STACK = np.random.default_rng(0).integers(-1024, 3000, (N, 4, 6)).astype(np.int16)


def along_z(heights):
    return [(0.0, 0.0, z) for z in heights]


def refusal(files) -> str:
    with pytest.raises(CaseError) as error:
        read_series(files)
    return error.value.code


def orientations():
    """The 24 right-handed and 24 left-handed ways to lay rows, columns and the stack along the patient's axes."""
    laid = product(permutations(range(3)), product((1, -1), repeat=3))
    return [np.diag(signs)[:, axes].astype(float) for axes, signs in laid]


@pytest.mark.parametrize("axes", orientations())
def test_every_voxel_lies_where_its_slice_says_in_all_48_orientations(tmp_path, write_series, axes):
    row, column, stacking = axes.T
    positions = [np.array([-12.5, 30.0, 7.0]) + 2.5 * k * stacking for k in range(N)]
    files = write_series(tmp_path, STACK, positions=positions, orientation=[*row, *column], PixelSpacing=[0.5, 0.75])
    volume = read_series(files[::-1])
    assert volume.array.shape == (6, 4, N) and volume.array.dtype == np.int16
    for k, r, c in [(0, 0, 0), (3, 1, 4), (N - 1, 3, 5)]:
        # PixelSpacing is (between rows, between columns): one column further is 0.75 mm along the row.
        lps = positions[k] + c * 0.75 * row + r * 0.5 * column
        index = np.linalg.solve(volume.affine, [-lps[0], -lps[1], lps[2], 1])
        assert np.allclose(index, index.round(), atol=1e-9)
        i, j, s = index[:3].round().astype(int)
        assert volume.array[i, j, s] == STACK[k, r, c]


def test_an_oblique_series_agrees_with_simpleitk(tmp_path, write_series):
    sitk = pytest.importorskip("SimpleITK")
    row, column = np.array([0.8, 0.6, 0.0]), np.array([-0.36, 0.48, 0.8])
    positions = [k * 2.5 * np.cross(row, column) for k in range(N)]
    files = write_series(tmp_path, STACK, positions=positions, orientation=[*row, *column])
    image = sitk.ReadImage([str(f) for f in files])
    volume = read_series(files)
    assert np.array_equal(sitk.GetArrayFromImage(image).T, volume.array)
    corner = np.diag([-1, -1, 1, 1]) @ volume.affine @ [5, 3, 4, 1]
    assert np.allclose(image.TransformIndexToPhysicalPoint((5, 3, 4)), corner[:3], atol=1e-6)


def test_slices_are_sorted_by_position_not_by_name_or_number(tmp_path, write_series):
    order = [3, 0, 4, 1, 2]
    files = write_series(tmp_path, STACK[order], positions=along_z([2.0 * k for k in order]))
    assert np.array_equal(read_series(files).array, STACK.T)


@pytest.mark.parametrize(
    ("code", "positions"),
    [
        ("SLICE_GAP", along_z([0, 2, 4, 8, 10])),
        ("SLICE_GAP", along_z([0, 2, 4, 6, 10])),
        ("SLICE_GAP", along_z([0, 2, 4, 6, 8.5])),
        ("DUPLICATE_SLICES", along_z([0, 2, 4, 4, 6])),
        ("DUPLICATE_SLICES", along_z([0, 0, 0, 0, 0])),
        ("GANTRY_TILT", [(0, 0.3 * k, 2 * k) for k in range(N)]),
        ("BAD_GEOMETRY", [(0, 0.3 * (k == 2), 2 * k) for k in range(N)]),
        ("BAD_GEOMETRY", along_z([0, 2, float("nan"), 6, 8])),
    ],
)
def test_positions_that_make_no_grid_are_refused_by_code(tmp_path, write_series, code, positions):
    if np.isnan(positions).any():
        files = write_series(tmp_path, STACK)
        dataset = pydicom.dcmread(files[2])
        dataset["ImagePositionPatient"]._value = [0.0, 0.0, float("inf")]
        dataset.save_as(files[2])
    else:
        files = write_series(tmp_path, STACK, positions=positions)
    assert refusal(files) == code


def test_the_message_names_the_gap(tmp_path, write_series):
    files = write_series(tmp_path, STACK, positions=along_z([0, 2, 4, 8, 10]))
    with pytest.raises(
        CaseError, match=r"4\.00 mm apart \(slices 3 and 4 of 5, at 4\.00 and 8\.00 mm\) where 2\.00 mm"
    ):
        read_series(files)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_regular(tmp_path, write_series):
    heights = [round(0.625 * k, 1) for k in range(N)]  # 0, 0.6, 1.2, 1.9, 2.5
    volume = read_series(write_series(tmp_path, STACK, positions=along_z(heights)))
    assert volume.spacing_mm[2] == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("code", "tags"),
    [
        ("MIXED_GEOMETRY", {"PixelSpacing": [0.6, 0.75]}),
        ("MIXED_ORIENTATIONS", {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}),
        ("NO_GEOMETRY", {"ImagePositionPatient": None}),
        ("NO_GEOMETRY", {"PixelSpacing": None}),
        ("MULTI_FRAME", {"NumberOfFrames": 2}),
        ("COLOUR", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}),
        ("TRUNCATED", {"PixelData": b"\0\0"}),
        ("TRUNCATED", {"PixelData": None}),
        ("UNSUPPORTED_PIXELS", {"BitsAllocated": 1}),
        ("NOT_AN_IMAGE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"}),
    ],
)
def test_one_odd_slice_refuses_the_series_by_code(tmp_path, write_series, code, tags):
    files = write_series(tmp_path / "a", STACK)
    odd = write_series(tmp_path / "b", STACK, **tags)
    assert refusal([*files[:2], odd[2], *files[3:]]) == code


def test_an_emptied_sop_class_is_looked_up_in_the_files_own_header(tmp_path, write_series):
    files = write_series(tmp_path, STACK, SOPClassUID="")
    assert read_series(files).array.shape == (6, 4, N)
    dataset = pydicom.dcmread(files[2])
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.SegmentationStorage
    dataset.save_as(files[2])
    assert refusal(files) == "NOT_AN_IMAGE"


def test_slices_of_another_size_are_mixed_geometry(tmp_path, write_series):
    files = write_series(tmp_path / "a", STACK)
    odd = write_series(tmp_path / "b", STACK[:, :3])
    assert refusal([*files[:2], odd[2], *files[3:]]) == "MIXED_GEOMETRY"


def test_localizers_and_lone_slices_are_too_few(tmp_path, write_series):
    files = write_series(tmp_path / "a", STACK)
    assert refusal(files[:1]) == refusal(files[:2]) == "TOO_FEW_SLICES"
    scout = write_series(tmp_path / "b", STACK, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert refusal(scout) == "TOO_FEW_SLICES"


def test_a_file_cut_anywhere_is_refused(tmp_path, write_series):
    files = write_series(tmp_path, STACK)
    whole = files[2].read_bytes()
    for length in range(0, len(whole) - 1, 37):
        files[2].write_bytes(whole[:length])
        assert refusal(files) in {"TRUNCATED", "UNREADABLE", "NO_GEOMETRY", "UNSUPPORTED_PIXELS", "NOT_AN_IMAGE"}, (
            length
        )


def test_rescaling_is_per_slice_and_whole_numbers_stay_int16(tmp_path, write_series):
    stored = (STACK + 1024).astype(np.uint16)
    same = read_series(write_series(tmp_path / "a", stored, RescaleSlope=1, RescaleIntercept=-1024))
    assert same.array.dtype == np.int16 and np.array_equal(same.array, STACK.T)
    files = write_series(tmp_path / "b", stored, RescaleSlope=1, RescaleIntercept=-1024)
    halves = write_series(tmp_path / "c", stored, RescaleSlope=0.5, RescaleIntercept=0)
    mixed = read_series([*files[:4], halves[4]])
    assert mixed.array.dtype == np.float32
    assert np.array_equal(mixed.array[..., 4], stored[4].T / 2) and np.array_equal(mixed.array[..., 0], STACK[0].T)


def test_a_value_beyond_int16_in_one_slice_widens_the_volume(tmp_path, write_series):
    stored = np.abs(STACK).astype(np.uint16)
    stored[3, 0, 0] = 65000
    volume = read_series(write_series(tmp_path, stored))
    assert volume.array.dtype == np.int32 and np.array_equal(volume.array, stored.T)


def test_a_transfer_syntax_without_a_decoder_is_named(tmp_path, write_series):
    files = write_series(tmp_path, STACK)
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
        dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 10])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    assert refusal(files) == "UNSUPPORTED_SYNTAX"


def test_a_photograph_is_a_picture_in_rows_and_columns(tmp_path, write_series):
    pixels = np.random.default_rng(1).integers(0, 255, (1, 4, 6)).astype(np.uint8)
    files = write_series(tmp_path, pixels, Modality="US", ImagePositionPatient=None)
    picture = read_series(files)
    assert np.array_equal(picture.array, pixels[0]) and np.array_equal(picture.affine, np.diag([0.5, 0.75, 1]))


def test_monochrome1_is_turned_over_so_that_brighter_is_larger(tmp_path, write_series):
    pixels = np.array([[[0, 10], [20, 255]]], np.uint8)
    files = write_series(
        tmp_path, pixels, Modality="DX", ImagePositionPatient=None, PhotometricInterpretation="MONOCHROME1"
    )
    assert np.array_equal(read_series(files).array, 255 - pixels[0])


def test_another_decoder_that_is_installed_is_not_asked(tmp_path, write_series, monkeypatch):
    asked = []
    files = write_series(tmp_path, STACK)
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless)
        dataset.save_as(path)
    decoder = pydicom.pixels.get_decoder(pydicom.uid.RLELossless)
    others = dict.fromkeys(("other", "pylibjpeg"), lambda *given: asked.append(given))
    monkeypatch.setattr(decoder, "_available", others | decoder._available | others)
    assert np.array_equal(read_series(files).array, STACK.T) and not asked
