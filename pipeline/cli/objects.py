"""What is known of objects before they are segmented: `--centers` and `--volumes` of `evoseg segment`.

    centers: case,label,x,y[,z],unit      a row an object; unit px or mm
    volumes: case,label,lo,hi,unit        a row a label, all its objects together; unit px, mm2, mm3 or ml

case is the id of cases.csv, label a name or a number of the bundle. px counts from 0 at the centre of the first pixel:
x along the columns of a picture and y along its rows; in a volume x, y, z are the indices of the file's axes. mm are
those of a viewer: in a volume the patient's, as NIfTI has them (x to the Right, y to Anterior, z to Superior); in a
picture from its first pixel, if the file tells its pixels' size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.data import roots
from pipeline.errors import CaseError, InputError
from pipeline.inference.quality import AXES
from pipeline.io.discover import Case
from pipeline.io.table import read_table
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Prompt

OPTIONAL = "z"  # the column that a table of pictures need not have
CENTER_UNITS = ("px", "mm")
VOLUME_UNITS = {"px": 0, "mm2": 2, "mm3": 3, "ml": 3}  # unit -> the axes of the images that have it, 0: any
MM3_PER_ML = 1000


@dataclass(frozen=True)
class Row:
    """A line of a table: `at` names it in messages; numbers are in the columns' order, nan for a z that is not."""

    at: str
    label: int
    numbers: tuple[float, ...]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What is typed about them."""

    bundle: str
    centers: Path | None
    volumes: Path | None

    evolves: ClassVar[bool] = False  # whether the bundle has to be one that moves contours

    def settings(self) -> dict[str, Any]:
        """What the results depend on, beside what lies in the files."""
        tables = {"centers": self.centers, "volumes": self.volumes}
        return {"initial": None} | {name: path and path.resolve() for name, path in tables.items()}

    def pair(self, cases: Sequence[Case], inputs: Sequence[Path]) -> tuple[list[Case], Known | None]:
        """The cases, and what the tables know of them. InputError: a table that is not one, or does not fit them."""
        del inputs  # the cases have found them
        tables = tuple(path for path in (self.centers, self.volumes) if path)
        if not tables:
            return list(cases), None
        names = roots.label_names(roots.metadata(roots.bundle(self.bundle)))
        labels = {word: number for number, name in names.items() for word in (str(number), name)}
        columns = {"centers": ("x", "y", "z"), "volumes": ("lo", "hi")}
        units = {"centers": CENTER_UNITS, "volumes": tuple(VOLUME_UNITS)}
        ids = {case.id for case in cases}
        centers, volumes = (
            _read(path, columns[kind], cases=ids, labels=labels, units=units[kind]) if path else {}
            for kind, path in (("centers", self.centers), ("volumes", self.volumes))
        )
        for rows in centers.values():
            _refuse_twice(rows, [(row.label, row.unit, *map(str, row.numbers)) for row in rows])
        for rows in volumes.values():
            _refuse_twice(rows, [row.label for row in rows])
            for row in rows:
                if not 0 <= row.numbers[0] <= row.numbers[1]:
                    raise InputError(f"{row.at}: lo to hi is {row.numbers[0]:g} to {row.numbers[1]:g}: 0 <= lo <= hi")
        return list(cases), Known(tables, centers, volumes)


@dataclass(frozen=True)
class Known:
    """inference.plan.Prompts: rows by the case's id."""

    tables: tuple[Path, ...]
    centers: Mapping[str, list[Row]]
    volumes: Mapping[str, list[Row]]

    def files(self, case: Case) -> tuple[Path, ...]:
        return self.tables

    def __call__(self, case: Case, image: Volume) -> Prompt | None:
        """CaseError: BAD_OBJECT."""
        from pipeline.inference.segmenter import Prompt  # here: it imports torch

        centers: dict[int, list[NDArray[np.float64]]] = {}
        for row in self.centers.get(case.id, []):
            centers.setdefault(row.label, []).append(_pixel(row, image))
        volumes = {row.label: _pixels(row, image) for row in self.volumes.get(case.id, [])}
        if not (centers or volumes):
            return None
        return Prompt(centers={label: np.stack(points) for label, points in centers.items()}, volumes=volumes)


