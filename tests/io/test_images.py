"""Images of other libraries: where a voxel lies in the patient is asked of the library, not of us."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy.spatial.transform import Rotation

from pipeline.errors import CaseError, InputError
from pipeline.io.images import as_volume, to_nibabel, to_sitk
from pipeline.io.nifti import write_nifti
from pipeline.io.volume import Volume

ARRAY = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
VOXELS = [(0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (2, 3, 4)]


def grid(steps: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, (11.0, -22.0, 33.5)
    return affine


SPACING = np.diag([0.7, 1.3, 2.5])
GRIDS = {
    "RAS": grid(SPACING),
    "LPS": grid(np.diag([-1.0, -1, 1]) @ SPACING),
    "left-handed": grid(np.diag([1.0, -1, 1]) @ SPACING),
    "axes reordered": grid(np.eye(3)[[2, 0, 1]] @ SPACING),
    "oblique": grid(Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ SPACING),
}
every_grid = pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)


def place(volume: Volume, voxel) -> np.ndarray:
    return (volume.affine @ [*voxel, 1])[:3]


@every_grid
def test_simpleitk_says_where_each_voxel_lies_and_so_do_we(affine) -> None:
    volume = Volume(ARRAY, affine)
    image = to_sitk(volume)
    for voxel in VOXELS:
        assert image.GetPixel(voxel) == ARRAY[voxel]
        np.testing.assert_allclose(
            RAS_TO_LPS * image.TransformIndexToPhysicalPoint(voxel), place(volume, voxel), atol=1e-9
        )
    back = as_volume(image)
    np.testing.assert_array_equal(back.array, ARRAY)
    np.testing.assert_allclose(back.affine, affine, atol=1e-12)


@every_grid
def test_an_image_that_itk_has_read_lies_where_itk_says(affine, tmp_path: Path) -> None:
    sitk.WriteImage(to_sitk(Volume(ARRAY, affine)), str(tmp_path / "a.mha"))
    image = itk.imread(str(tmp_path / "a.mha"))
    volume = as_volume(image)
    for voxel in VOXELS:
        assert image.GetPixel(voxel) == volume.array[voxel]
        there = RAS_TO_LPS * np.array(image.TransformIndexToPhysicalPoint(voxel))
        np.testing.assert_allclose(there, place(volume, voxel), atol=1e-6)


@every_grid
def test_nibabel_reads_from_a_file_what_to_nibabel_has_made(affine, tmp_path: Path) -> None:
    image = to_nibabel(Volume(ARRAY, affine))
    nib.save(image, tmp_path / "a.nii.gz")
    seen = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(seen.affine, affine, atol=1e-5)
    np.testing.assert_allclose(seen.get_qform(), affine, atol=1e-5)
    assert seen.header.get_xyzt_units()[0] == "mm"
    for each in (image, seen):
        back = as_volume(each)
        np.testing.assert_array_equal(back.array, ARRAY)
        np.testing.assert_allclose(back.affine, affine, atol=1e-5)


def test_a_sheared_grid_goes_to_nibabel_without_a_qform_and_not_to_itk() -> None:
    sheared = GRIDS["RAS"].copy()
    sheared[1, 2] = 1.0
    volume = as_volume((ARRAY, sheared))
    assert to_nibabel(volume).get_qform(coded=True) == (None, 0)
    np.testing.assert_allclose(to_nibabel(volume).get_sform(), sheared, atol=1e-6)
    with pytest.raises(CaseError, match="use to_nibabel") as refused:
        to_sitk(volume)
    assert refused.value.code == "SHEARED"


def test_a_scaled_file_has_its_scaled_values_and_a_trailing_axis_of_one_is_dropped(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", Volume(ARRAY, np.eye(4)), unit=0.5)
    found = as_volume(nib.load(tmp_path / "a.nii"))
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array, ARRAY / 2)
    assert as_volume(nib.Nifti1Image(ARRAY[..., None], np.eye(4))).array.shape == ARRAY.shape


def test_a_pair_a_path_and_a_volume_are_images(tmp_path: Path) -> None:
    volume = Volume(ARRAY, GRIDS["oblique"])
    assert as_volume(volume) is volume
    pair = as_volume((ARRAY.astype(np.float64), GRIDS["oblique"].tolist()))
    assert pair.array.dtype == np.float32 and np.array_equal(pair.affine, volume.affine)
    write_nifti(tmp_path / "a.nii.gz", volume)
    for path in (tmp_path, tmp_path / "a.nii.gz", str(tmp_path / "a.nii.gz")):
        np.testing.assert_array_equal(as_volume(path).array, ARRAY)


def test_a_picture_is_an_array_with_its_rows_first() -> None:
    picture = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    assert np.array_equal(as_volume(picture).affine, np.eye(3))
    image = sitk.GetImageFromArray(picture, isVector=True)
    image.SetSpacing([0.5, 2.0])
    image.SetOrigin([7.0, 9.0])
    volume = as_volume(image)
    np.testing.assert_array_equal(volume.array, picture)
    np.testing.assert_allclose(volume.affine @ [2, 4, 1], [*image.TransformIndexToPhysicalPoint((4, 2))[::-1], 1])
    back = to_sitk(Volume(picture[..., 0], volume.affine))
    assert back.GetSize() == (5, 3) and back.GetSpacing() == (0.5, 2.0) and back.GetOrigin() == (7.0, 9.0)
    assert back.GetPixel(4, 2) == picture[2, 4, 0]
    with pytest.raises(ValueError, match="picture"):
        to_nibabel(volume)


@pytest.mark.parametrize("image", [ARRAY, Image.new("L", (3, 3)), 7, (ARRAY, np.eye(4), 1), None])
def test_what_has_no_geometry_is_refused_with_what_is_taken(image) -> None:
    with pytest.raises(InputError, match="nibabel, SimpleITK or itk"):
        as_volume(image)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ((ARRAY, np.eye(3)[:2]), "NOT_3D"),
        ((ARRAY[..., None, None], np.eye(4)), "NOT_3D"),
        ((ARRAY, np.diag([1.0, 0, 1, 1])), "BAD_GEOMETRY"),
        ((np.full((2, 2, 2), np.inf), np.eye(4)), "NON_FINITE"),
        ((ARRAY.astype(complex), np.eye(4)), "UNSUPPORTED_PIXELS"),
        (nib.Nifti1Image(ARRAY, None), "NO_GEOMETRY"),
        (sitk.Image([3, 3, 3, 3], sitk.sitkUInt8), "NOT_3D"),
    ],
    ids=["affine", "axes", "singular", "infinite", "complex", "no affine", "time"],
)
def test_what_cannot_be_trusted_is_refused_by_its_code(image, code) -> None:
    with pytest.raises(CaseError) as refused:
        as_volume(image)
    assert refused.value.code == code


def test_a_folder_of_two_scans_is_not_one_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii", Volume(ARRAY, np.eye(4)))
    with pytest.raises(InputError, match="2 cases"):
        as_volume(tmp_path)
