"""What discovery has found before its name is settled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.io.case_ids import safe_path
from pipeline.io.unzip import Archive
from pipeline.io.walk import Entry

Kind = Literal["dicom", "nifti", "metaimage", "image", "dicom_image", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A case without its id.

    names: possible ids, from the shortest to the fullest. notes, modality, archive: as `discover.Case` has them.
    series: the SeriesInstanceUID, empty where there is none.
    """

    kind: Kind
    files: tuple[Path, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    series: str = ""
    modality: str = ""
    archive: Archive | None = None


def found_file(kind: Kind, entry: Entry, suffix: str, **facts: Any) -> Found:
    """A case of one file. suffix: as the file's name has it; facts: further fields."""
    return Found(kind=kind, files=(entry.path,), names=names_of(entry, suffix), archive=entry.archive, **facts)


def names_of(entry: Entry, suffix: str) -> tuple[str, ...]:
    """Names of a case of one file: without the suffix, with it, then both below the root's name."""
    full = entry.parts or (entry.base.name,)
    short = (*full[:-1], full[-1].removesuffix(suffix) or full[-1])
    return tuple(safe_path(parts) for parts in (short, full, (entry.base.name, *short), (entry.base.name, *full)))
