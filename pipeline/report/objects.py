"""Every object outlined in a colour of its own kind over the picture, pixel for pixel: counted by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from pipeline.io.channels import unit_values, with_channels
from pipeline.io.volume import Volume
from pipeline.report.panels import COLOURS, contour, sheet, write_png

SMALLEST = 512  # pixels of the longer side that a picture is enlarged to, by a whole number


def objects_overlay(image: Volume, objects: Volume, path: Path, *, name: str) -> None:
    """Write a PNG of the outlines of `objects` (rows, columns) over `image`, stretched from its 1st to 99th percentile.

    Small pictures are enlarged so that outlines one pixel wide leave something to see. CaseError: WRITE_FAILED.
    """
    values = with_channels(unit_values(image.array), 3)
    low, high = np.percentile(values, (1, 99))
    shown = (np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    times = max(1, round(SMALLEST / max(shown.shape[:2])))
    shown = shown.repeat(times, axis=0).repeat(times, axis=1)
    numbers = objects.array.repeat(times, axis=0).repeat(times, axis=1)
    edge = contour(numbers)
    palette = np.array([ImageColor.getrgb(colour) for colour in COLOURS], np.uint8)
    shown[edge] = palette[numbers[edge] % len(palette)]
    n = int(np.count_nonzero(np.bincount(objects.array.ravel())[1:]))
    write_png(sheet([Image.fromarray(shown)], [(f"{name}: {n}", "white")]), path)
