"""What a batch leaves beside its results: cases.csv (a row a case) and run.json (what made them).

While it runs, every result is at once a line of cases.jsonl, and cases.csv is written whole whenever a tenth more is
known, so that a batch of thousands of cases does not write its table thousands of times. A run killed at any moment
leaves both, and is resumed from both; one that ends leaves the table only. A shard has such files of its own, called
cases-2-of-8.csv and so on, until the whole run takes them over.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.inference.shards import Shard
from pipeline.io.json_file import read_json
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
    seconds: how long this case was worked on, without the time in which it waited for its turn.
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


@dataclass(frozen=True)
class RecordFiles:
    """The files of a run in `out`, or of one of its shards."""

    out: Path
    shard: Shard | None = None

    @property
    def cases(self) -> Path:
        return self._named("cases", ".csv")

    @property
    def journal(self) -> Path:
        return self._named("cases", ".jsonl")

    @property
    def run(self) -> Path:
        return self._named("run", ".json")

    @property
    def objects(self) -> Path:
        return self._named("objects", ".csv")

    def exist(self) -> bool:
        return self.cases.exists() or self.run.exists()

    def remove(self) -> None:
        """run.json first: without it nobody takes the rest for a record."""
        for path in (self.run, self.journal, self.cases, self.objects):
            path.unlink(missing_ok=True)

    def shards(self) -> list[RecordFiles]:
        """Those of the shards that have worked in this folder; a shard has none."""
        if self.shard:
            return []
        parts = sorted(path.stem.split("-") for path in self.out.glob("cases-*-of-*.csv"))
        known = [(number, of) for _, number, _, of in parts if number.isdecimal() and of.isdecimal()]
        return [RecordFiles(self.out, Shard(int(number), int(of))) for number, of in known]

    def _named(self, stem: str, suffix: str) -> Path:
        return self.out / f"{stem}{self.shard.suffix if self.shard else ''}{suffix}"


def holds_run(folder: Path) -> bool:
    """Whether it is the OUT of a run, or of shards."""
    whole = RecordFiles(folder)
    return any(each.cases.exists() and each.run.exists() for each in (whole, *whole.shards()))


def write_cases(path: Path, results: Iterable[CaseResult]) -> None:
    """Write cases.csv, sorted by id. A size that no case has has no column. CaseError: WRITE_FAILED."""
    ordered = sorted(results, key=lambda result: result.id)
    sizes = [{name: value for name, value in each.sizes.items() if not math.isnan(value)} for each in ordered]
    rows = [
        {column: getattr(result, column) for column in FIRST_COLUMNS} | {**own, FLAGS_COLUMN: ";".join(result.flags)}
        for result, own in zip(ordered, sizes, strict=True)
    ]
    size_columns = dict.fromkeys(column for own in sizes for column in own)
    write_table(path, [*FIRST_COLUMNS, *size_columns, FLAGS_COLUMN], rows)


def read_cases(files: RecordFiles) -> dict[str, CaseResult]:
    """Case id -> the result that an earlier run left in the table or, of a run that was killed, in the journal."""
    found: list[CaseResult] = []
    try:
        found += [_parsed(row) for row in read_table(files.cases)]
    except (OSError, KeyError, ValueError) as error:
        logger.debug("no earlier %s: %r", files.cases, error)
    return {result.id: result for result in (*found, *_journal(files.journal))}


def read_run(path: Path) -> dict[str, Any]:
    """What an earlier run left in run.json; {} where there is no such file or it is not ours."""
    try:
        return read_json(path)
    except InputError as error:
        logger.debug("no earlier %s: %s", RUN_FILE, error)
        return {}


def journal_line(result: CaseResult) -> str:
    return json.dumps(asdict(result)) + "\n"


def _journal(path: Path) -> Iterator[CaseResult]:
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            content = json.loads(line)
            yield CaseResult(**{**content, "flags": tuple(content["flags"])})
        except (ValueError, TypeError, KeyError):  # a line that was not written to its end
            logger.debug("%s has a line that is not whole", path)


def _parsed(row: Mapping[str, str]) -> CaseResult:
    words: dict[str, Any] = {name: row[name] for name in FIRST_COLUMNS[:-1]}
    numbers = {column: float(row[column]) for column in row if column not in ALL_BUT_SIZES and row[column]}
    flags = tuple(flag for flag in row[FLAGS_COLUMN].split(";") if flag)
    return CaseResult(**words, seconds=float(row["seconds"]), sizes=numbers, flags=flags)
