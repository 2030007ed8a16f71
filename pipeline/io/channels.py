"""What a picture's numbers mean to a network: values from 0 to 1, in one channel of grey or three of colour.

8 bits are divided by 255. Anything deeper (12 bits in 16, whole or fractional numbers) is stretched from the picture's
own smallest value to its largest, over all channels at once: such files do not say which values are black and white.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow turns colour into grey
COMPRESSION = 32 / 255  # the channels of a grey picture differ by less than this after JPEG; true colours by more


def unit_values(picture: NDArray) -> NDArray[np.float32]:
    """The values of a picture as 0 ... 1 by the rule of this module; a deep picture of one value is all 0."""
    if picture.dtype == np.uint8:
        return np.divide(picture, 255, dtype=np.float32)
    low, high = float(picture.min()), float(picture.max())
    if high == low:
        return np.zeros(picture.shape, np.float32)
    return ((picture.astype(np.float64) - low) / (high - low)).astype(np.float32)


def with_channels(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """(rows, columns[, any]) -> (rows, columns, channels), 1 or 3; alpha (a 2nd or a 4th channel) is dropped.

    Colour becomes its luminance where one channel is due; grey is repeated where three are.
    ValueError: another number of channels is asked for, or given.
    """
    given = _opaque(values)
    if channels not in (1, 3) or given.shape[2] not in (1, 3):
        raise ValueError(f"a picture of shape {values.shape} cannot have {channels} channels: 1 and 3 are known")
    if given.shape[2] == channels:
        return given
    return (given @ LUMA)[:, :, None] if channels == 1 else np.repeat(given, 3, axis=2)


def is_coloured(values: NDArray[np.float32]) -> bool:
    """Whether a picture of 0 ... 1 shows colours: a screenshot of greys may be stored as RGB and shows none."""
    given = _opaque(values)
    return bool((given.max(axis=2) - given.min(axis=2)).max() >= COMPRESSION)


def _opaque(values: NDArray[np.float32]) -> NDArray[np.float32]:
    given = values[:, :, None] if values.ndim == 2 else values
    return given[:, :, :-1] if given.shape[2] in (2, 4) else given
