"""One slice or picture with contours on it, from which overlays are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

ABDOMEN_HU = (-125.0, 275.0)
PANEL_WIDTH = 360
TALLEST_PANEL = 720  # of a strip: a slice of 1 x 256 pixels would otherwise make a picture of 600 MB
LINE = 20  # pixels of a line of text
DIM = "#999999"
HOW_IT_LIES = ("patient's right on the left, anterior on top", DIM)
COLOURS = ("#ffd000", "#00d5ff", "#ff5a5a", "#7dff6b", "#d58cff", "#ff9d2e")
DASH = 8  # pixels along a row of a reference's contour that are white, then as many black: it is seen on any grey


class Panel(NamedTuple):
    """One slice as it is shown: rows run down, columns to the right.

    mask: the labels that are outlined in their colours; reference: those that are outlined in dashes below them. Both
        have one shape, which may be finer than the picture's. aspect: the height of their pixels over the width.
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


def tile_shape(rows: int, columns: int, aspect: float) -> tuple[int, int]:
    """Height and width of the tile in which so many pixels of this aspect are shown."""
    proportion = aspect * rows / columns
    fitting = min(PANEL_WIDTH, TALLEST_PANEL / proportion)
    return max(1, round(fitting * proportion)), max(1, round(fitting))


def tile(panel: Panel, window: tuple[float, float], colours: Mapping[int, str]) -> Image.Image:
    """The panel, PANEL_WIDTH wide in true proportion; only a strip is narrower."""
    rows, columns = panel.mask.shape
    height, width = tile_shape(rows, columns, panel.aspect)
    low, high = window
    grey = (np.clip((panel.picture - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    pixels = np.array(Image.fromarray(grey).convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    # The nearest voxel under every pixel
    nearest = np.ix_(np.arange(height) * rows // height, np.arange(width) * columns // width)
    if panel.reference is not None:
        _dashed(pixels, contour(panel.reference[nearest]))
    shown = panel.mask[nearest]
    edge = contour(shown)
    for label, colour in colours.items():
        pixels[(shown == label) & edge] = ImageColor.getrgb(colour)
    return Image.fromarray(pixels)


def strip(panels: Sequence[Panel], window: tuple[float, float], colours: Mapping[int, str]) -> Image.Image:
    """The panels side by side, their titles above."""
    tiles = [tile(panel, window, colours) for panel in panels]
    row = Image.new("RGB", (len(tiles) * PANEL_WIDTH, LINE + max(drawn.height for drawn in tiles)))
    write = ImageDraw.Draw(row)
    for i, (panel, drawn) in enumerate(zip(panels, tiles, strict=True)):
        write.text((i * PANEL_WIDTH + 4, 3), panel.title, DIM, ImageFont.load_default(11))
        row.paste(drawn, (i * PANEL_WIDTH, LINE))
    return row


def sheet(rows: Sequence[Image.Image], words: Iterable[tuple[str, str]]) -> Image.Image:
    """The rows one below the other, under a headline of `words` in their colours."""
    whole = Image.new("RGB", (max(row.width for row in rows), LINE + sum(row.height for row in rows)))
    write, font = ImageDraw.Draw(whole), ImageFont.load_default(12)
    left, top = 4.0, LINE
    for word, colour in words:
        write.text((left, 3), word, colour, font)
        left += write.textlength(word, font) + 14
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    return whole


def write_png(picture: Image.Image, path: Path) -> None:
    """Whole or not at all. CaseError: WRITE_FAILED."""
    with whole_file(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=1)


def contour(shown: NDArray) -> NDArray[np.bool_]:
    """The pixels of a label with another value above, below or beside."""
    around = np.pad(shown, 1, mode="constant")
    inner = np.ones(shown.shape, bool)
    for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        inner &= neighbour == shown
    return (shown != 0) & ~inner


def _dashed(pixels: NDArray[np.uint8], edge: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(edge)
    # Not rows + columns, which is one value along a whole diagonal
    is_white = (2 * rows + columns) // DASH % 2 == 0
    pixels[rows, columns] = np.where(is_white, 255, 0)[:, None]
