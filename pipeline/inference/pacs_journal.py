"""OUT/pacs.jsonl: what became of the series of a PACS, a line an attempt, written at once: it survives a kill."""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import InputError
from pipeline.io.dicomweb import Series

logger = logging.getLogger(__name__)

JOURNAL = "pacs.jsonl"
DONE, NO_SCAN = "ok", "no scan"  # the latter of localizers, reports and the like, which are passed over
ATTEMPTS = 3  # where a failure may pass by itself:
_MAY_PASS = ("PULL_FAILED", "PUSH_FAILED", "WRITE_FAILED", "OUT_OF_MEMORY")


class Journal:
    """The attempts at each series as it was then: with more images since, or for other results, it is another one."""

    def __init__(self, out: Path, made_by: str) -> None:
        """Read what earlier runs left. made_by: what the results depend on. InputError: it cannot be read."""
        self.path, self._made_by = out / JOURNAL, made_by
        self._codes: defaultdict[tuple[str, int | None, str], list[str]] = defaultdict(list)
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.exists() else []
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror}): check its permissions") from error
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
                self._codes[entry["series"], entry["images"], entry["made_by"]].append(entry["code"])
            except (ValueError, LookupError, TypeError):
                logger.debug("%s: a line is not whole", self.path)  # the last one of a run that was killed

    def is_done(self, series: Series) -> bool:
        return not {DONE, NO_SCAN}.isdisjoint(self._attempts(series))

    def is_closed(self, series: Series) -> bool:
        """Whether it is done, or trying again is of no use: the scan itself was refused, or ATTEMPTS have failed."""
        codes = self._attempts(series)
        return len(codes) >= ATTEMPTS or any(code not in _MAY_PASS for code in codes)

    def add(self, series: Series, code: str, message: str = "") -> None:
        """Append an attempt: DONE, NO_SCAN or a key of CASE_CODES. On a full disk this process alone remembers."""
        self._codes[self._key(series)].append(code)
        entry = dict(zip(("series", "images", "made_by"), self._key(series), strict=True))
        entry |= {"study": series.study, "code": code, "message": message, "time": datetime.now(UTC).isoformat()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps(entry)}")  # the line before may have lost its end in a kill
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            logger.error("%s could not be written (%s): series %s will be done again", self.path, error, series.series)

    def _attempts(self, series: Series) -> list[str]:
        return self._codes.get(self._key(series), [])

    def _key(self, series: Series) -> tuple[str, int | None, str]:
        return series.series, series.images, self._made_by
