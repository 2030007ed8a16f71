"""objects.csv: a row for every object of every case of a batch, to be opened in a spreadsheet.

Rows are added when their case is done, before the record says so: a run killed at any moment leaves rows of cases that
are done, and at most some of one that is not, which the next run drops. At the end they are put in order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.io.channels import LUMA
from pipeline.io.volume import Volume
from pipeline.io.whole_file import append_text, write_text
from pipeline.metrics.shapes import shapes

OBJECTS_FILE = "objects.csv"
COLUMNS = ("case", "label", "area_px", "centroid_x", "centroid_y", "eccentricity", "mean_intensity", "touches_border")
Row = Sequence[str | int]


def read(path: Path, *, keep: Collection[str]) -> dict[str, list[Row]]:
    """Case -> its rows, of the cases in `keep` that the table has; {} where there is none.

    Columns that a table of an earlier version lacks are empty.
    """
    found: dict[str, list[Row]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.reader(file)
            width = len(next(table, ()))
            for row in table:
                if len(row) == width and (case := row[0].removeprefix("'")) in keep:
                    found.setdefault(case, []).append([*row, *[""] * (len(COLUMNS) - width)])
    return found


def write(path: Path, cases: Mapping[str, Iterable[Row]]) -> None:
    """Write the table anew, in the order of the cases. CaseError: WRITE_FAILED."""
    write_text(path, _text([COLUMNS, *(row for case in sorted(cases) for row in cases[case])]))


def add(path: Path, rows: Iterable[Row]) -> None:
    """Append rows. CaseError: WRITE_FAILED."""
    append_text(path, _text(rows))


def rows(case: str, objects: Volume, image: Volume) -> list[Row]:
    """The objects of one case. mean_intensity: of the image's own values, of colours their luminance.

    touches_border: 1 of an object that the picture's edge cuts off, or seems to; its area and shape are not its own.
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
        found.touches_border.astype(int).tolist(),
        strict=True,
    )
    return [(name, *each) for each in numbers]


def _grey(picture: NDArray) -> NDArray:
    return picture if picture.ndim == 2 else picture[..., :3].astype(np.float32) @ LUMA


def _text(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
