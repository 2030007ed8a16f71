"""What an evaluation has finished, a line a case, written at once: a killed run loses only the cases in work."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from pipeline.errors import CaseError
from pipeline.evaluation.measures import CaseScores, Row
from pipeline.evaluation.pairs import Pair, paths_of
from pipeline.io.whole_file import write_text
from pipeline.metrics.overlap import Overlap

logger = logging.getLogger(__name__)

JOURNAL = "finished.jsonl"


class Journal:
    """The file OUT/finished.jsonl: first the settings, then every finished case with all digits of its scores."""

    def __init__(self, out: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin the file, with what an earlier run of the same settings left there if it is to be kept.

        settings: everything that the scores depend on but the files. CaseError: WRITE_FAILED.
        """
        self.path = out / JOURNAL
        head = json.dumps(settings, sort_keys=True)
        before = _lines(self.path) if resume else []
        if before and before[0] != head:
            logger.warning("Other settings than in the run before: every case is scored again.")
        self._kept: dict[str, dict[str, Any]] = {}
        if before[:1] == [head]:
            for line in before[1:]:
                entry = _parsed(line)
                if entry:
                    self._kept[entry["case"]] = entry
        lines = [head, *map(json.dumps, self._kept.values())]
        write_text(self.path, "".join(f"{line}\n" for line in lines))

    def finished(self, pair: Pair) -> CaseScores | None:
        """The scores of a pair whose files are those that were scored, unchanged."""
        entry = self._kept.get(pair.id)
        if entry is None or entry["files"] != _fingerprints(pair):
            return None
        scores = entry["scores"]
        rows = [Row(*row) for row in scores["rows"]]
        counts = {label: Overlap(**counts) for label, counts in scores["counts"].items()}
        return CaseScores(**{**scores, "rows": rows, "counts": counts})

    def add(self, pair: Pair, scores: CaseScores) -> None:
        """Append a case. CaseError: WRITE_FAILED."""
        content = asdict(scores) | {"rows": [astuple(row) for row in scores.rows]}
        line = json.dumps({"case": pair.id, "files": _fingerprints(pair), "scores": content})
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise CaseError("WRITE_FAILED", f"{self.path} could not be written ({error}): free some space") from error


def _fingerprints(pair: Pair) -> list[list[str | int]]:
    """What changes when a file does: [path, bytes, time of change] each; the path alone of a file that is gone."""

    def fingerprint(path: Path) -> list[str | int]:
        try:
            status = path.stat()
        except OSError:
            return [str(path)]
        return [str(path.resolve()), status.st_size, status.st_mtime_ns]

    return [fingerprint(path) for path in paths_of(pair)]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        logger.debug("no earlier %s: %s", path, error)
        return []


def _parsed(line: str) -> dict[str, Any] | None:
    """A case; None for a line that a killed run left half."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None
