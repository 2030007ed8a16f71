"""A picture to look at: the labels' contours over the image, so that a person sees at once whether they make sense."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.io.volume import Volume
from pipeline.metrics.overlap import label_counts
from pipeline.report.panels import (
    HOW_IT_LIES,
    Panel,
    as_read,
    colours,
    grey_window,
    pixel_aspect,
    sheet,
    strip,
    write_png,
)

PANELS = 6
COLUMNS = 3


def overlay(
    image: Volume,
    labels: Volume,
    path: Path,
    *,
    names: Mapping[int, str],
    window: tuple[float, float] | None = None,
    initial: Volume | None = None,
) -> None:
    """Write a PNG of the contours of `names`' labels over up to six slices, or over the image if it is one.

    A volume is shown slice by slice as a radiologist reads it: seen from the feet, the patient's right on the left of
    the picture, anterior on top, in true proportion. The slices are spread over the labelled part, or over the middle
    half where nothing was found; the headline says so. window: the grey values that become black and white; None: soft
    tissue for a volume in Hounsfield units, else the darkest and brightest value shown, save for 1 % on either side.
    initial: a mask that the labels began with, outlined in dashes. CaseError: WRITE_FAILED.
    """
    panels = _slices(image, labels, initial) if image.spatial_dims == 3 else [_image(image, labels)]
    window = window or grey_window(np.stack([panel.picture for panel in panels]))
    chosen = colours(names)
    rows = [strip(panels[i : i + COLUMNS], window, chosen) for i in range(0, len(panels), COLUMNS)]
    words = _words(labels, names, chosen)
    if initial is not None:
        words.insert(-1, ("start: dashed", "white"))
    write_png(sheet(rows, words), path)


def _image(image: Volume, labels: Volume) -> Panel:
    return Panel(image.array, labels.array, "", pixel_aspect(image))


def _slices(image: Volume, labels: Volume, initial: Volume | None) -> list[Panel]:
    scan, mask = as_read(image), as_read(labels)
    before = as_read(initial) if initial is not None else np.zeros_like(mask)
    found = np.flatnonzero((mask | before).any(axis=(0, 1)))
    last = scan.shape[2] - 1
    first, final = (found[0], found[-1]) if found.size else (last // 4, last - last // 4)
    chosen = np.unique(np.linspace(first, final, PANELS).round().astype(int))
    titles = (f"slice {k + 1} of {last + 1}, from below" for k in chosen)
    aspect = pixel_aspect(image)
    return [
        Panel(scan[..., k], mask[..., k], title, aspect, before[..., k])
        for k, title in zip(chosen, titles, strict=True)
    ]


def _words(labels: Volume, names: Mapping[int, str], colours: Mapping[int, str]) -> list[tuple[str, str]]:
    present = np.flatnonzero(label_counts(labels.array))
    words = [(name, colours[label]) for label, name in names.items() if label in present]
    words = words or [(f"nothing found ({', '.join(names.values())})", "white")]
    return [*words, HOW_IT_LIES] if labels.spatial_dims == 3 else words
