"""What a batch leaves beside its results: cases.csv (a row a case) and run.json (what made them).

Both are written whole after every case, so that a run killed at any moment leaves a record of what it did and can be
resumed from it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.io.json_file import read_json, write_json
from pipeline.io.table import read_table, write_table

logger = logging.getLogger(__name__)

CASES_FILE = "cases.csv"
RUN_FILE = "run.json"
FIRST_COLUMNS = ("id", "source", "status", "code", "message", "seconds")
FLAGS_COLUMN = "flags"
ALL_BUT_SIZES = (*FIRST_COLUMNS, FLAGS_COLUMN)
Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What became of one case.

    code, message: why it failed (errors.CASE_CODES) or was skipped; empty for a case that is ok.
    seconds: wall time of this case.
    sizes: column name -> millilitres or pixels (quality.sizes).  flags: quality.flags.
    """

    id: str
    source: str
    status: Status
    code: str = ""
    message: str = ""
    seconds: float = 0.0
    sizes: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def write_cases(folder: Path, results: Sequence[CaseResult]) -> None:
    """Write cases.csv. CaseError: WRITE_FAILED."""
    size_columns = dict.fromkeys(column for result in results for column in result.sizes)
    rows = [
        {column: getattr(result, column) for column in FIRST_COLUMNS}
        | {**result.sizes, FLAGS_COLUMN: ";".join(result.flags)}
        for result in results
    ]
    write_table(folder / CASES_FILE, [*FIRST_COLUMNS, *size_columns, FLAGS_COLUMN], rows)


def read_cases(folder: Path) -> list[CaseResult]:
    """The results that an earlier run left in cases.csv; [] where there is no such file or it is not ours."""
    try:
        return [_parsed(row) for row in read_table(folder / CASES_FILE)]
    except (OSError, KeyError, ValueError) as error:
        logger.debug("no earlier %s in %s: %r", CASES_FILE, folder, error)
        return []


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write run.json. CaseError: WRITE_FAILED."""
    write_json(folder / RUN_FILE, dict(run))


def read_run(folder: Path) -> dict[str, Any]:
    """What an earlier run left in run.json; {} where there is no such file or it is not ours."""
    try:
        return read_json(folder / RUN_FILE)
    except InputError as error:
        logger.debug("no earlier %s: %s", RUN_FILE, error)
        return {}


def _parsed(row: Mapping[str, str]) -> CaseResult:
    words: dict[str, Any] = {name: row[name] for name in FIRST_COLUMNS[:-1]}
    numbers = {column: float(row[column]) for column in row if column not in ALL_BUT_SIZES and row[column]}
    flags = tuple(flag for flag in row[FLAGS_COLUMN].split(";") if flag)
    return CaseResult(**words, seconds=float(row["seconds"]), sizes=numbers, flags=flags)
