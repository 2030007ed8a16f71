"""A file appears whole or not at all, and grows by whole pieces."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import CaseError

NO_UTF8 = "backslashreplace"  # a file's name in another encoding (CDs have them) is told as \udcfc, not refused
_PART, _TOKEN_BYTES = ".part-", 4


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` for the block to write; it takes the name `path` when the block ends well.

    The temporary name is hidden (discovery passes over what a killed process leaves) and has the suffixes of `path`.
    Parent folders are made. CaseError WRITE_FAILED on a full disk or a missing permission; then, and on any other
    exception (KeyboardInterrupt too), nothing is left and an older `path` is untouched.
    """
    part = path.parent / f"{_PART}{secrets.token_hex(_TOKEN_BYTES)}{''.join(path.suffixes[-2:])}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _flush(part)
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{path} could not be written ({reason}): free some space or choose another output folder"
        raise CaseError("WRITE_FAILED", message) from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, line ends as they are, whole or not at all. CaseError: WRITE_FAILED."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", errors=NO_UTF8, newline="")


def append_text(path: Path, text: str) -> None:
    """Add `text` at the end, all of it or, while the process lives, nothing. CaseError: WRITE_FAILED."""
    try:
        with path.open("a", encoding="utf-8", errors=NO_UTF8, newline="") as file:
            size = file.tell()
            try:
                file.write(text)
                file.flush()
            except OSError:
                with suppress(OSError):  # again, of what the buffer still holds
                    file.close()
                with suppress(OSError):
                    os.truncate(path, size)
                raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise CaseError("WRITE_FAILED", f"{path} could not be added to ({reason}): free some space") from error


def remove_parts(folder: Path) -> None:
    """Remove below `folder` what killed processes have left of `whole_file`; no other may be writing there."""
    for path in folder.rglob(f"{_PART}{'[0-9a-f]' * 2 * _TOKEN_BYTES}*"):
        with suppress(OSError):
            path.unlink()


def _flush(path: Path) -> None:
    """Force the bytes to the disk: a rename may otherwise survive a power cut that its content does not."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
