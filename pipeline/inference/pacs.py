"""Series of a PACS segmented when they are asked for or as they come, the results sent back: each series once.

What was done stands in OUT/pacs.jsonl, a line an attempt, so that a run killed at any moment goes on where it was. The
scans lie below OUT/scans until their results are stored; no more than ROUND series are there at a time.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import CaseError, InputError
from pipeline.inference.pacs_journal import DONE, NO_SCAN, Journal
from pipeline.inference.records import CaseResult
from pipeline.io.dicomweb import Series
from pipeline.io.dicomweb_files import pull_series, push_file
from pipeline.io.discover import Case, find_cases
from pipeline.io.web import Server, ServerAway

logger = logging.getLogger(__name__)

SCANS = "scans"
ROUND = 10
_LONGEST_PAUSE_S = 900.0  # between two looks at a server that is away


class _NoScan(Exception):
    """Discovery passes over all that the series holds."""


@dataclass(frozen=True, kw_only=True)
class Station:
    """Where series are pulled to, segmented, and sent back from.

    segment: writes the results of cases as `out`/<id><suffix> and keeps those that are there, as `segment_folder` does
    with a plan that resumes.  sent: the suffixes of results that the server receives.  keep_scans: leave them on the
    disk.  allow_tilt: as in `find_cases`.
    """

    server: Server
    out: Path
    segment: Callable[[Sequence[Case]], list[CaseResult]]
    journal: Journal
    sent: tuple[str, ...]
    keep_scans: bool = False
    allow_tilt: bool = False

    def run(self, wanted: Sequence[Series]) -> bool:
        """Do all these series; whether every one of them is done. InputError, ServerAway: of the server.

        A series without a scan counts as done.
        """
        for first in range(0, len(wanted), ROUND):
            self._round(wanted[first : first + ROUND])
        return all(map(self.journal.is_done, wanted))

    def watch(self, find: Callable[[], list[Series]], *, interval_s: float, pause: Callable[[float], None]) -> None:
        """Look for series and do the new ones, until KeyboardInterrupt; a server that is away is waited for.

        A series is done when two looks found it with the same number of images: until then it may be on its way. One
        that gets more later is done again. pause: waits so many seconds. InputError: the server does not let us in.
        """
        before: dict[str, int | None] = {}
        away = 0
        while True:
            pause_s = interval_s
            try:
                found = find()
                settled = [each for each in found if before.get(each.series, -1) == each.images]
                before = {each.series: each.images for each in found}
                self.run([each for each in settled if not self.journal.is_closed(each)])
                away = 0
            except ServerAway as error:
                away = min(away + 1, 10)
                pause_s = min(interval_s * 2**away, max(interval_s, _LONGEST_PAUSE_S))
                logger.warning("%s; the next look is in %.0f s", error, pause_s)
            pause(pause_s)

    def _round(self, wanted: Sequence[Series]) -> None:
        pulled: list[tuple[Series, list[Case]]] = []
        for series in wanted:
            try:
                pulled.append((series, self._pull(series)))
            except CaseError as error:
                self._close(series, error.code, error.message)
            except _NoScan as error:
                self._close(series, NO_SCAN, str(error))
        cases = [case for _, its_cases in pulled for case in its_cases]
        results = {result.id: result for result in self.segment(cases)} if cases else {}
        for series, its_cases in pulled:
            try:
                self._deliver([results[case.id] for case in its_cases])
            except CaseError as error:
                self._close(series, error.code, error.message)
            else:
                self._close(series, DONE)

    def _pull(self, series: Series) -> list[Case]:
        """The volumes of a series, by ids that are or begin with its UID. CaseError, _NoScan."""
        folder = self.out / SCANS / series.series
        logger.info("series %s: pulled", series.series)
        pull_series(self.server, series, folder)
        try:
            cases = find_cases([folder], allow_tilt=self.allow_tilt)
        except InputError as error:
            raise _NoScan(str(error)) from error
        return [
            case if case.id.split("/")[0] == series.series else replace(case, id=f"{series.series}/{case.id}")
            for case in cases
        ]

    def _deliver(self, results: Sequence[CaseResult]) -> None:
        """Send what there is. CaseError: of the first volume that failed, or of the sending."""
        for result in results:
            for suffix in self.sent if result.status == "ok" else ():
                push_file(self.server, self.out / f"{result.id}{suffix}")
        for result in results:
            if result.status != "ok":
                raise CaseError(result.code, result.message)

    def _close(self, series: Series, code: str, message: str = "") -> None:
        logger.info("series %s: %s%s", series.series, code, message and f": {message}")
        self.journal.add(series, code, message)
        if self.journal.is_closed(series) and not self.keep_scans:
            shutil.rmtree(self.out / SCANS / series.series, ignore_errors=True)
