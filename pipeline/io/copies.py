"""An export that is there twice is one scan: slices that other files hold byte for byte are left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path

from pipeline.io.dicom_files import DicomFile
from pipeline.io.walk import Entry

Slices = list[tuple[Entry, DicomFile]]


def without_copies(group: Sequence[tuple[Entry, DicomFile]]) -> tuple[Slices, tuple[str, ...]]:
    """The files of one series by path, what is in no .zip first, and a note where copies were left out.

    Only files are compared whose headers put them at one place at one time.
    """
    ordered = sorted(group, key=lambda each: (each[0].archive is not None, str(each[0].path)))
    crowd = Counter(header.place for _, header in ordered)
    seen: set[tuple[Hashable, ...]] = set()
    kept: Slices = []
    copies: list[Entry] = []
    for entry, header in ordered:
        if header.place and crowd[header.place] > 1:
            content = header.place, _digest(entry.path)
            if content in seen:
                copies.append(entry)
                continue
            seen.add(content)
        kept.append((entry, header))
    return kept, (_note(copies),) if copies else ()


def _note(copies: Sequence[Entry]) -> str:
    count, first = len(copies), copies[0].base.joinpath(*copies[0].parts)
    files = "1 file is" if count == 1 else f"{count} files are"
    return f"{files} left out, byte for byte there already: {first}{', ...' * (count > 1)}"


def _digest(path: Path) -> Hashable:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return path  # no copy of anything; reading it will say what is wrong
