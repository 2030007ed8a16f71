"""Every file under some roots, once each: hidden ones passed over, loops harmless, unreadable folders reported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError


@dataclass(frozen=True)
class Entry:
    """A file, or a folder that could not be listed.

    base: the absolute folder that names are relative to: the root, or the folder of a root that is a file.
    parts: the path's parts below `base`.
    error: why the folder could not be listed; empty for files.
    """

    path: Path
    base: Path
    parts: tuple[str, ...]
    is_root: bool = False
    error: str = ""


def walk(roots: Sequence[Path]) -> Iterator[Entry]:
    """The files under `roots` (files or folders), sorted within each folder. InputError for a missing root."""
    for root in roots:
        if not root.exists():
            raise InputError(f"{root} does not exist: give a file or a folder with scans")
    seen: set[str] = set()
    for root in roots:
        base = Path(os.path.abspath(root))
        if root.is_dir():
            yield from _walk_folder(root, base, seen)
        elif _is_new(os.path.realpath(root), seen):
            yield Entry(root, base.parent, (base.name,), is_root=True)


def _walk_folder(root: Path, base: Path, seen: set[str]) -> Iterator[Entry]:
    pending: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while pending:
        folder, parts = pending.pop()
        place = os.path.realpath(folder)
        if not _is_new(place, seen):
            continue
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Entry(folder, base, parts, is_root=not parts, error=error.strerror or str(error))
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            path, below = folder / entry.name, (*parts, entry.name)
            if entry.is_dir():
                pending.append((path, below))
            elif entry.is_file() or entry.is_symlink():  # a broken link is an input that cannot be read; a pipe is none
                real = os.path.realpath(path) if entry.is_symlink() else os.path.join(place, entry.name)
                if _is_new(real, seen):
                    yield Entry(path, base, below)


def _is_new(real: str, seen: set[str]) -> bool:
    if real in seen:
        return False
    seen.add(real)
    return True
