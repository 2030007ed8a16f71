"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) through SimpleITK; geometry between its LPS and our RAS is exact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.geometry import LPS_TO_RAS, check_affine, is_sheared
from pipeline.io.pixels import check_finite
from pipeline.io.refusals import reading, truncated
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

if TYPE_CHECKING:
    import SimpleITK

_LONGEST_HEADER = 1 << 20  # bytes
# Without these keys ITK makes up a spacing of 1 mm (and, in NRRD, the axes): (key, what is unknown without it).
_META_GEOMETRY = ((b"elementspacing", "the spacing"),)
_NRRD_GEOMETRY = ((b"\nspace directions:", "the spacing and direction of its axes"), (b"\nspace:", "the patient axes"))


def read_metaimage(path: Path) -> Volume:
    """Read a three-dimensional scan or label map.

    array: (X, Y, Z), Fortran order, the type on disk (float64 is narrowed to float32). A fourth axis of length 1 is
        dropped.
    CaseError: UNREADABLE, TRUNCATED, NOT_3D, COLOUR, UNSUPPORTED_PIXELS, NON_FINITE, NO_GEOMETRY, BAD_GEOMETRY,
        SHEARED.
    """
    import SimpleITK as sitk

    with reading(path):
        reader = _header(path)
        _check_written_geometry(path)
        affine = _affine(reader)
        check_affine(affine, path)
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise truncated(path, "its voxels end early, or the data file beside it is missing") from error
        array = sitk.GetArrayFromImage(image).reshape(reader.GetSize()[2::-1]).T
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    check_finite(array, path)
    return Volume(array, affine)


def write_metaimage(path: Path, volume: Volume, *, source: Path | None = None) -> None:
    """Write `volume` (three spatial axes) compressed, whole or not at all.

    With the MHA or NRRD `source` that it belongs to, origin, spacing and direction are the source's own numbers.
    ValueError: two-dimensional, or `source` lies on another grid. CaseError: WRITE_FAILED, SHEARED, or `source` cannot
    be read.
    """
    import SimpleITK as sitk

    if volume.spatial_dims != 3:
        raise ValueError(f"{path}: a picture of {volume.spatial_dims} axes is written as .png")
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.T), isVector=volume.array.ndim == 4)
    _place(image, volume, source, path)
    with whole_file(path) as part:
        try:
            sitk.WriteImage(image, str(part), useCompression=True)
        except RuntimeError as error:
            raise OSError("SimpleITK could not write it: disk full or no permission") from error


def _place(image: SimpleITK.Image, volume: Volume, source: Path | None, path: Path) -> None:
    if source is not None:
        with reading(source):
            reader = _header(source)
        if reader.GetSize()[:3] != volume.spatial_shape or not np.array_equal(_affine(reader), volume.affine):
            raise ValueError(
                f"labels of {volume.spatial_shape} do not lie on the grid of {source}: resample them to it"
            )
        image.SetOrigin(reader.GetOrigin()[:3])
        image.SetSpacing(reader.GetSpacing()[:3])
        image.SetDirection(_direction(reader).ravel().tolist())
        return
    if is_sheared(volume.affine):
        message = f"{path.name} cannot hold a grid that the gantry's tilt has sheared: write .nii.gz"
        raise CaseError("SHEARED", message)
    lps = LPS_TO_RAS @ volume.affine
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(volume.spacing_mm)
    image.SetDirection((lps[:3, :3] / np.array(volume.spacing_mm)).ravel().tolist())


def _header(path: Path) -> SimpleITK.ImageFileReader:
    """A reader that has read the header and refused what is not one grey scan."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise CaseError("UNSUPPORTED_PIXELS", f"{path} has complex voxels: save the magnitude or real part")
    if components in (3, 4):
        raise CaseError("COLOUR", f"{path} is in colour ({components} values a voxel): save it as grey values")
    if components > 1 or not (len(size) == 3 or (len(size) > 3 and set(size[3:]) == {1})):
        sizes = " x ".join(map(str, size))
        message = f"{path} has {len(size)} axes ({sizes}) of {components} values: save each volume in a file of its own"
        raise CaseError("NOT_3D", message)
    return reader


def _affine(reader: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    lps = np.eye(4)
    lps[:3, :3] = _direction(reader) * reader.GetSpacing()[:3]
    lps[:3, 3] = reader.GetOrigin()[:3]
    return LPS_TO_RAS @ lps


def _direction(reader: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    axes = reader.GetDimension()
    return np.array(reader.GetDirection()).reshape(axes, axes)[:3, :3]


def _check_written_geometry(path: Path) -> None:
    """Look into the header's text: ITK does not tell a spacing that was written from one that it made up."""
    with path.open("rb") as file:
        text = file.read(_LONGEST_HEADER)
    nrrd = text.startswith(b"NRRD")
    end = text.find(b"\n\n" if nrrd else b"ElementDataFile")
    header = text[: end if end >= 0 else None].replace(b"\r", b"").lower()
    for key, unknown in _NRRD_GEOMETRY if nrrd else _META_GEOMETRY:
        if key not in header:
            raise CaseError("NO_GEOMETRY", f"{path} does not say {unknown}: write them into its header")
