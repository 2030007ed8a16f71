"""Pictures (PNG, JPEG, TIFF, BMP) through Pillow, on the file's own pixel grid, and masks as PNG.

An EXIF orientation is not applied: a mask has to match the stored pixels, index for index. The mask carries the same
orientation tag, so viewers turn both alike.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline.errors import CaseError
from pipeline.io.pixels import check_finite
from pipeline.io.refusals import reading, truncated
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

logger = logging.getLogger(__name__)

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY_MODES = ("L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = ExifTags.Base.Orientation


def read_image(path: Path) -> Volume:
    """Read one picture.

    array: (rows, columns) for grey values, uint8, uint16 (16-bit stays 16-bit), int32 or float32; (rows, columns, 3)
        uint8 for colour. A palette is resolved (to grey if all its entries are grey), alpha is dropped with a log line.
    affine: the (3, 3) identity: the unit is the pixel, for pictures have no reliable millimetres.
    CaseError: UNREADABLE, TRUNCATED, NOT_3D (several pages), NON_FINITE, OUT_OF_MEMORY (a decompression bomb).
    """
    with reading(path):
        try:
            with Image.open(path, formats=_FORMATS) as image:
                _refuse_pages(image, path)
                array = _pixels(image, path)
        except Image.DecompressionBombError as error:
            raise CaseError("OUT_OF_MEMORY", f"{path} is too large a picture ({error}): cut it into parts") from error
        except UnidentifiedImageError as error:
            raise CaseError("UNREADABLE", f"{path} is none of {', '.join(_FORMATS)}: export it again") from error
        except (OSError, SyntaxError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise truncated(path, str(error)) from error
    check_finite(array, path)
    return Volume(array, np.eye(3))


def write_image(path: Path, labels: Volume, *, source: Path | None = None) -> None:
    """Write a (rows, columns) label map of uint8 or uint16 as a grey PNG, whole or not at all.

    With the picture `source` that it belongs to, the mask has that picture's EXIF orientation.
    ValueError: not two-dimensional, or of another type. CaseError: WRITE_FAILED, or `source` cannot be read.
    """
    if labels.array.ndim != 2 or labels.array.dtype not in (np.uint8, np.uint16):
        given = f"{labels.array.shape} of {labels.array.dtype}"
        raise ValueError(f"{path}: a mask is (rows, columns) of uint8 or uint16, not {given}: write volumes as .nii.gz")
    exif = Image.Exif()
    if source is not None:
        with reading(source), Image.open(source, formats=_FORMATS) as image:
            if image.size[::-1] != labels.array.shape:
                raise ValueError(
                    f"labels of {labels.array.shape} do not lie on the {image.size[::-1]} pixels of {source}"
                )
            if turn := image.getexif().get(_ORIENTATION):
                exif[_ORIENTATION] = turn
    with whole_file(path) as part:
        Image.fromarray(labels.array).save(part, format="PNG", exif=exif if len(exif) else None)


def _refuse_pages(image: Image.Image, path: Path) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format in ("TIFF", "PNG"):  # a phone's JPEG may hold a preview as its second picture
        raise CaseError("NOT_3D", f"{path} holds {pages} pictures: save each in a file of its own, or as a volume")


def _pixels(image: Image.Image, path: Path) -> NDArray:
    if image.getexif().get(_ORIENTATION, 1) != 1:
        logger.info("%s is shown turned (EXIF): labels are for its pixels as they are stored", path)
    if image.has_transparency_data:
        logger.info("%s: its transparency is dropped", path)
    array = np.asarray(image if image.mode in _GREY_MODES else image.convert(_plain_mode(image)))
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        return array.astype(np.uint16)
    return np.array(array, dtype=array.dtype.newbyteorder("="))


def _plain_mode(image: Image.Image) -> str:
    """The mode without palette and alpha: L or RGB."""
    if image.mode in ("1", "LA", "La"):
        return "L"
    if image.mode in ("P", "PA") and image.palette is not None:
        colours = np.frombuffer(bytes(image.palette.getdata()[1]), np.uint8)
        entries = colours.reshape(-1, len(image.palette.mode))[:, :3]
        return "L" if (entries == entries[:, :1]).all() else "RGB"
    return "RGB"
