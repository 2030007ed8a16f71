"""Reading one picture and its masks: what a file's bits, channels and noise mean is decided here, once.

Image: 8 bit, grey or colour as the dataset says; deeper ones are stretched from their own smallest to largest value.
Mask: grey (also stored as RGB, with alpha, or as JPEG with its noise); a mask in several colours is refused.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from isal import igzip
from numpy.typing import NDArray
from PIL import Image

from data_prep.picture_layout import COLOUR, Picture
from pipeline.errors import CaseError
from pipeline.io.channels import LUMA
from pipeline.io.image2d import read_image
from pipeline.io.pixels import as_labels, has_grey_levels
from pipeline.io.refusals import reading

logger = logging.getLogger(__name__)

JPEG_NOISE = 32  # a grey picture's channels differ by less than this after JPEG; real colours by more


def require_picture(picture: Picture) -> None:
    """CaseError MISSING_FILE naming every expected file that is not there."""
    missing = [f"{path.parent.name}/{path.name}" for path in (picture.image, *picture.masks) if not path.is_file()]
    if missing:
        way_out = "add what is missing or remove the case"
        raise CaseError("MISSING_FILE", f"{picture.id} lacks {', '.join(missing)}: {way_out}")


def read_pixels(path: Path) -> NDArray:
    """(rows, columns) or (rows, columns, 3) as stored: io/image2d.py, and PPM and PGM, which may be gzipped."""
    if not path.name.lower().endswith((".gz", ".ppm", ".pgm")):
        return read_image(path).array
    with reading(path):
        content = path.read_bytes()
        plain = igzip.decompress(content) if path.suffix.lower() == ".gz" else content
        with Image.open(io.BytesIO(plain), formats=["PPM"]) as image:
            return np.array(image)


def read_channels(path: Path, channels: tuple[str, ...]) -> NDArray[np.uint8]:
    """The picture in the dataset's channels: (rows, columns) for GREY, (rows, columns, 3) for COLOUR."""
    array = read_pixels(path)
    if array.dtype != np.uint8:
        logger.info("%s: %s values are stretched to 0..255 from their own range", path.name, array.dtype)
        low, high = float(array.min()), float(array.max())
        array = np.rint((array.astype(np.float64) - low) * (255 / max(high - low, 1e-30))).astype(np.uint8)
    if channels == COLOUR:
        return array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2)
    return array if array.ndim == 2 else np.rint(array @ LUMA).astype(np.uint8)


def read_grey_mask(path: Path) -> NDArray:
    """(rows, columns); CaseError BAD_LABELS where channels differ: nobody has said which colour means what."""
    array = read_pixels(path)
    if array.ndim == 2:
        return array
    if int((array.max(axis=2).astype(int) - array.min(axis=2)).max()) >= JPEG_NOISE:
        raise CaseError("BAD_LABELS", f"{path} is a mask in colours: store it with one grey value per label")
    return array[:, :, 0]


def foreground(path: Path) -> NDArray[np.bool_]:
    """Where a binary mask is set: from half of its range (128 of 255) on, above 0 if it holds 0 and 1 only."""
    mask = read_grey_mask(path)
    top = mask.max(initial=0)
    if top <= 1 and path.suffix.lower() not in (".jpg", ".jpeg"):  # a 1 in a JPEG is the noise of an empty mask
        return mask > 0
    return mask >= (128 if top <= 255 else 32768)


def union(picture: Picture) -> NDArray[np.uint8]:
    """1 where any of the masks is set, each of which marks one part of the object."""
    masks = _stack(picture)
    return np.logical_or.reduce(masks).astype(np.uint8)


def clear_cut(picture: Picture) -> NDArray[np.uint8]:
    """`union` of masks without grey levels; CaseError GREY_MASK where a threshold would decide what the object is."""
    for path in picture.masks:
        if has_grey_levels(_shares(path)):
            way_out = "say by --threshold above which share of the range it is the object (0 or 0.5 in the papers)"
            raise CaseError("GREY_MASK", f"{path} has grey levels: {way_out}")
    return union(picture)


def above(picture: Picture, threshold: float) -> NDArray[np.uint8]:
    """1 where the mask lies above `threshold`, a share of its range."""
    (path,) = picture.masks
    return (_shares(path) > threshold).astype(np.uint8)


def instances_by_file(picture: Picture) -> NDArray[np.uint16]:
    """The k-th mask's pixels get the id k; a pixel in two masks belongs to the later one."""
    masks = _stack(picture)
    ids = np.zeros(masks[0].shape, np.uint16)
    for id, mask in enumerate(masks, start=1):
        ids[mask] = id
    return ids


def instances_by_value(picture: Picture) -> NDArray[np.uint16]:
    """A map that holds the ids themselves. CaseError BAD_LABELS: fractions, or ids above 65535."""
    (path,) = picture.masks
    try:
        ids = as_labels(read_grey_mask(path))
    except ValueError as error:
        raise CaseError("BAD_LABELS", f"{path}: {error}") from error
    if ids.max(initial=0) > np.iinfo(np.uint16).max:
        raise CaseError("BAD_LABELS", f"{path} has the id {ids.max()}, ids go up to 65535: renumber them")
    return ids.astype(np.uint16)


def classes_by_value(picture: Picture, values: Mapping[int, int]) -> NDArray[np.uint8]:
    """The label of each pixel by `values`, grey value -> label. CaseError BAD_LABELS: a value that is not in them."""
    (path,) = picture.masks
    mask = read_grey_mask(path)
    stray = sorted(set(np.unique(mask).tolist()) - {0, *values})
    if stray:
        raise CaseError(
            "BAD_LABELS", f"{path} has the values {stray[:5]}, known are 0, {sorted(values)}: clean the mask"
        )
    out = np.zeros(mask.shape, np.uint8)
    for value, label in values.items():
        out[mask == value] = label
    return out


def _shares(path: Path) -> NDArray[np.float64]:
    """A mask as shares of its range: 255 or, with 16 bits, 65535; 1 where it holds nothing but 0 and 1."""
    mask = read_grey_mask(path)
    top = mask.max(initial=0)
    return mask / (1 if top <= 1 else 255 if top <= 255 else 65535)


def _stack(picture: Picture) -> list[NDArray[np.bool_]]:
    masks = [foreground(path) for path in picture.masks]
    for path, mask in zip(picture.masks, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise CaseError(
                "GRID_MISMATCH",
                f"{path.name} has {mask.shape} pixels and {picture.masks[0].name} {masks[0].shape}: "
                "masks of one picture must have one size",
            )
    return masks
