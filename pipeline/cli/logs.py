"""Where the messages of a command go: to the terminal, and to a file that keeps more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from pipeline.errors import InputError


@contextmanager
def messages(
    console: Console, *, quiet: bool = False, verbose: bool = False, log_file: Path | None = None
) -> Iterator[None]:
    """Show what evoseg logs on `console` (nothing if `quiet`, all if `verbose`) and keep all of it in `log_file`.

    Raises InputError where the file cannot be written.
    """
    logger = logging.getLogger("pipeline")
    before = logger.level
    handlers = [_terminal(console, quiet, verbose)]
    if log_file is not None:
        handlers.append(_file(log_file))
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    except InputError:
        logger.debug("Refused here:", exc_info=True)  # the sentence alone is told by cli/app.py
        raise
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _terminal(console: Console, quiet: bool, verbose: bool) -> logging.Handler:
    if quiet:
        return logging.NullHandler()
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False)
    else:
        handler = logging.StreamHandler(console.file)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.setLevel(logging.DEBUG if verbose else logging.INFO)
    return handler


def _file(path: Path) -> logging.Handler:
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--log-file {path} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler
