"""`evoseg segment` in a process of its own, which is killed (SIGKILL) at a chosen moment."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

# when: before a file gets its name, after that, or half-way through a line of the journal; and the how manieth of these
Moment = tuple[Literal["before a name", "after a name", "half a line"], int]


def start(words: list[str], moment: Moment | None = None) -> BaseProcess:
    """Forked from a server that has the libraries loaded: a process is there in a moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.inference.segmenter", "pipeline.cli.segment", "monai.transforms"])
    process = context.Process(target=_segment, args=(words, moment))
    process.start()
    return process


def exit_status(words: list[str], moment: Moment | None = None) -> int | None:
    """Minus the signal for a process that was killed."""
    process = start(words, moment)
    process.join(300)
    return process.exitcode


def contents(out: Path) -> dict[str, Any]:
    """All that a run has left but run.json, cases.csv as its rows without the seconds."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    del files["run.json"]
    with (out / "cases.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    seconds = rows[0].index("seconds")
    return files | {"cases.csv": [row[:seconds] + row[seconds + 1 :] for row in rows]}


def _segment(words: list[str], moment: Moment | None) -> None:
    from pipeline.cli.app import app
    from pipeline.inference import recording

    if moment:
        when, number = moment
        if when == "half a line":
            recording.append_text = _at(number, recording.append_text, first=_half)
        else:
            os.replace = _at(number, os.replace, first=os.replace if when == "after a name" else None)
    app(["segment", *words])


def _half(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text[: len(text) // 2])


def _at(number: int, work: Callable[..., None], *, first: Callable[..., None] | None) -> Callable[..., None]:
    """`work`, but the call of this number does `first` and dies."""
    left = list(range(number))

    def counted(*given: Any) -> None:
        left.pop()
        if not left:
            if first:
                first(*given)
            os.kill(os.getpid(), signal.SIGKILL)
        work(*given)

    return counted
