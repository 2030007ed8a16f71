"""One slice or picture with contours on it, from which overlays are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume

ABDOMEN_HU = (-125.0, 275.0)
PANEL_WIDTH = 360
TALLEST_PANEL = 720  # of a strip: a slice of 1 x 256 pixels would otherwise make a picture of 600 MB
LINE = 20  # pixels of a line of text
COLOURS = ("#ffd000", "#00d5ff", "#ff5a5a", "#7dff6b", "#d58cff", "#ff9d2e")
DASH = 5  # pixels of a reference's contour that are white, then as many black: it is seen on any grey


class Panel(NamedTuple):
    """One slice as it is shown: rows run down, columns to the right; aspect: the height of a pixel over its width.

    mask: the labels that are outlined in their colours; reference: those that are outlined in dashes below them.
    """

    picture: NDArray
    mask: NDArray
    title: str
    aspect: float
    reference: NDArray | None = None


def colours(names: Mapping[int, str]) -> dict[int, str]:
    """Label -> its colour; they begin again after the sixth."""
    return dict(zip(names, COLOURS * (len(names) // len(COLOURS) + 1), strict=False))


def as_read(volume: Volume) -> NDArray:
    """(rows, columns, slices) as a radiologist reads them: from below, the patient's right on the left, front on top.

    A picture is shown as it is, as its only slice: (rows, columns[, channels], 1).
    """
    if volume.spatial_dims == 2:
        return volume.array[..., np.newaxis]
    turned = canonical(volume).array  # x to the Right, y to Anterior, z to Superior
    return turned[::-1, ::-1].swapaxes(0, 1)


def pixel_aspect(volume: Volume) -> float:
    """The height of a pixel of `as_read` over its width."""
    if volume.spatial_dims == 2:
        return volume.spacing_mm[0] / volume.spacing_mm[1]
    spacing = canonical(volume).spacing_mm
    return spacing[1] / spacing[0]


def grey_window(shown: NDArray) -> tuple[float, float]:
    """What becomes black and white: soft tissue in Hounsfield units, else the ends save for 1 % on either side."""
    low, high = np.percentile(shown, (1, 99))
    return ABDOMEN_HU if low < ABDOMEN_HU[0] else (float(low), float(high))


def tile(panel: Panel, window: tuple[float, float], colours: Mapping[int, str]) -> Image.Image:
    """The panel, PANEL_WIDTH wide in true proportion; only a strip is narrower."""
    rows, columns = panel.mask.shape
    proportion = panel.aspect * rows / columns
    fitting = min(PANEL_WIDTH, TALLEST_PANEL / proportion)
    width, height = max(1, round(fitting)), max(1, round(fitting * proportion))
    low, high = window
    grey = (np.clip((panel.picture - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    pixels = np.array(Image.fromarray(grey).convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    # The nearest voxel under every pixel
    nearest = np.ix_(np.arange(height) * rows // height, np.arange(width) * columns // width)
    if panel.reference is not None:
        _dashed(pixels, _contour(panel.reference[nearest]))
    shown = panel.mask[nearest]
    edge = _contour(shown)
    for label, colour in colours.items():
        pixels[(shown == label) & edge] = ImageColor.getrgb(colour)
    return Image.fromarray(pixels)


def _contour(shown: NDArray) -> NDArray[np.bool_]:
    """The pixels of a label with another value above, below or beside."""
    around = np.pad(shown, 1, mode="constant")
    inner = np.ones(shown.shape, bool)
    for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        inner &= neighbour == shown
    return (shown != 0) & ~inner


def _dashed(pixels: NDArray[np.uint8], edge: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(edge)
    is_white = (rows + columns) // DASH % 2 == 0
    pixels[rows, columns] = np.where(is_white, 255, 0)[:, None]
