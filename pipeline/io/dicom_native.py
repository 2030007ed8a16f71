"""Pixels that lie in a DICOM file as they are: one uncompressed grey frame, read straight into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.dicom_header import EXPLICIT, IMPLICIT, PlainHeader, stamp_of
from pipeline.io.refusals import truncated

if TYPE_CHECKING:
    from pipeline.io.dicom_header import Header

_GREY = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True, slots=True)
class NativePixels:
    """Where and how the pixels lie in the file. unused_bits: of each pixel, above the value. stamp: of the file."""

    dtype: np.dtype
    offset: int
    unused_bits: int
    stamp: tuple[int, int]


def native_pixels(header: Header) -> NativePixels | None:
    """None where pydicom must decode the pixels, or say what is wrong with them."""
    if not isinstance(header, PlainHeader) or header.syntax not in (IMPLICIT, EXPLICIT) or header.pixels is None:
        return None
    rows, columns, allocated, stored, signed = (
        header.get(key) for key in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    )
    if not (rows and columns and allocated in (8, 16, 32) and stored and stored <= allocated and signed in (0, 1)):
        return None
    offset, length = header.pixels
    is_whole = rows * columns * allocated // 8 <= length and offset + length <= header.stamp[0]
    is_grey_frame = (
        header.get("SamplesPerPixel") == 1
        and header.get("PhotometricInterpretation") in _GREY
        and header.get("NumberOfFrames") in (None, "1")
        and "ModalityLUTSequence" not in header
    )
    if not (is_whole and is_grey_frame):
        return None
    return NativePixels(
        np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}"), offset, allocated - stored, header.stamp
    )


def read_native(path: Path, pixels: NativePixels, into: NDArray) -> None:
    """The stored values into `into`: (rows, columns), contiguous, of the type of `pixels`.

    CaseError: UNREADABLE where it is not the file any more whose header was read, TRUNCATED. OSError.
    """
    with path.open("rb") as file:
        if stamp_of(file) != pixels.stamp:
            raise CaseError("UNREADABLE", f"{path} was changed while it was read: try again when nobody writes to it")
        file.seek(pixels.offset)
        if file.readinto(into.data) < into.nbytes:
            raise truncated(path, "its pixels end early")
    if pixels.unused_bits:  # what is in them is no part of the value
        np.left_shift(into, pixels.unused_bits, out=into)
        np.right_shift(into, pixels.unused_bits, out=into)
