"""NIfTI: exact geometry both ways, and a code for each way in which a file can be wrong."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import CaseError
from pipeline.io.nifti import read_nifti, write_nifti
from pipeline.io.volume import Volume

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.3, 0.4) @ np.diag([0.7, 0.8, 3.0]), [-90.1, 12.3, 55.5]
)


def save(path: Path, array, *, affine=OBLIQUE, sform: int = 2, qform: int = 1, image=nib.Nifti1Image, **fields) -> Path:
    nifti = image(array, affine)
    nifti.set_sform(affine, sform)
    nifti.set_qform(affine, qform)
    nib.save(nifti, path)
    return edit(path, **fields) if fields else path


def edit(path: Path, **fields) -> Path:
    """Change header fields of the written file, which nibabel would put right while saving."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 3000, (6, 5, 4)).astype(np.int16)


def refusal(path: Path) -> str:
    with pytest.raises(CaseError) as error:
        read_nifti(path)
    return error.value.code


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_integers_keep_their_type_and_the_affine_is_nibabels(tmp_path, scan, name):
    path = save(tmp_path / name, scan)
    volume = read_nifti(path)
    assert volume.array.dtype == np.int16 and np.array_equal(volume.array, scan)
    assert volume.array.flags.f_contiguous
    assert np.array_equal(volume.affine, nib.load(path).affine)


@pytest.mark.parametrize("forms", [(2, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize("image", [nib.Nifti1Image, nib.Nifti2Image])
def test_labels_have_the_scans_affine_bit_for_bit(tmp_path, scan, forms, image):
    source = save(tmp_path / "ct.nii.gz", scan, sform=forms[0], qform=forms[1], image=image)
    volume = read_nifti(source)
    write_nifti(tmp_path / "out.nii.gz", Volume((volume.array > 0).astype(np.uint8), volume.affine), source=source)
    before, after = nib.load(source), nib.load(tmp_path / "out.nii.gz")
    assert np.array_equal(before.affine, after.affine)
    for field in ("sform_code", "qform_code", "pixdim", "srow_x", "quatern_b", "xyzt_units"):
        assert np.array_equal(before.header[field], after.header[field]), field
    assert np.array_equal(np.asarray(after.dataobj), scan > 0) and after.get_data_dtype() == np.uint8


def test_without_a_source_the_affine_is_kept_to_float32(tmp_path, scan):
    write_nifti(tmp_path / "out.nii.gz", Volume(scan, OBLIQUE))
    read = read_nifti(tmp_path / "out.nii.gz")
    assert np.array_equal(read.affine, OBLIQUE.astype(np.float32).astype(float)) and np.array_equal(read.array, scan)


def test_values_over_time_have_the_place_of_their_voxels_and_the_step_of_time(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 5, 4, 3)).astype(np.float32)
    path = tmp_path / "levels.nii.gz"
    write_nifti(path, Volume(values, OBLIQUE), time_step=0.5)
    nifti, itk = nib.load(path), sitk.ReadImage(str(path))
    assert np.array_equal(np.asarray(nifti.dataobj), values)
    assert np.array_equal(sitk.GetArrayFromImage(itk), values.transpose())
    np.testing.assert_allclose(nifti.affine, OBLIQUE, atol=1e-5)
    right_front_top = itk.TransformIndexToPhysicalPoint((5, 4, 3, 0))[:3] * np.array([-1, -1, 1])
    np.testing.assert_allclose(right_front_top, (OBLIQUE @ [5, 4, 3, 1])[:3], atol=1e-4)
    assert nifti.header.get_zooms()[3] == itk.GetSpacing()[3] == 0.5
    assert nifti.header.get_xyzt_units() == ("mm", "unknown")


def test_equal_volumes_give_equal_content_whatever_the_file_is_called(tmp_path, scan):
    for name in ("a.nii.gz", "another.nii.gz"):
        write_nifti(tmp_path / name, Volume(scan, OBLIQUE))
    a, another = ((tmp_path / name).read_bytes() for name in ("a.nii.gz", "another.nii.gz"))
    assert gzip.decompress(a) == gzip.decompress(another)
    for packed in (a, another):
        assert packed[3:8] == bytes(5)  # the gzip header's flags, which announce a name, and its time


def test_labels_for_another_grid_are_not_written(tmp_path, scan):
    source = save(tmp_path / "ct.nii.gz", scan)
    with pytest.raises(ValueError, match="do not lie on the grid"):
        write_nifti(tmp_path / "out.nii.gz", Volume(scan, np.eye(4)), source=source)
    assert not (tmp_path / "out.nii.gz").exists()


def test_whole_scaling_stays_whole_and_fractions_become_float32(tmp_path, scan):
    stored = np.abs(scan).astype(np.uint16)
    whole = read_nifti(save(tmp_path / "whole.nii", stored, scl_slope=2, scl_inter=-1024))
    assert whole.array.dtype == np.int16 and np.array_equal(whole.array, stored.astype(int) * 2 - 1024)
    fraction = read_nifti(save(tmp_path / "fraction.nii", stored, scl_slope=0.25, scl_inter=0))
    assert fraction.array.dtype == np.float32 and np.array_equal(fraction.array, stored / 4)


def test_big_endian_and_double_precision_are_made_plain(tmp_path, scan):
    big = read_nifti(save(tmp_path / "big.nii.gz", scan.astype(">i2"), image=_big_endian))
    assert big.array.dtype.isnative and np.array_equal(big.array, scan)
    double = read_nifti(save(tmp_path / "double.nii", scan.astype(np.float64)))
    assert double.array.dtype == np.float32 and np.array_equal(double.array, scan)


def _big_endian(array, affine):
    return nib.Nifti1Image(array, affine, header=nib.Nifti1Header(endianness=">"))


def test_trailing_axes_of_one_are_dropped_and_flat_files_get_a_third(tmp_path, scan):
    assert read_nifti(save(tmp_path / "a.nii", scan[..., None])).array.shape == (6, 5, 4)
    assert read_nifti(save(tmp_path / "b.nii", scan[..., 0])).array.shape == (6, 5, 1)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_header_with_a_long_extension_is_read_past_it(tmp_path, scan, name):
    """TotalSegmentator keeps the names of its labels there, as XML of some kilobytes."""
    image = nib.Nifti1Image(scan, OBLIQUE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"<label/>" * 5000))
    nib.save(image, tmp_path / name)
    np.testing.assert_array_equal(read_nifti(tmp_path / name).array, scan)


@pytest.mark.parametrize("kept", [0, 1, 300, 0.3, 0.9, -1, -5, -9])
def test_a_file_cut_short_is_refused(tmp_path, scan, kept):
    whole = save(tmp_path / "a.nii.gz", scan).read_bytes()
    length = int(kept * len(whole)) if isinstance(kept, float) else kept if kept >= 0 else len(whole) + kept
    (tmp_path / "a.nii.gz").write_bytes(whole[:length])
    assert refusal(tmp_path / "a.nii.gz") == "TRUNCATED"


def test_a_plain_file_cut_short_and_a_wrong_checksum_are_refused(tmp_path, scan):
    path = save(tmp_path / "a.nii", scan)
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal(path) == "TRUNCATED"
    packed = bytearray(save(tmp_path / "b.nii.gz", scan).read_bytes())
    packed[-6] ^= 1
    (tmp_path / "b.nii.gz").write_bytes(packed)
    assert refusal(tmp_path / "b.nii.gz") == "TRUNCATED"


@pytest.mark.parametrize("kept", [-1, -8])
def test_a_file_with_bytes_behind_the_voxels_is_read_to_its_checksum(tmp_path, scan, kept):
    behind = np.random.default_rng(1).bytes(1 << 21)
    content = save(tmp_path / "a.nii", scan).read_bytes() + behind
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content))
    assert np.array_equal(read_nifti(path).array, scan)
    path.write_bytes(gzip.compress(content)[:kept])
    assert refusal(path) == "TRUNCATED"


