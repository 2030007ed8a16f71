"""The cases to look at first: where prediction and reference differ most, both outlined on the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file
from pipeline.report.panels import LINE, PANEL_WIDTH, Panel, as_read, colours, grey_window, pixel_aspect, tile

PANELS = 3
ROOM = 1.3  # of the outlined part, within which it is shown
FLATTEST = 0.65  # height of what is shown over its width
LEAST_MM = 40.0  # of what is shown: a finding of a few voxels needs its surroundings
GREY, WITHIN = 60, 130  # without an image: a background on which every colour and both dashes are seen, the reference


class Shown(NamedTuple):
    """A case to draw. The maps lie on one grid, and so does the image; None: the reference's area stands for it."""

    caption: str
    prediction: Volume
    reference: Volume
    image: Volume | None = None


def worst_cases(cases: Iterable[Shown], path: Path, *, names: Mapping[int, str]) -> None:
    """Write a PNG, a row of up to three slices a case: the prediction's labels in colours, the reference in dashes.

    The slices are those with the most voxels that differ in the lower, middle and upper third of what is labelled,
    cut to its surroundings. cases: in the order of the rows, read one by one; none: nothing is written. names: the
    labels to draw. CaseError: WRITE_FAILED.
    """
    chosen = colours(names)
    rows = [_row(case, chosen) for case in cases]
    if not rows:
        return
    sheet = Image.new("RGB", (PANELS * PANEL_WIDTH, LINE + sum(row.height for row in rows)))
    _headline(ImageDraw.Draw(sheet), {name: chosen[label] for label, name in names.items()})
    top = LINE
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    with whole_file(path) as temporary:
        sheet.save(temporary, format="PNG", compress_level=1)


def _row(case: Shown, chosen: Mapping[int, str]) -> Image.Image:
    prediction, reference = (_only(as_read(each), chosen) for each in (case.prediction, case.reference))
    scan = np.where(reference > 0, WITHIN, GREY) if case.image is None else as_read(case.image)
    aspect, width_mm = pixel_aspect(case.reference), _pixel_width_mm(case.reference)
    slices = _most_different(prediction, reference)
    outlined = np.any((prediction[..., slices] > 0) | (reference[..., slices] > 0), axis=-1)
    place = _surroundings(outlined, aspect, LEAST_MM / width_mm)
    pictures = [scan[place][..., k] for k in slices]
    window = (0.0, 255.0) if case.image is None else grey_window(np.stack(pictures))
    titles = [f"slice {k + 1} of {prediction.shape[-1]}" if prediction.shape[-1] > 1 else "" for k in slices]
    panels = [
        Panel(picture, prediction[place][..., k], title, aspect, reference[place][..., k])
        for picture, k, title in zip(pictures, slices, titles, strict=True)
    ]
    tiles = [tile(panel, window, chosen) for panel in panels]
    row = Image.new("RGB", (PANELS * PANEL_WIDTH, 2 * LINE + max(each.height for each in tiles)))
    write = ImageDraw.Draw(row)
    write.text((4, 3), case.caption, "white", ImageFont.load_default(13))
    for i, (panel, drawn) in enumerate(zip(panels, tiles, strict=True)):
        write.text((i * PANEL_WIDTH + 4, LINE + 2), panel.title, "#999999", ImageFont.load_default(11))
        row.paste(drawn, (i * PANEL_WIDTH, 2 * LINE))
    return row


def _only(labels: NDArray, wanted: Mapping[int, str]) -> NDArray:
    return np.where(np.isin(labels, list(wanted)), labels, 0)


def _most_different(prediction: NDArray, reference: NDArray) -> list[int]:
    """One slice of each third of the labelled ones, the middle one where nothing is labelled."""
    labelled = np.flatnonzero(((prediction > 0) | (reference > 0)).any(axis=(0, 1)))
    if not labelled.size:
        return [prediction.shape[-1] // 2]
    differing = np.count_nonzero(prediction != reference, axis=(0, 1))
    thirds = np.array_split(labelled, min(PANELS, labelled.size))
    return [int(third[differing[third].argmax()]) for third in thirds]


def _surroundings(outlined: NDArray, aspect: float, least: float) -> tuple[slice, slice]:
    """Rows and columns about what is outlined, moved or cut to lie inside; least: how many columns."""
    if not outlined.any():
        return slice(None), slice(None)
    ends = [(found[0], found[-1] + 1) for found in (np.flatnonzero(outlined.any(axis=axis)) for axis in (1, 0))]
    (top, bottom), (left, right) = ends
    height = ROOM * (bottom - top) * aspect  # in widths of a pixel
    width = max(ROOM * (right - left), least, height)
    down = round(max(height, FLATTEST * width) / aspect)
    return _inside((top, bottom), down, outlined.shape[0]), _inside((left, right), round(width), outlined.shape[1])


def _inside(ends: tuple[int, int], size: int, length: int) -> slice:
    size = min(size, length)
    start = min(max(0, (ends[0] + ends[1] - size) // 2), length - size)
    return slice(start, start + size)


def _pixel_width_mm(volume: Volume) -> float:
    """Of a picture as it is shown; a pixel of unknown size counts as one."""
    return volume.spacing_mm[1] if volume.spatial_dims == 2 else min(volume.spacing_mm)


def _headline(write: ImageDraw.ImageDraw, names: Mapping[str, str]) -> None:
    font = ImageFont.load_default(12)
    left = 4.0
    words = [("prediction:", "white"), *names.items(), ("reference: dashed", "white")]
    for word, colour in words:
        write.text((left, 3), word, colour, font)
        left += write.textlength(word, font) + 14
