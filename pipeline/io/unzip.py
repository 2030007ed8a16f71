"""The files of a .zip, unpacked where they do no harm: nothing outside of the folder, nothing larger than allowed."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

LARGEST_GB = 100  # unpacked: a scan of a thousand slices has half of one
_SUFFIX = ".zip"
_GB = 1 << 30
_ENCRYPTED = 1  # bit of a member's flags
_ERRORS = (BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error)


class RefusedArchive(Exception):
    """A .zip that is not unpacked; the message follows its name."""


@dataclass(frozen=True)
class Archive:
    """A .zip, and the folder where its files lie as long as they are needed."""

    path: Path
    unpacked: Path

    def told(self, text: str) -> str:
        """`text` with its files named as lying in the .zip."""
        return text.replace(str(self.unpacked), str(self.path))


@dataclass(frozen=True)
class Member:
    """A file of an archive: where it was unpacked, its path in the archive, and why it could not be unpacked."""

    path: Path
    parts: tuple[str, ...]
    error: str = ""


def is_zip(path: Path) -> bool:
    """Whether the file is one by its name."""
    return path.suffix.lower() == _SUFFIX


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over."""
    return name.startswith(".") or name == "__MACOSX"


def unpack(archive: Path, folder: Path) -> Iterator[Member]:
    """Unpack `archive` into the new `folder`, member by member, hidden ones left out.

    Files have the time of the archive. RefusedArchive: damaged, encrypted, larger than LARGEST_GB or than the disk has
    room for, or a path that leads out of it. An archive in the archive, and a member that is damaged, is an error of
    that member.
    """
    try:
        folder.mkdir(parents=True)
        with ZipFile(archive) as file:
            members = [info for info in file.infolist() if not info.is_dir()]
            _check(members, folder)
            members = [info for info in members if not any(map(is_hidden, _parts(info)))]
            for info in sorted(members, key=lambda info: info.filename):
                yield _unpacked(file, info, archive, folder)
    except _ERRORS as error:
        raise RefusedArchive(f"cannot be unpacked ({error}): check it, or give its files") from error


def _check(members: list[ZipInfo], folder: Path) -> None:
    for info in members:
        if info.flag_bits & _ENCRYPTED:
            raise RefusedArchive("is encrypted: unpack it and give its files")
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or any(sign in info.filename for sign in "\\:"):
            raise RefusedArchive(f"has a member {info.filename!r}, which may lead out of it: unpack it with care")
    # A member never gives more bytes than its header says: zipfile stops there.
    size, room = sum(info.file_size for info in members), shutil.disk_usage(folder).free
    if size > LARGEST_GB * _GB:
        raise RefusedArchive(f"would take {size / _GB:.1f} GB, {LARGEST_GB} are allowed: unpack it and give its files")
    if size > room:
        message = f"would take {size / _GB:.1f} GB, {folder} has room for {room / _GB:.1f}"
        raise RefusedArchive(f"{message}: set TMPDIR to a folder on another disk")


def _unpacked(file: ZipFile, info: ZipInfo, archive: Path, folder: Path) -> Member:
    parts = _parts(info)
    path, name = folder.joinpath(*parts), f"{archive}: its member {info.filename}"
    if is_zip(path):
        return Member(path, parts, f"{name} is an archive in an archive: unpack the outer one and give its files")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file.open(info) as packed, path.open("xb") as target:
            shutil.copyfileobj(packed, target)
        made = archive.stat()
        os.utime(path, ns=(made.st_atime_ns, made.st_mtime_ns))
    except _ERRORS as error:
        return Member(path, parts, f"{name} cannot be unpacked ({error}): check it, or give its files")
    return Member(path, parts)


def _parts(info: ZipInfo) -> tuple[str, ...]:
    return PurePosixPath(info.filename).parts
