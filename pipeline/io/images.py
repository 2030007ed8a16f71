"""Images of other libraries in, images of theirs out: numpy with an affine, nibabel, SimpleITK, ITK, and files.

    from pipeline.io.images import as_volume, to_nibabel, to_sitk

nibabel's affine is ours (RAS). ITK's origin, spacing and direction are of LPS, and its arrays have their axes reversed;
of a picture, whose first axis runs down the rows in every library's array, all three are reversed with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError, InputError
from pipeline.io.geometry import LPS_TO_RAS, check_affine, is_sheared
from pipeline.io.pixels import check_finite
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

GIVEN = Path("the image given")  # what messages call it
TAKEN = "a Volume, a path, (array, affine), or an image of nibabel, SimpleITK or itk"


def as_volume(image: Any) -> Volume:
    """An image of any of the libraries above as a Volume on its own grid; float64 is narrowed to float32.

    image: a Volume (returned as it is); a path, of a file or of a folder with one DICOM series; a pair (array, affine)
        with an affine as in Volume; an array alone, (rows, columns[, 3]), is a picture; an image of nibabel, SimpleITK
        or itk, of two or three axes.
    InputError: something else, or a folder of several cases. CaseError: as reading a file raises them (NOT_3D,
    NON_FINITE, BAD_GEOMETRY, SHEARED, ...).
    """
    if isinstance(image, Volume):
        return image
    if isinstance(image, str | Path):
        return _read(Path(image))
    if isinstance(image, np.ndarray) and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        return _checked(image, np.eye(3))
    if isinstance(image, tuple) and len(image) == 2:
        return _checked(np.asarray(image[0]), np.asarray(image[1], dtype=np.float64))
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        return _from_nibabel(image)
    if all(hasattr(image, name) for name in ("GetOrigin", "GetSpacing", "GetDirection")):
        return _from_itk(image)
    what = f"an array of shape {image.shape}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
    raise InputError(f"the image is {what}, it must be {TAKEN}")


def to_nibabel(volume: Volume) -> nibabel.nifti1.Nifti1Image:
    """A volume as a NIfTI image in memory. ValueError: a picture."""
    from nibabel.nifti1 import Nifti1Image

    if volume.spatial_dims != 3:
        raise ValueError("a picture is no NIfTI image: use to_sitk, or its array")
    image = Nifti1Image(volume.array, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=0 if is_sheared(volume.affine) else 1)  # a qform has no shear
    return image


def to_sitk(volume: Volume) -> SimpleITK.Image:
    """A volume or a picture as a SimpleITK image. CaseError SHEARED: a tilted scan's grid, which ITK cannot hold."""
    import SimpleITK as sitk

    if volume.spatial_dims == 3 and is_sheared(volume.affine):
        raise CaseError("SHEARED", "SimpleITK cannot hold a grid that the gantry's tilt has sheared: use to_nibabel")
    dims = volume.spatial_dims
    array = volume.array if dims == 2 else np.swapaxes(volume.array, 0, 2)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=volume.array.ndim > dims)
    theirs = _turned(volume.affine)
    spacing = np.linalg.norm(theirs[:dims, :dims], axis=0)
    image.SetOrigin(theirs[:dims, dims].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((theirs[:dims, :dims] / spacing).ravel().tolist())
    return image


def _read(path: Path) -> Volume:
    from pipeline.io.discover import find_cases, read_case

    cases = find_cases(path)
    if len(cases) > 1:
        names = ", ".join(case.id for case in cases[:10])
        raise InputError(
            f"{path} holds {len(cases)} cases ({names}): name one, or use `evoseg segment` for all of them"
        )
    return read_case(cases[0])


def _from_nibabel(image: Any) -> Volume:
    if image.affine is None:
        raise CaseError("NO_GEOMETRY", f"{GIVEN} has no affine: give (array, affine)")
    array = np.asanyarray(image.dataobj)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return _checked(array, np.asarray(image.affine, dtype=np.float64))


def _from_itk(image: Any) -> Volume:
    """Of SimpleITK or of itk, whose getters have the same names."""
    if type(image).__module__.partition(".")[0] == "SimpleITK":
        import SimpleITK as sitk

        array, direction = sitk.GetArrayFromImage(image), np.array(image.GetDirection())
    else:
        array, direction = np.array(image), np.asarray(image.GetDirection())
    spacing: Sequence[float] = tuple(image.GetSpacing())
    dims = len(spacing)
    if dims not in (2, 3):
        raise CaseError("NOT_3D", f"{GIVEN} has {dims} axes: take one volume out of it")
    theirs = np.eye(dims + 1)
    theirs[:dims, :dims] = direction.reshape(dims, dims) * spacing
    theirs[:dims, dims] = tuple(image.GetOrigin())
    return _checked(array if dims == 2 else np.swapaxes(array, 0, 2), _turned(theirs))


def _turned(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between ITK's and ours, either way: LPS and RAS of a volume, x first and rows first of a picture."""
    if len(affine) == 4:
        return LPS_TO_RAS @ affine
    swap = np.eye(3)[[1, 0, 2]]
    return swap @ affine @ swap


def _checked(array: NDArray, affine: NDArray[np.float64]) -> Volume:
    if array.dtype.kind not in "biuf":
        raise CaseError("UNSUPPORTED_PIXELS", f"{GIVEN} has values of type {array.dtype}: give real numbers")
    if not array.size or array.ndim - (len(affine) - 1) not in (0, 1):
        raise CaseError("NOT_3D", f"{GIVEN} has shape {array.shape}, which does not fit an affine {affine.shape}")
    if len(affine) == 4:
        check_affine(affine, GIVEN, allow_shear=True)
    check_finite(array, GIVEN)
    return Volume(array.astype(np.float32) if array.dtype == np.float64 else array, affine)
