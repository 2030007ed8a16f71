"""One run at a time works in a folder: others are refused while it lives, and only then."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import InputError

logger = logging.getLogger(__name__)

LOCK = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)  # some network file systems


@contextmanager
def held(folder: Path, suffix: str = "") -> Iterator[None]:
    """Hold `folder`, which is made, or the part of it that `suffix` names, for the block.

    The operating system lets it go when the process ends, killed or not: a file that is left behind holds nothing. The
    thread that holds it may hold it again. A file system that has no locks is taken as it is.
    InputError: another run holds it, or nothing can be written there.
    """
    from filelock import FileLock, Timeout  # here: slow to import

    path = folder / f"{LOCK}{suffix}"
    lock = FileLock(path, blocking=False, is_singleton=True, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(f"another run is at work in {folder}: wait for its end, or choose another OUT") from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            logger.debug("%s: %s", folder, error)
            yield
            return
        reason = error.strerror or str(error)
        raise InputError(f"{path} could not be written ({reason}): choose another output folder") from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # while it is held; not on Windows
                path.unlink()
        lock.release()
