"""Every file under some roots, once each: hidden ones passed over, loops harmless, unreadable folders reported."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import InputError
from pipeline.io.unzip import Archive, RefusedArchive, is_hidden, is_zip, unpack

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
    archive: Archive | None = None


def walk(roots: Sequence[Path], *, unpack_to: Path | None = None) -> Iterator[Entry]:
    """The files under `roots` (files or folders), each once. InputError for a missing root.

    One that is there by several names is taken by that which is no link, and the others are told.

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
        elif _is_new(root, os.path.realpath(root), seen):
            yield Entry(root, base.parent, (base.name,), is_root=True)


def _members(entry: Entry, folder: Path) -> Iterator[Entry]:
    """The files of a .zip, unpacked below `folder`."""
    above, count = (*entry.parts[:-1], entry.path.stem), 0
    archive = Archive(entry.path, folder / entry.path.name)
    try:
        for member in unpack(archive.path, archive.unpacked):
            count += not member.error
            yield Entry(member.path, entry.base, (*above, *member.parts), error=member.error, archive=archive)
        logger.info("%s: %d files unpacked", entry.path, count)
    except RefusedArchive as error:
        yield replace(entry, error=f"{entry.path} {error}", archive=archive)


def _walk_folder(root: Path, base: Path, seen: set[str]) -> Iterator[Entry]:
    pending: deque[tuple[Path, tuple[str, ...]]] = deque([(root, ())])  # at its right end what is no link
    while pending:
        folder, parts = pending.pop()
        place = os.path.realpath(folder)
        if not _is_new(folder, place, seen):
            continue
        if not os.path.isdir(folder):  # a link
            if os.path.isfile(folder) or not os.path.exists(folder):  # to nothing: an input that cannot be read
                yield Entry(folder, base, parts)
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
            if entry.is_symlink():
                pending.appendleft((path, below))
            elif entry.is_dir():
                pending.append((path, below))
            elif entry.is_file() and _is_new(path, os.path.join(place, entry.name), seen):  # a pipe is none
                yield Entry(path, base, below)


def _is_new(path: Path, real: str, seen: set[str]) -> bool:
    if real in seen:
        logger.info("%s is there by another name already: taken once", path)
        return False
    seen.add(real)
    return True