def _read(
    path: Path,
    columns: tuple[str, ...],
    *,
    cases: set[str],
    labels: Mapping[str, int],
    units: tuple[str, ...],
) -> dict[str, list[Row]]:
    """Case id -> its rows."""
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table of comma-separated values: {error}") from error
    needed = [name for name in ("case", "label", *columns, "unit") if name != OPTIONAL]
    if not table or not table[0].keys() >= set(needed):
        raise InputError(f"{path} needs the columns {','.join(needed)} and at least one row below them")
    found: dict[str, list[Row]] = {}
    for line, cells in enumerate(table, start=2):
        at = f"{path}, line {line}"
        for name, choices in (("case", cases), ("label", labels), ("unit", units)):
            if cells[name] not in choices:
                listed = ", ".join(sorted(choices)[:10]) + ", ..." * (len(choices) > 10)
                raise InputError(f"{at}: {name} is {cells[name]!r}, it must be one of {listed}")
        numbers = tuple(_number(cells, name, at) for name in columns)
        found.setdefault(cells["case"], []).append(Row(at, labels[cells["label"]], numbers, cells["unit"]))
    return found


def _number(cells: Mapping[str, str], name: str, at: str) -> float:
    if name == OPTIONAL and not cells.get(name):
        return math.nan
    try:
        number = float(cells[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{at}: {name} is {cells[name]!r}, it must be a number")
    return number


def _refuse_twice(rows: Sequence[Row], keys: Sequence[Any]) -> None:
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise InputError(f"{rows[number].at} says what {rows[keys.index(key)].at} says: leave one of them")


def _pixel(row: Row, image: Volume) -> NDArray[np.float64]:
    """A centre in pixels, in the order of the array's axes."""
    dims = image.spatial_dims
    place = dict(zip("xyz", row.numbers, strict=True))
    if math.isnan(place["z"]) != (dims == 2):
        raise CaseError("BAD_OBJECT", f"{row.at}: a centre in an image of {dims} dimensions has {dims} coordinates")
    point = np.array([place[axis] for axis in AXES[dims]])
    if row.unit == "mm":
        _millimetres(row, image)
        point = np.linalg.solve(image.affine, [*point, 1.0])[:dims]
    pixel = np.floor(point + 0.5)
    if (pixel < 0).any() or (pixel >= image.spatial_shape).any():
        inside = ", ".join(f"{axis} 0 to {n - 1}" for axis, n in sorted(_sides(image)))
        raise CaseError("BAD_OBJECT", f"{row.at}: the centre lies outside of the image, whose pixels are {inside}")
    return point


def _pixels(row: Row, image: Volume) -> tuple[int, int]:
    """A volume's interval in whole pixels."""
    size, total = 1.0, math.prod(image.spatial_shape)
    if VOLUME_UNITS[row.unit]:
        _millimetres(row, image)
        if VOLUME_UNITS[row.unit] != image.spatial_dims:
            raise CaseError("BAD_OBJECT", f"{row.at}: an image of {image.spatial_dims} dimensions has no {row.unit}")
        size = abs(float(np.linalg.det(image.affine))) / (MM3_PER_ML if row.unit == "ml" else 1)
    least, most = (round(number / size) for number in row.numbers)
    if least > total:
        raise CaseError("BAD_OBJECT", f"{row.at}: {least} pixels are more than the image has, {total}")
    return least, min(most, total)


def _millimetres(row: Row, image: Volume) -> None:
    """CaseError for a picture whose pixels have no known size."""
    if image.spatial_dims == 2 and np.array_equal(image.affine, np.eye(3)):
        raise CaseError("BAD_OBJECT", f"{row.at}: {row.unit}, but the picture does not tell its pixels' size: give px")


def _sides(image: Volume) -> Iterator[tuple[str, int]]:
    return zip(AXES[image.spatial_dims], image.spatial_shape, strict=True)
