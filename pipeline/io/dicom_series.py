"""One DICOM series (or one picture) into a Volume: headers first, pixels only when the geometry holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.dicom_enhanced import is_enhanced, read_enhanced
from pipeline.io.dicom_files import is_picture, sop_class_of
from pipeline.io.dicom_geometry import slice_grid
from pipeline.io.dicom_header import read_header
from pipeline.io.dicom_native import native_pixels, read_native
from pipeline.io.dicom_pixels import decode, decode_picture, scale_of, scales_to_fractions, with_room_for
from pipeline.io.pixels import check_finite, rescale
from pipeline.io.refusals import reading, truncated
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pydicom import FileDataset

    from pipeline.io.dicom_header import Header

# Objects whose pixels are not those of a scan. Whatever else has no "Image Storage" in its name has no pixels at all.
_DERIVED_PIXELS = ("Segmentation", "RT Dose", "Parametric Map")


def read_series(files: Sequence[Path], *, allow_tilt: bool = False) -> Volume:
    """Read one series as a volume (single-frame files, or one enhanced multi-frame file), or one picture (ultrasound,
    X-ray, photograph).

    Volume: array (columns, rows, slices), Fortran order, slices sorted along the normal; values are rescaled slice by
        slice, int16 or int32 when exact, else float32. affine (4, 4), RAS, so that every voxel is where its slice's
        ImagePositionPatient, ImageOrientationPatient and PixelSpacing put it.
    Picture: array (rows, columns[, 3]), brighter is larger; affine (3, 3): PixelSpacing in mm where there is one, else
        pixels.
    allow_tilt: accept a tilted gantry, of which the affine is sheared.
    CaseError: UNREADABLE, TRUNCATED, NOT_AN_IMAGE, MULTI_FRAME, COLOUR, UNSUPPORTED_PIXELS, UNSUPPORTED_SYNTAX,
        NON_FINITE and the codes of `slice_grid`.
    """
    headers = [_header(path) for path in files]
    for path, header in zip(files, headers, strict=True):
        with reading(path):
            _check_object(header, path, alone=len(files) == 1)
    if len(files) == 1 and is_enhanced(sop_class_of(headers[0])):
        return read_enhanced(files[0], allow_tilt=allow_tilt)
    if len(files) == 1 and is_picture(headers[0]):
        return _read_picture(files[0])
    name = _name_of(files)
    with reading(name):
        grid = slice_grid(headers, name, files=files, allow_tilt=allow_tilt)
        whole = not any(scales_to_fractions(header) for header in headers)
        stack = np.empty((len(files), *_frame_size(headers[0])), np.int16 if whole else np.float32)
    for k, index in enumerate(grid.order):
        with reading(files[index]):
            stack = _with_slice(stack, k, files[index], headers[index])
    check_finite(stack, name)
    return Volume(stack.T, grid.affine)


def _with_slice(stack: NDArray, k: int, path: Path, header: Header) -> NDArray:
    """`stack` with the slice in `path` at `k`, widened where its values need that."""
    pixels = native_pixels(header)
    if pixels is None:
        values = decode(_dataset(path), path)
    elif pixels.dtype == stack.dtype and scale_of(header) == (1, 0):
        read_native(path, pixels, stack[k])
        return stack
    else:
        stored = np.empty(stack.shape[1:], pixels.dtype)
        read_native(path, pixels, stored)
        values = rescale(stored, *scale_of(header))
    stack = with_room_for(stack, values)
    stack[k] = values
    return stack


def _read_picture(path: Path) -> Volume:
    with reading(path):
        dataset = _dataset(path)
        array = decode_picture(dataset, path)
        spacing = [float(mm) for mm in dataset.get("PixelSpacing") or (1.0, 1.0)]
    affine = np.diag([*spacing, 1.0])
    if affine.shape != (3, 3) or not (np.isfinite(spacing).all() and min(spacing) > 0):
        raise CaseError("BAD_GEOMETRY", f"{path} has a PixelSpacing that is not two lengths: export it again")
    return Volume(array, affine)


def _name_of(files: Sequence[Path]) -> Path:
    """What a person would call them: the file, or the folder that holds them all."""
    if len(files) == 1:
        return files[0]
    try:
        return Path(os.path.commonpath(files))
    except ValueError:  # in a folder that was given by a relative path, and in an unpacked .zip
        return files[0].parent


def _header(path: Path) -> Header:
    with reading(path), path.open("rb") as file:
        return read_header(file)


def _dataset(path: Path) -> FileDataset:
    import pydicom

    return pydicom.dcmread(path, force=True)


def _frame_size(header: Header) -> tuple[int, int]:
    return int(header.get("Rows")), int(header.get("Columns"))


def _check_object(header: Header, path: Path, *, alone: bool) -> None:
    """Refuse what is not one frame of grey values, nor many that make a volume, nor a picture, by its header."""
    from pydicom.uid import UID

    sop_class = UID(sop_class_of(header))
    if not sop_class:
        if "Rows" not in header:
            raise CaseError("UNREADABLE", f"{path} is not a DICOM image (no SOP class): check it or export it again")
    elif not sop_class.is_private and ("Image Storage" not in sop_class.name or _is_derived(sop_class.name)):
        raise CaseError("NOT_AN_IMAGE", f"{path} is a DICOM {sop_class.name}, not a scan: leave it out")
    if "Rows" not in header or "Columns" not in header:
        raise truncated(path, "its header has no image size")
    many = int(header.get("NumberOfFrames") or 1) > 1 or "Enhanced" in sop_class.name
    if many and not (alone and is_enhanced(sop_class)):
        frames = header.get("NumberOfFrames") or 1
        message = f"{path} holds {frames} frames in one file: export the series as one slice a file"
        raise CaseError("MULTI_FRAME", message)
    if int(header.get("BitsAllocated") or 0) not in (8, 16, 32):
        bits = header.get("BitsAllocated")
        raise CaseError("UNSUPPORTED_PIXELS", f"{path} has {bits} bits a pixel: export it with 8, 16 or 32")
    if not is_picture(header) and int(header.get("SamplesPerPixel") or 1) > 1:
        raise CaseError("COLOUR", f"{path} is in colour: choose the series of the scan itself")


def _is_derived(name: str) -> bool:
    return any(word in name for word in _DERIVED_PIXELS)
