"""What is done to every picture: turned into the dataset's channels and, with a size, stretched to a square.

Stretched, not padded: every pixel of the square is picture, so that accuracy and false areas are not diluted by a
frame, and a label goes back to the picture's own size by the same two scales.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.picture_layout import Picture, PictureSet
from data_prep.picture_read import above, read_channels
from pipeline.errors import CaseError
from pipeline.io.resample import resize


@dataclass(frozen=True, eq=False)
class PictureExample:
    """One prepared picture.

    image: uint8, (rows, columns) or (rows, columns, 3). label: uint8, or uint16 for instance ids, (rows, columns).
    """

    image: NDArray[np.uint8]
    label: NDArray[np.unsignedinteger]
    source_shape: tuple[int, int]
    pixels: str
    """A hash of the whole picture before it was resized: equal for pictures that are the same pixel for pixel."""


def example(
    dataset: PictureSet, picture: Picture, size: int | None, *, threshold: float | None = None
) -> PictureExample:
    """Read and prepare one picture; size: side of the square in pixels, None keeps the picture's own.

    threshold: share of a mask's range above which it is the object; None leaves that to the dataset.

    CaseError GRID_MISMATCH, BAD_LABELS, and whatever reading a file may raise.
    """
    image = read_channels(picture.image, dataset.channels)
    label = dataset.read_label(picture) if threshold is None else above(picture, threshold)
    shape = (image.shape[0], image.shape[1])
    if shape != label.shape:
        raise CaseError(
            "GRID_MISMATCH",
            f"{picture.image.name} has {shape} pixels (rows, columns) and its mask {label.shape}: "
            "they must have one size",
        )
    pixels = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    if size is not None:
        image = np.rint(resize(image, (size, size), axes=(0, 1))).astype(np.uint8)
        label = nearest(label, size)
    return PictureExample(image, label, shape, pixels)


def nearest(label: NDArray, size: int) -> NDArray:
    """(rows, columns) -> (size, size): each pixel takes the label at its centre."""
    rows, columns = (((np.arange(size) + 0.5) * n / size).astype(np.intp) for n in label.shape)
    return label[np.ix_(rows, columns)]
