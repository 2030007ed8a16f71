"""cases.csv as a reader of a report sees it: what to look at first, sizes under their units, numbers that line up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

MOST_COLUMNS = 8  # of sizes; the others are in cases.csv
LEAST_VALUES = 8  # below that a distribution is no more than the table itself
BARS = 16
BEFORE, AFTER = ("id", "source", "status", "code", "message", "seconds"), "flags"  # the other columns are sizes
QUANTITIES = {  # how a column of sizes begins -> its unit; the rest is the label
    "volume_ml_": "ml",
    "area_px_": "px",
    "area_mm2_": "mm²",
    "count_": "objects",
    "mean_hu_": "mean HU",
}

State = Literal["flagged", "failed", "skipped", "ok"]
STATES: dict[State, str] = {  # in the order in which they are read
    "flagged": "Flagged",
    "failed": "Failed",
    "skipped": "Not tried",
    "ok": "No remarks",
}


class Column(NamedTuple):
    """A size of all cases: its name and unit, and how its values are distributed, as heights of bars from 0 to 1."""

    key: str
    name: str
    unit: str
    decimals: int
    bars: tuple[float, ...]
    summary: str

    def shown(self, value: float | None) -> str:
        return "" if value is None else f"{value:,.{self.decimals}f}"


class Row(NamedTuple):
    """A case. sizes: in the order of the columns, None where it has none."""

    id: str
    state: State
    code: str
    message: str
    flags: tuple[str, ...]
    seconds: float | None
    sizes: tuple[float | None, ...]


def columns(table: Sequence[Mapping[str, str]]) -> tuple[list[Column], int]:
    """The first MOST_COLUMNS columns of sizes, and how many more there are."""
    keys = [key for key in (table[0] if table else ()) if key not in (*BEFORE, AFTER)]
    found = [_column(key, [_number(row[key]) for row in table]) for key in keys[:MOST_COLUMNS]]
    return found, len(keys) - len(found)


def rows(table: Sequence[Mapping[str, str]], shown: Sequence[Column]) -> list[Row]:
    """The cases, those to look at first on top, else in the order of the table."""
    found = [_row(line, shown) for line in table]
    order = list(STATES)
    return sorted(found, key=lambda row: order.index(row.state))


def _row(line: Mapping[str, str], shown: Sequence[Column]) -> Row:
    flags = tuple(flag for flag in line[AFTER].split(";") if flag)
    state: State = "ok" if line["status"] == "ok" else "failed" if line["status"] == "failed" else "skipped"
    return Row(
        id=line["id"],
        state="flagged" if state == "ok" and flags else state,
        code=line["code"],
        message=line["message"],
        flags=flags,
        seconds=None if state == "skipped" else _number(line["seconds"]),
        sizes=tuple(_number(line[column.key]) for column in shown),
    )


def _column(key: str, values: Sequence[float | None]) -> Column:
    known = np.array([value for value in values if value is not None])
    prefix = next((prefix for prefix in QUANTITIES if key.startswith(prefix)), "")
    name, unit = key.removeprefix(prefix).replace("_", " "), QUANTITIES.get(prefix, "")
    plain = Column(key, name, unit, _decimals(known), bars=(), summary="")
    if known.size < LEAST_VALUES or known.min() == known.max():
        return plain
    counts, _ = np.histogram(known, BARS)
    least, median, most = (plain.shown(float(each)) for each in (known.min(), np.median(known), known.max()))
    return plain._replace(
        bars=tuple((counts / counts.max()).round(3).tolist()),
        summary=f"from {least} to {most}, median {median}",
    )


def _decimals(known: np.ndarray) -> int:
    """About four digits of the greatest; none where all are whole numbers."""
    if not known.size or (known == known.round()).all():
        return 0
    return min(max(3 - math.floor(math.log10(abs(known).max())), 1), 3)


def _number(cell: str) -> float | None:
    """None for an empty cell, and for what is no finite number."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
