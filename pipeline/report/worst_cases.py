"""The cases to look at first: where prediction and reference differ most, both outlined on the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.io.volume import Volume
from pipeline.report.framing import SLICES, most_different, surroundings
from pipeline.report.panels import (
    LINE,
    PANEL_WIDTH,
    Panel,
    as_read,
    colours,
    grey_window,
    pixel_aspect,
    sheet,
    strip,
    write_png,
)

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
    words = [("prediction:", "white"), *((name, chosen[label]) for label, name in names.items())]
    write_png(sheet(rows, [*words, ("reference: dashed", "white")]), path)


def _row(case: Shown, chosen: Mapping[int, str]) -> Image.Image:
    prediction, reference = (_only(as_read(each), chosen) for each in (case.prediction, case.reference))
    scan = np.where(reference > 0, WITHIN, GREY) if case.image is None else as_read(case.image)
    slices = most_different(prediction, reference)
    outlined = np.any((prediction[..., slices] > 0) | (reference[..., slices] > 0), axis=-1)
    place = surroundings(outlined, case.reference)
    pictures = [scan[place][..., k] for k in slices]
    window = (0.0, 255.0) if case.image is None else grey_window(np.stack(pictures))
    titles = [f"slice {k + 1} of {prediction.shape[-1]}" if prediction.shape[-1] > 1 else "" for k in slices]
    aspect = pixel_aspect(case.reference)
    panels = [
        Panel(picture, prediction[place][..., k], title, aspect, reference[place][..., k])
        for picture, k, title in zip(pictures, slices, titles, strict=True)
    ]
    drawn = strip(panels, window, chosen)
    row = Image.new("RGB", (SLICES * PANEL_WIDTH, LINE + drawn.height))
    ImageDraw.Draw(row).text((4, 3), case.caption, "white", ImageFont.load_default(13))
    row.paste(drawn, (0, LINE))
    return row


def _only(labels: NDArray, wanted: Mapping[int, str]) -> NDArray:
    return np.where(np.isin(labels, list(wanted)), labels, 0)
