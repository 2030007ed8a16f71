"""The record of a batch while it is made: at every moment enough is on disk to go on from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

from pipeline.errors import CaseError, InputError
from pipeline.inference import object_table
from pipeline.inference.records import CaseResult, RecordFiles, journal_line, read_cases, read_run, write_cases
from pipeline.inference.stages import Outcome
from pipeline.io.json_file import write_json
from pipeline.io.whole_file import append_text

logger = logging.getLogger(__name__)

TENTH = 10  # the table is written anew when it grows by one


class Record:
    """The results so far, and the files of this run that tell them."""

    def __init__(
        self,
        files: RecordFiles,
        settings: Mapping[str, Any],
        facts: Mapping[str, Any],
        *,
        resume: bool,
        objects: bool = False,
    ) -> None:
        """Start with the results of an earlier run if they are to be kept and were made with the same settings.

        settings: all that the results depend on; facts: what else run.json says. objects: whether there is a table of
        objects.
        """
        self.files, self.objects = files, objects
        self.results: dict[str, CaseResult] = {}
        self.run = {**settings, **facts, "ended": None}
        self._earlier = [RecordFiles(files.out), *files.shards(), *([files] if files.shard else [])]
        self._unwritten = 0
        for each in self._earlier if resume else ():
            self.results |= _made_with(settings, each)

    def begin(self, *, keep: Set[str], without: Set[str]) -> None:
        """Begin the files: of what an earlier run says leave out the cases `without`, take over shards' records.

        keep: the cases that need not be done again. The order is such that a kill in between loses nothing: run.json
        never speaks of results that other settings have made, and shards' files go last. InputError where that fails:
        hours of work would have nowhere to go. A shard's record speaks of its own cases only: what the whole run says
        of another's is older than what that has done.
        """
        kept = keep if self.files.shard else self.results.keys() - without
        self.results = {each: result for each, result in self.results.items() if each in kept}
        try:
            write_cases(self.files.cases, self.results.values())
            self.files.journal.unlink(missing_ok=True)
            if self.objects:
                self._write_objects(self._earlier, keep)
            self._write_run()
            for shard in self.files.shards():
                shard.remove()
        except CaseError as error:
            raise InputError(error.message) from error

    def add(self, outcome: Outcome) -> bool:
        """Whether it is kept: False for a result whose objects could not be written, which has failed by that."""
        result, kept = outcome.result, True
        try:
            if outcome.objects:
                object_table.add(self.files.objects, outcome.objects)
        except CaseError as error:
            facts: dict[str, Any] = {"status": "failed", "code": error.code, "message": error.message}
            result, kept = replace(result, sizes={}, flags=(), **facts), False
        self.results[result.id] = result
        self._unwritten += 1
        try:
            append_text(self.files.journal, journal_line(result))
        except CaseError as error:  # a disk that is full now may have room after the next case
            logger.error("%s", error.message)
        if TENTH * self._unwritten >= len(self.results):
            self._update()
        return kept

    def close(self, skipped: Iterable[CaseResult], *, ended: str) -> None:
        self.results |= {each.id: each for each in skipped}
        self.run["ended"] = ended
        if self._update():
            self.files.journal.unlink(missing_ok=True)

    def _update(self) -> bool:
        """Whether the files tell all now."""
        try:
            write_cases(self.files.cases, self.results.values())
            if self.objects and self.run["ended"]:
                self._write_objects([self.files], {each.id for each in self.results.values() if each.status == "ok"})
            self._write_run()
        except CaseError as error:
            logger.error("%s", error.message)
            return False
        self._unwritten = 0
        return True

    def _write_objects(self, sources: Iterable[RecordFiles], keep: Set[str]) -> None:
        rows: dict[str, list[object_table.Row]] = {}
        for each in sources:
            rows |= object_table.read(each.objects, keep=keep)
        object_table.write(self.files.objects, rows)

    def _write_run(self) -> None:
        statuses = [result.status for result in self.results.values()]
        self.run["cases"] = {status: statuses.count(status) for status in ("ok", "failed", "skipped")}
        write_json(self.files.run, self.run)


def _made_with(settings: Mapping[str, Any], files: RecordFiles) -> dict[str, CaseResult]:
    results, before = read_cases(files), read_run(files.run)
    changed = [key for key, value in settings.items() if before.get(key) != value]
    if results and changed:
        logger.warning("Other %s than in the run before: every case is segmented again.", ", ".join(changed))
        return {}
    return results
