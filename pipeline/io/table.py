"""Tables as CSV files that a spreadsheet can open without running what is in them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.io.whole_file import NO_UTF8, write_text

# A spreadsheet takes what begins so for a formula; an apostrophe in front makes it text.
_FORMULA = re.compile(r"'* *[=+\-@]")
_BREAKS = re.compile(r"\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str | float]]) -> None:
    """Write rows under `columns`, whole or not at all; a value that a row does not have stays empty.

    Text is put on one line and never starts as a formula does; numbers have six digits, nan is empty. CaseError:
    WRITE_FAILED.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows({column: _cell(value) for column, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of `write_table`, or of a spreadsheet's export, with their text as it was given.

    OSError, ValueError (also UnicodeDecodeError).
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{path} has rows that are longer or shorter than its header")
    return [{column: _as_given(cell) for column, cell in row.items()} for row in rows]


def as_read(text: str) -> str:
    """What comes back of a text that went through a table: on one line, in UTF-8."""
    return _BREAKS.sub(" ", text).encode(errors=NO_UTF8).decode()


def _as_given(cell: str) -> str:
    return cell.removeprefix("'") if _FORMULA.match(cell) else cell


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        line = as_read(value)
        return f"'{line}" if _FORMULA.match(line) else line
    return "" if math.isnan(value) else f"{value:.6g}"
