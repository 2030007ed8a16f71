"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz): the header by nibabel, the voxels straight into their array.

Nothing passes through float64, and a .nii.gz is read to its checksum, so a file cut short is never taken for a scan.
"""

from __future__ import annotations

import math
from gzip import BadGzipFile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.geometry import check_affine, is_sheared
from pipeline.io.pixels import check_finite, rescale
from pipeline.io.refusals import reading, truncated
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_LEVEL = 1
_DEFLATE_ERROR = cast("type[Exception]", isal_zlib.error)  # the stub has an instance for the class
_LARGEST_HEADER = 540  # bytes: NIfTI-2; NIfTI-1 has 348
_STEP = 1 << 18  # bytes: what is asked of a packed file at once is first unpacked elsewhere, then copied
_MOST_DEFLATED = 1040  # deflate packs no byte sequence tighter than 1032:1
# What says where the voxels lie; copied so that labels have the scan's affine bit for bit, whichever form it is in.
_GEOMETRY_FIELDS = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


def read_nifti(file: str | Path, *, allow_shear: bool = False) -> Volume:
    """Read a three-dimensional scan or label map.

    array: (X, Y, Z), Fortran order, the type on disk where the scaling is trivial, else the type of `pixels.rescale`;
        float64 is narrowed to float32. Trailing axes of length 1 are dropped; a two-dimensional file has Z = 1.
    affine: nibabel's choice of sform over qform. allow_shear: its axes need not be at right angles.
    CaseError: UNREADABLE, TRUNCATED, NOT_3D, COLOUR, UNSUPPORTED_PIXELS, NON_FINITE, NO_GEOMETRY, BAD_GEOMETRY,
        SHEARED.
    """
    path = Path(file)
    with reading(path), path.open("rb") as raw:
        stream = _unpacked(raw)
        packed = stream is not raw
        try:
            header = _read_header(stream, path)
            array = _room(header, path, packed=packed)
            affine = _affine(header, path, allow_shear=allow_shear)
            _read_voxels(stream, header, array, path, packed=packed)
        except (BadGzipFile, _DEFLATE_ERROR) as error:
            raise truncated(path, str(error)) from error
        slope, intercept = header.get_slope_inter()
    array = _plain(array)
    if slope is not None:
        array = rescale(array, float(slope), float(intercept))
    check_finite(array, path)
    return Volume(array, affine)


def check_nifti(file: str | Path) -> None:
    """Read a file of any number of axes to its end, a piece at a time. CaseError: UNREADABLE, TRUNCATED."""
    path = Path(file)
    with reading(path), path.open("rb") as raw:
        stream = _unpacked(raw)
        try:
            header = _read_header(stream, path)
            stream.seek(header.get_data_offset())
            size, count = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize, 0
            while piece := stream.read(1 << 20):
                count += len(piece)
        except (BadGzipFile, _DEFLATE_ERROR) as error:
            raise truncated(path, str(error)) from error
    if count < size:
        raise truncated(path, f"its header promises {size} bytes of voxels, {count} follow")


def write_nifti(
    path: Path, volume: Volume, *, source: Path | None = None, time_step: float | None = None, unit: float = 1.0
) -> None:
    """Write `volume` (three spatial axes, a channel or none), whole or not at all; equal input gives equal bytes.

    time_step: the channel is a time that grows by this, without a unit. unit: what 1 in the array stands for; readers
    give the product (the header's scl_slope).

    With the NIfTI file `source` that it belongs to, the file has the source's sform, qform, codes, pixdim and units, so
    the affine is equal bit for bit. Without, sform and qform are set from the affine, rounded to float32 by the format.
    ValueError: two-dimensional, or `source` lies on another grid. CaseError: WRITE_FAILED, or `source` cannot be read.
    """
    if volume.spatial_dims != 3:
        raise ValueError(f"{path}: a picture of {volume.spatial_dims} axes is written as .png")
    array = _storable(volume.array)
    header = _header_like(source, volume) if source else _header_from_affine(volume.affine)
    header.set_data_dtype(array.dtype)
    header["dim"][0] = array.ndim
    header["dim"][1:] = [*array.shape, *[1] * (7 - array.ndim)]
    if time_step is not None:
        header["pixdim"][4] = time_step
    header.set_data_offset(header.single_vox_offset)
    header.set_slope_inter(unit, 0)
    voxels = np.asfortranarray(array).reshape(-1, order="F")
    with whole_file(path) as part, part.open("wb") as raw:
        if not path.name.lower().endswith(".gz"):
            _write_all(cast(BinaryIO, raw), header, voxels)
        else:
            # No name and no time in the gzip header; ISA-L itself packs the same voxels otherwise once in many runs.
            with igzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0) as file:
                _write_all(cast(BinaryIO, file), header, voxels)


def _unpacked(raw: BinaryIO) -> BinaryIO:
    """`raw` itself, or what it unpacks to: told by its first bytes, since .nii files that are packed exist."""
    packed = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    return cast(BinaryIO, igzip.GzipFile(fileobj=raw)) if packed else raw


def _read_header(file: BinaryIO, path: Path) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    start = file.read(_LARGEST_HEADER)
    kinds = {Nifti1Header.sizeof_hdr: Nifti1Header, Nifti2Header.sizeof_hdr: Nifti2Header}
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")} & kinds.keys()
    if len(start) < max(sizes, default=4):
        raise truncated(path, f"{len(start)} bytes are no NIfTI header")
    if not sizes:
        raise CaseError("UNREADABLE", f"{path} is not a NIfTI file: check it or export it again")
    try:
        size = sizes.pop()
        header = kinds[size](start[:size])  # without its extensions, which may be longer than `start`
        header.get_data_dtype()
        header.get_slope_inter()
    except HeaderDataError as error:
        raise CaseError("UNSUPPORTED_PIXELS", f"{path} has a header out of the norm ({error}): save it anew") from error
    if not header["magic"].item().startswith(b"n+"):
        raise CaseError("UNREADABLE", f"{path} is one half of a NIfTI file of two: convert it to .nii.gz")
    return header


def _affine(header: Nifti1Header, path: Path, *, allow_shear: bool) -> NDArray[np.float64]:
    from nibabel.spatialimages import HeaderDataError

    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        message = f"{path} has neither sform nor qform, its place in the patient is unknown: set one in its header"
        raise CaseError("NO_GEOMETRY", message)
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise CaseError("BAD_GEOMETRY", f"{path} has no usable affine ({error}): repair its header") from error
    check_affine(affine, path, allow_shear=allow_shear)
    return affine


def _read_voxels(file: BinaryIO, header: Nifti1Header, array: NDArray, path: Path, *, packed: bool) -> None:
    """Fill the Fortran-ordered `array`, and read a packed file to its end, where the checksum stands."""
    file.seek(header.get_data_offset())
    count = _fill(file, array.reshape(-1, order="F").view(np.uint8).data)
    if count < array.nbytes:
        raise truncated(path, f"its header promises {array.nbytes} bytes of voxels, {count} follow")
    while packed and file.read(1 << 20):
        pass


def _room(header: Nifti1Header, path: Path, *, packed: bool) -> NDArray:
    """An empty array for the voxels, unless the file is too small to hold them: a broken header asks for terabytes."""
    shape, dtype = _shape(header, path), _dtype(header, path)
    size, room = math.prod(shape) * dtype.itemsize, path.stat().st_size
    if size > room * (_MOST_DEFLATED if packed else 1):
        raise truncated(path, f"its header promises {size} bytes of voxels, the file has {room} bytes")
    return np.empty(shape, dtype, order="F")


def _plain(array: NDArray) -> NDArray:
    """In the machine's byte order, and float32 where it was wider."""
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
    return array.astype(np.float32) if array.dtype.kind == "f" and array.dtype.itemsize > 4 else array


def _fill(file: BinaryIO, buffer: memoryview) -> int:
    """Read until `buffer` is full or the file ends; how many bytes that were."""
    count = 0
    while count < len(buffer):
        step = file.readinto(buffer[count : count + _STEP])  # type: ignore[attr-defined]
        if not step:
            break
        count += step
    return count


def _shape(header: Nifti1Header, path: Path) -> tuple[int, ...]:
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 3:
        sizes = " x ".join(map(str, shape))
        message = f"{path} has {len(shape)} axes ({sizes}), a scan has three: save each volume in a file of its own"
        raise CaseError("NOT_3D", message)
    shape = (*shape, 1)[:3]
    if min(shape) < 1:
        raise CaseError("BAD_GEOMETRY", f"{path} has an axis without voxels, {shape}: export it again")
    return shape


def _dtype(header: Nifti1Header, path: Path) -> np.dtype:
    dtype = header.get_data_dtype()
    if dtype.fields:
        raise CaseError("COLOUR", f"{path} is in colour ({len(dtype.fields)} values a voxel): save it as grey values")
    if dtype.kind not in "iuf":
        raise CaseError("UNSUPPORTED_PIXELS", f"{path} has voxels of type {dtype}: save the magnitude or real part")
    return dtype


def _storable(array: NDArray) -> NDArray:
    """The same values in a type that NIfTI has."""
    narrow = {"bool": np.uint8, "float16": np.float32}.get(array.dtype.name)
    return array if narrow is None else array.astype(narrow)


def _header_from_affine(affine: NDArray[np.float64]) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header

    header = Nifti1Header()
    header.set_data_shape((1, 1, 1))
    header.set_sform(affine, code=1)
    # A qform has no shear: of a tilted scan it would be another grid, so it is marked as unknown.
    header.set_qform(affine, code=0 if is_sheared(affine) else 1)
    header.set_xyzt_units("mm")
    return header


def _header_like(source: Path, volume: Volume) -> Nifti1Header:
    with reading(source), source.open("rb") as raw:
        old = _read_header(_unpacked(raw), source)
    affine = _affine(old, source, allow_shear=True)
    if _shape(old, source) != volume.spatial_shape or not np.array_equal(affine, volume.affine):
        raise ValueError(f"labels of {volume.spatial_shape} do not lie on the grid of {source}: resample them to it")
    new = type(old)()
    for name in _GEOMETRY_FIELDS:
        new[name] = old[name]
    return new


def _write_all(file: BinaryIO, header: Nifti1Header, voxels: NDArray) -> None:
    header.write_to(file)
    file.write(voxels.view(np.uint8).data)
