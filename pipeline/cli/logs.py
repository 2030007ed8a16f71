"""Where the messages of a command go: to the terminal, and to a file that keeps more."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from pipeline.errors import InputError
from pipeline.io.whole_file import NO_UTF8


@contextmanager
def messages(
    console: Console, *, quiet: bool = False, verbose: bool = False, log_file: Path | None = None
) -> Iterator[None]:
    """Show what evoseg logs on `console` (nothing if `quiet`, all if `verbose`) and keep all of it in `log_file`.

    Raises InputError where the file cannot be written.
    """
    loggers = [logging.getLogger(package) for package in ("pipeline", "data_prep")]
    before = [logger.level for logger in loggers]
    handlers = [_terminal(console, quiet, verbose)]
    if log_file is not None:
        handlers.append(_file(log_file))
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        for handler in handlers:
            logger.addHandler(handler)
    try:
        with _quiet_dicom():
            yield
    except InputError:
        loggers[0].debug("Refused here:", exc_info=True)  # the sentence alone is told by cli/app.py
        raise
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)
        for handler in handlers:
            handler.close()


@contextmanager
def _quiet_dicom() -> Iterator[None]:
    """pydicom and highdicom quote what is odd in a header, a name or a birthday too: no log may hold that."""
    logger = logging.getLogger("pydicom")  # what it warns of, it logs too
    before = logger.disabled
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom|highdicom")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = before


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


class _LogFile(logging.FileHandler):
    """A file whose disk may fill up: the run goes on without the log, and that is said once."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.told:
            self.told = True
            logging.getLogger(__name__).error("--log-file %s cannot be written to any more", self.baseFilename)

    def close(self) -> None:
        with suppress(OSError):  # it writes what is left
            super().close()


def _file(path: Path) -> logging.Handler:
    try:
        handler = _LogFile(path, encoding="utf-8", errors=NO_UTF8)
    except OSError as error:
        raise InputError(f"--log-file {path} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler
