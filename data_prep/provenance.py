"""provenance.json: what each prepared case was made from, with what, and when; what a second run trusts to do nothing.

It is written whole every few seconds and when a run ends in whatever way, so that an interrupted run goes on where it
stopped. Paths are relative to the source.
"""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.io.json_file import read_json, write_json
from pipeline.io.refusals import reading
from pipeline.io.versions import versions

FILE = "provenance.json"
COMPUTED_BY = ("evoseg", "numpy", "scipy", "nibabel", "pillow")
SAVE_AFTER_S = 3.0  # of a thousand pictures, writing the record after each would take most of the time
# Whatever a run of any kind writes: another kind's files have to go as well when a folder is prepared anew.
EVERY_KIND, EVERY_ENDING = ("images", "labels", "distances"), (".nii.gz", ".png")


class Provenance:
    """The record of an output folder: `cases` and `failed` by id, made with `arguments`.

    kinds, ending: a case has the files KIND/ID followed by the ending.
    """

    def __init__(
        self,
        out: Path,
        source: str,
        arguments: dict[str, Any],
        split: dict[str, Any],
        *,
        kinds: Sequence[str],
        ending: str,
    ) -> None:
        """Open the record in `out`, or begin one. Cases made with other arguments are forgotten, their files removed.

        InputError when `out` holds files that no earlier run recorded. CaseError WRITE_FAILED where it cannot be made.
        """
        self.out, self.kinds, self.ending = out, kinds, ending
        self.content: dict[str, Any] = {
            "source": source,
            "arguments": arguments,
            "split": split,
            "cases": {},
            "failed": {},
        }
        earlier = _read(out)
        if (earlier["source"], earlier["arguments"]) == (source, arguments):
            self.content |= {"cases": earlier["cases"], "failed": earlier["failed"]}
        elif out.exists():
            for id in earlier["cases"]:
                self._remove_files(id)
            (out / "dataset.json").unlink(missing_ok=True)
        self._versions = versions(*COMPUTED_BY)
        self.save()

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        return self.content["cases"]

    def file(self, kind: str, id: str) -> Path:
        return self.out / kind / f"{id}{self.ending}"

    def is_current(self, id: str, sources: dict[str, str]) -> bool:
        """Whether the case was made from these very files and all it wrote is there."""
        made_from = self.cases.get(id, {}).get("sources")
        return made_from == sources and all(self.file(kind, id).is_file() for kind in self.kinds)

    def record(self, id: str, sources: dict[str, str], facts: dict[str, Any]) -> None:
        """Enter a case whose files are written."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.content["failed"].pop(id, None)
        self.cases[id] = {"sources": sources, **facts, "time": now, "versions": self._versions}
        self._save_now_and_then()

    def fail(self, id: str, code: str, message: str) -> None:
        """Enter a refused case; what an earlier run made of it is stale and goes."""
        self._remove_files(id)
        self.cases.pop(id, None)
        self.content["failed"][id] = {"code": code, "message": message}
        self._save_now_and_then()

    def forget_all_but(self, ids: set[str]) -> None:
        """Drop the cases that the source no longer has, with their files."""
        for table in (self.cases, self.content["failed"]):
            for id in sorted(set(table) - ids):
                self._remove_files(id)
                del table[id]
        self.save()

    def _remove_files(self, id: str) -> None:
        for kind in EVERY_KIND:
            for ending in EVERY_ENDING:
                (self.out / kind / f"{id}{ending}").unlink(missing_ok=True)

    def save(self) -> None:
        """Write the record. CaseError: WRITE_FAILED."""
        write_json(self.out / FILE, self.content)
        self._saved_at = time.monotonic()

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at > SAVE_AFTER_S:
            self.save()


def _read(out: Path) -> dict[str, Any]:
    """The record of an earlier run, an empty one for an empty folder; InputError for a folder of other origin."""
    path = out / FILE
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} holds what `evoseg prepare` did not write: name a new or an empty folder")
        return {"source": None, "arguments": None, "cases": {}, "failed": {}}
    try:
        earlier = read_json(path)
        return {name: earlier[name] for name in ("source", "arguments", "cases", "failed")}
    except (InputError, KeyError) as error:
        raise InputError(f"{path} is no record of `evoseg prepare`: name a new or an empty folder") from error


def fingerprints(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Source file, relative to the source folder -> sha256."""
    return {path.relative_to(root).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with reading(path), path.open("rb") as file:  # no permission, a bad disk: this case is refused, the others go on
        return hashlib.file_digest(file, "sha256").hexdigest()
