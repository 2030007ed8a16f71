"""Every file under some roots, once each: hidden ones passed over, loops harmless, unreadable folders reported."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import InputError
from pipeline.io.unzip import RefusedArchive, is_hidden, is_zip, unpack

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A file, or a folder or .zip that could not be opened.

    base: the absolute folder that names are relative to: the root, or the folder of a root that is a file.
    parts: the path's parts below `base`.
    error: why the folder could not be listed or the .zip not be unpacked, and the way out; empty for files.
    archive: the .zip that the file was in; its name without the suffix is among `parts` then.
    """

    path: Path
    base: Path
    parts: tuple[str, ...]
    is_root: bool = False
    error: str = ""
    archive: Path | None = None


def walk(roots: Sequence[Path], *, unpack_to: Path | None = None) -> Iterator[Entry]:
    """The files under `roots` (files or folders), sorted within each folder. InputError for a missing root.

    unpack_to: a folder where .zip files are unpacked, so that their members are among the files; None: they are files.
    """
    for root in roots:
        if not root.exists():
            raise InputError(f"{root} does not exist: give a file or a folder with scans")
    packed = 0
    for entry in _files(roots):
        if unpack_to is not None and not entry.error and is_zip(entry.path):
            packed += 1
            yield from _members(entry, unpack_to / str(packed))
        else:
            yield entry


def _files(roots: Sequence[Path]) -> Iterator[Entry]:
    seen: set[str] = set()
    for root in roots:
        base = Path(os.path.abspath(root))
        if root.is_dir():
            yield from _walk_folder(root, base, seen)
        elif _is_new(os.path.realpath(root), seen):
            yield Entry(root, base.parent, (base.name,), is_root=True)


def _members(entry: Entry, folder: Path) -> Iterator[Entry]:
    """The files of a .zip, unpacked below `folder`."""
    above, count = (*entry.parts[:-1], entry.path.stem), 0
    try:
        for member in unpack(entry.path, folder / entry.path.name):
            count += not member.error
            yield Entry(member.path, entry.base, (*above, *member.parts), error=member.error, archive=entry.path)
        logger.info("%s: %d files unpacked", entry.path, count)
    except RefusedArchive as error:
        yield replace(entry, error=f"{entry.path} {error}", archive=entry.path)


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
            reason = f"the folder {folder} could not be listed ({error.strerror or error}): change its permissions"
            yield Entry(folder, base, parts, is_root=not parts, error=reason)
            continue
        for entry in entries:
            if is_hidden(entry.name):
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
