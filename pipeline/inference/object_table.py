"""objects.csv: a row for every object of every case of a batch, to be opened in a spreadsheet.

Rows are added when their case is done, before cases.csv says so: a run killed at any moment leaves rows of cases that
are done, and at most some of one that is not, which the next run drops.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.channels import LUMA
from pipeline.io.volume import Volume
from pipeline.io.whole_file import write_text
from pipeline.metrics.shapes import shapes

OBJECTS_FILE = "objects.csv"
COLUMNS = ("case", "label", "area_px", "centroid_x", "centroid_y", "eccentricity", "mean_intensity")


def begin(path: Path, *, keep: Collection[str]) -> None:
    """Write the table anew with the rows of the cases in `keep` that it has. CaseError: WRITE_FAILED."""
    rows = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].removeprefix("'") in keep]
    write_text(path, _text([list(COLUMNS), *rows]))


def add(path: Path, case: str, objects: Volume, image: Volume) -> None:
    """Append the objects of one case. mean_intensity: of the image's own values, of colours their luminance.

    CaseError: WRITE_FAILED.
    """
    found = shapes(objects.array, _grey(image.array))
    name = f"'{case}" if case[:1] in "=+-@'" else case  # as io/table.py: no cell begins as a formula does
    numbers = zip(
        found.labels.tolist(),
        found.area_px.tolist(),
        *(
            [f"{value:.6g}" for value in column]
            for column in (found.centroid_x, found.centroid_y, found.eccentricity, found.mean_intensity)
        ),
        strict=True,
    )
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(_text([[name, *each] for each in numbers]))
    except OSError as error:
        raise CaseError("WRITE_FAILED", f"{path}: {error}: free some space or check the permissions") from error


def _grey(picture: NDArray) -> NDArray:
    return picture if picture.ndim == 2 else picture[..., :3].astype(np.float32) @ LUMA


def _text(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