def test_a_header_that_promises_terabytes_is_refused_before_memory_is_taken(tmp_path, scan):
    path = save(tmp_path / "a.nii", scan)
    header = bytearray(path.read_bytes())
    header[42:48] = np.array([32767] * 3, "<i2").tobytes()
    path.write_bytes(header)
    assert refusal(path) == "TRUNCATED"
    path.write_bytes(gzip.compress(header))
    assert refusal(path) == "TRUNCATED"


def test_reading_a_packed_file_takes_the_memory_of_its_voxels_once(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.zeros((200, 200, 200), np.uint8))
    read_nifti(path)  # what is imported once is not the file's
    tracemalloc.start()
    try:
        read_nifti(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 200**3 < most < 1.5 * 200**3


@pytest.mark.parametrize(
    ("code", "array", "how"),
    [
        ("NOT_3D", np.zeros((3, 3, 3, 2), np.int16), {}),
        ("NOT_3D", np.zeros((3, 3, 3, 1, 3), np.float32), {}),
        ("NOT_3D", np.zeros(7, np.int16), {}),
        ("COLOUR", np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), {}),
        ("UNSUPPORTED_PIXELS", np.zeros((3, 3, 3), np.complex64), {}),
        ("NON_FINITE", np.full((3, 3, 3), np.nan, np.float32), {}),
        ("NO_GEOMETRY", np.zeros((3, 3, 3), np.int16), {"sform": 0, "qform": 0}),
        ("BAD_GEOMETRY", np.zeros((3, 3, 3), np.int16), {"srow_x": 0}),
        ("BAD_GEOMETRY", np.zeros((3, 3, 3), np.int16), {"srow_y": np.nan}),
        ("BAD_GEOMETRY", np.zeros((3, 3, 3), np.int16), {"sform": 0, "quatern_b": 2}),
        ("SHEARED", np.zeros((3, 3, 3), np.int16), {"affine": np.eye(4), "srow_x": [1, 0.5, 0, 0]}),
    ],
)  # fmt: skip
def test_what_is_no_grey_volume_on_a_grid_is_refused_by_code(tmp_path, code, array, how):
    assert refusal(save(tmp_path / "a.nii.gz", array, **how)) == code


def test_the_message_counts_the_voxels_that_are_not_finite(tmp_path):
    array = np.zeros((3, 3, 3), np.float32)
    array[0, 0] = np.inf
    with pytest.raises(CaseError, match="3 NaN or infinite"):
        read_nifti(save(tmp_path / "a.nii", array))


def test_other_bytes_and_missing_files_are_unreadable(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"x" * 1000)
    assert refusal(tmp_path / "a.nii") == "UNREADABLE"
    assert refusal(tmp_path / "none.nii.gz") == "UNREADABLE"
