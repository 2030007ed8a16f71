"""A picture to look at: the labels' contours over the image, so that a person sees at once whether they make sense."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file
from pipeline.metrics.overlap import label_counts

ABDOMEN_HU = (-125.0, 275.0)
PANELS = 6
COLUMNS = 3
PANEL_WIDTH = 360
TALLEST_PANEL = 720  # of a strip: a slice of 1 x 256 pixels would otherwise make a picture of 600 MB
LINE = 20  # pixels of a line of text
COLOURS = ("#ffd000", "#00d5ff", "#ff5a5a", "#7dff6b", "#d58cff", "#ff9d2e")


class Panel(NamedTuple):
    """One slice as it is shown: rows run down, columns to the right; aspect: the height of a pixel over its width."""

    picture: NDArray
    mask: NDArray
    title: str
    aspect: float


def overlay(
    image: Volume,
    labels: Volume,
    path: Path,
    *,
    names: Mapping[int, str],
    window: tuple[float, float] | None = None,
) -> None:
    """Write a PNG of the contours of `names`' labels over up to six slices, or over the image if it is one.

    A volume is shown slice by slice as a radiologist reads it: seen from the feet, the patient's right on the left of
    the picture, anterior on top, in true proportion. The slices are spread over the labelled part, or over the middle
    half where nothing was found; the headline says so. window: the grey values that become black and white; None: soft
    tissue for a volume in Hounsfield units, else the darkest and brightest value shown, save for 1 % on either side.
    CaseError: WRITE_FAILED.
    """
    panels = _slices(image, labels) if image.spatial_dims == 3 else [_image(image, labels)]
    low, high = window or _window(np.stack([panel.picture for panel in panels]))
    colours = dict(zip(names, COLOURS * (len(names) // len(COLOURS) + 1), strict=False))
    tiles = [_tile(panel, (low, high), colours) for panel in panels]
    height, columns = tiles[0].height, min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * PANEL_WIDTH, LINE + rows * (height + LINE)))
    write = ImageDraw.Draw(sheet)
    _headline(write, labels, names, colours)
    for i, (panel, tile) in enumerate(zip(panels, tiles, strict=True)):
        left, top = i % columns * PANEL_WIDTH, LINE + i // columns * (height + LINE)
        write.text((left + 4, top + 3), panel.title, "white", ImageFont.load_default(11))
        sheet.paste(tile, (left, top + LINE))
    with whole_file(path) as temporary:
        sheet.save(temporary, format="PNG", compress_level=1)


def _image(image: Volume, labels: Volume) -> Panel:
    return Panel(image.array, labels.array, "", image.spacing_mm[0] / image.spacing_mm[1])


def _slices(image: Volume, labels: Volume) -> list[Panel]:
    turned = canonical(image)
    scan, mask = turned.array, canonical(labels).array  # x to the Right, y to Anterior, z to Superior
    found = np.flatnonzero(mask.any(axis=(0, 1)))
    last = scan.shape[2] - 1
    first, final = (found[0], found[-1]) if found.size else (last // 4, last - last // 4)
    scan, mask = scan[::-1, ::-1].swapaxes(0, 1), mask[::-1, ::-1].swapaxes(0, 1)
    chosen = np.unique(np.linspace(first, final, PANELS).round().astype(int))
    titles = (f"slice {k + 1} of {last + 1}, from below" for k in chosen)
    aspect = turned.spacing_mm[1] / turned.spacing_mm[0]
    return [Panel(scan[..., k], mask[..., k], title, aspect) for k, title in zip(chosen, titles, strict=True)]


def _window(shown: NDArray) -> tuple[float, float]:
    low, high = np.percentile(shown, (1, 99))
    return ABDOMEN_HU if low < ABDOMEN_HU[0] else (float(low), float(high))


def _tile(panel: Panel, window: tuple[float, float], colours: Mapping[int, str]) -> Image.Image:
    rows, columns = panel.mask.shape
    proportion = panel.aspect * rows / columns
    fitting = min(PANEL_WIDTH, TALLEST_PANEL / proportion)
    width, height = max(1, round(fitting)), max(1, round(fitting * proportion))
    low, high = window
    grey = (np.clip((panel.picture - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    pixels = np.array(Image.fromarray(grey).convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    # The nearest voxel under every pixel; a contour pixel is one of a label with another value above, below or beside.
    down = np.arange(height) * rows // height
    across = np.arange(width) * columns // width
    shown = panel.mask[np.ix_(down, across)]
    around = np.pad(shown, 1, mode="constant")
    inner = np.ones(shown.shape, bool)
    for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        inner &= neighbour == shown
    for label, colour in colours.items():
        pixels[(shown == label) & ~inner] = ImageColor.getrgb(colour)
    return Image.fromarray(pixels)


def _headline(write: ImageDraw.ImageDraw, labels: Volume, names: Mapping[int, str], colours: Mapping[int, str]) -> None:
    font = ImageFont.load_default(12)
    present = np.flatnonzero(label_counts(labels.array))
    words = [(name, colours[label]) for label, name in names.items() if label in present]
    words = words or [(f"nothing found ({', '.join(names.values())})", "white")]
    if labels.spatial_dims == 3:
        words.append(("patient's right on the left, anterior on top", "#999999"))
    left = 4.0
    for word, colour in words:
        write.text((left, 2), word, colour, font)
        left += write.textlength(word, font) + 14
