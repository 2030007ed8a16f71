"""report.html: a batch on one page that needs nothing beside it, neither a network nor the folder that it came from.

It is made of what a run left in its folder: cases.csv, run.json and overlays/. Everything in them is text from outside
(a file may be called <script>): the template escapes it, and the page's own policy runs no script but ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.errors import CASE_CODES, InputError
from pipeline.io.json_file import read_json
from pipeline.io.table import read_table
from pipeline.io.whole_file import whole_file
from pipeline.io.write import OVERLAYS
from pipeline.report.batch_table import STATES, Row, columns, rows
from pipeline.report.flags import meaning
from pipeline.report.thumbnails import Thumbnail, Thumbnails

REPORT_FILE = "report.html"
CASES_FILE, RUN_FILE = "cases.csv", "run.json"
OTHER_FILES = ("objects.csv", f"{OVERLAYS}/")
PAGE = Path(__file__).with_name("page")
DRAWN = ("ok", "flagged")  # of a case that failed there may be an older picture
QUIET: tuple[Any, ...] = (None, False, [], "")  # arguments that say nothing


class Remark(NamedTuple):
    """A flag or the code of a failure, with what it means and how many cases have it."""

    name: str
    meaning: str
    cases: int


class Line(NamedTuple):
    """A row of the table with its picture. full: where the picture lies beside the page, quoted for a link."""

    row: Row
    picture: Thumbnail | None
    full: str


def write_report(out: Path) -> Path:
    """Write `out`/report.html from what a run left in `out`, finished or not; its path.

    Pictures are embedded, smaller the more there are (report.thumbnails), and go into the file one by one. InputError:
    `out` holds no run. CaseError: WRITE_FAILED.
    """
    table, run = _table(out / CASES_FILE), read_json(out / RUN_FILE)
    sizes, more = columns(table)
    cases = rows(table, sizes)
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("page.html").stream(
        **_run(run),
        states=STATES,
        counts=Counter(row.state for row in cases),
        flags=_remarks(flag for row in cases for flag in row.flags),
        codes=_remarks(row.code for row in cases if row.code),
        columns=sizes,
        more=more,
        lines=_lines(cases, out),
        total=len(cases),
        pictured=(out / OVERLAYS).is_dir() and any(row.state in DRAWN for row in cases),
        files=[CASES_FILE, RUN_FILE, *(name for name in OTHER_FILES if (out / name).exists())],
        style=style,
        script=script,
        policy=_policy(style, script),
    )
    path = out / REPORT_FILE
    with whole_file(path) as part:
        page.dump(str(part), encoding="utf-8", errors="replace")
    return path


def _table(path: Path) -> list[dict[str, str]]:
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a folder that evoseg segment has written") from error


def _lines(cases: Sequence[Row], out: Path) -> Iterator[Line]:
    """The rows one by one, so that one picture at a time is in memory."""
    folder = (out / OVERLAYS).resolve()
    thumbnails = Thumbnails(sum(row.state in DRAWN for row in cases))
    for row in cases:
        drawn = (folder / f"{row.id}.png").resolve()
        picture = None
        if row.state in DRAWN and folder in drawn.parents:  # an id with .. leads nowhere
            picture = thumbnails(drawn)
        yield Line(row, picture, quote(f"{OVERLAYS}/{row.id}.png") if picture else "")


def _remarks(names: Iterator[str]) -> list[Remark]:
    return [Remark(name, CASE_CODES.get(name) or meaning(name), n) for name, n in Counter(names).most_common()]


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json tells, as far as it does."""
    said = {name: value for name, value in dict(run.get("arguments") or {}).items() if value not in QUIET}
    software = {name: version for name, version in dict(run.get("software") or {}).items() if version}
    return {
        "bundle": str(run.get("bundle") or "a bundle"),
        "version": run.get("bundle_version") or "",
        "weights": run.get("weights_sha256") or "",
        "licence": run.get("weights_licence") or "",
        "device": run.get("device") or "",
        "labels": dict(run.get("labels") or {}),
        "software": software,
        "arguments": {name: " ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in said.items()},
        **_times(run.get("started"), run.get("ended")),
    }


def _times(started: Any, ended: Any) -> dict[str, str]:
    """When the run began, as the record has it, and how long it took; empty for what is not known."""
    try:
        began = datetime.fromisoformat(str(started))
        seconds = round((datetime.fromisoformat(str(ended)) - began).total_seconds())
    except (ValueError, TypeError):
        return {"started": str(started or ""), "took": ""}
    hours, minutes = seconds // 3600, seconds // 60 % 60
    took = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    return {"started": began.strftime("%Y-%m-%d %H:%M %Z"), "took": took}


def _policy(style: str, script: str) -> str:
    """Nothing is fetched, and nothing runs but these two texts."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )
