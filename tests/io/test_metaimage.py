"""MHA and NRRD: the geometry of ITK, the refusals of every other reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import CaseError
from pipeline.io.metaimage import read_metaimage, write_metaimage
from pipeline.io.volume import Volume

STACK = np.random.default_rng(0).integers(-1000, 3000, (4, 5, 6)).astype(np.int16)  # (z, y, x)


def save(path: Path, array=STACK, *, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(array, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing((0.7, 0.8, 3.1))
        image.SetOrigin((-1 / 3, 2 / 7, 5.0))
        image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CaseError) as error:
        read_metaimage(path)
    return error.value.code


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
def test_voxels_and_places_are_those_of_itk(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}")
    image, volume = sitk.ReadImage(str(path)), read_metaimage(path)
    assert np.array_equal(volume.array, STACK.T) and volume.array.dtype == np.int16
    x, y, z = image.TransformIndexToPhysicalPoint((5, 4, 3))
    assert np.allclose(volume.affine @ [5, 4, 3, 1], [-x, -y, z, 1], atol=1e-12)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_labels_lie_bit_for_bit_on_the_grid_of_their_source(tmp_path, suffix):
    source = save(tmp_path / f"a{suffix}")
    scan = read_metaimage(source)
    labels = Volume((scan.array > 0).astype(np.uint8), scan.affine)
    write_metaimage(tmp_path / f"out{suffix}", labels, source=source)
    back = read_metaimage(tmp_path / f"out{suffix}")
    assert np.array_equal(back.affine, scan.affine) and np.array_equal(back.array, labels.array)
    with pytest.raises(ValueError, match="do not lie on the grid"):
        write_metaimage(tmp_path / f"other{suffix}", Volume(labels.array, np.eye(4)), source=source)


def test_without_a_source_the_affine_comes_back_to_rounding(tmp_path):
    affine = read_metaimage(save(tmp_path / "a.mha")).affine
    write_metaimage(tmp_path / "b.nrrd", Volume(STACK.T, affine))
    assert np.allclose(read_metaimage(tmp_path / "b.nrrd").affine, affine, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("code", "array", "vector"),
    [
        ("COLOUR", np.zeros((4, 5, 6, 3), np.uint8), True),
        ("NOT_3D", np.zeros((4, 5, 6, 2), np.uint8), True),
        ("NOT_3D", np.zeros((2, 4, 5, 6), np.uint8), False),
        ("NOT_3D", np.zeros((5, 6), np.uint8), False),
        ("NON_FINITE", np.full((4, 5, 6), np.nan, np.float32), False),
    ],
)
@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_what_is_no_grey_volume_is_refused_by_code(tmp_path, code, array, vector, suffix):
    assert refusal(save(tmp_path / f"a{suffix}", array, vector=vector)) == code


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_file_cut_in_half_is_truncated_and_other_bytes_are_unreadable(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path) == "TRUNCATED"
    path.write_bytes(b"no header at all")
    assert refusal(path) in {"UNREADABLE", "NO_GEOMETRY"}


def test_geometry_that_is_not_written_is_not_made_up(tmp_path):
    mha = save(tmp_path / "a.mha")
    mha.write_bytes(mha.read_bytes().replace(b"ElementSpacing", b"SomethingElse_"))
    nrrd = save(tmp_path / "a.nrrd")
    nrrd.write_bytes(nrrd.read_bytes().replace(b"space: left-posterior-superior\n", b"space dimension: 3\n"))
    assert refusal(mha) == refusal(nrrd) == "NO_GEOMETRY"
