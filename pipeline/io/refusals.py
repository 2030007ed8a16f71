"""The border to the format libraries: whatever a broken file makes them raise becomes one refusal with a code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import CaseError

_DECODE_ERRORS = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError,
    AssertionError, SyntaxError, struct.error, zlib.error,
)  # fmt: skip


def decode_errors() -> tuple[type[Exception], ...]:
    """What nibabel, pydicom and its plugins, Pillow and SimpleITK are known to raise on damaged bytes.

    A function, since pydicom has errors of its own: `except` calls it, and loads pydicom, only when there is an error.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_DECODE_ERRORS, BytesLengthException, InvalidDicomError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the library errors of the block into CaseError UNREADABLE, TRUNCATED or OUT_OF_MEMORY naming `path`."""
    try:
        yield
    except CaseError:
        raise
    except MemoryError as error:
        raise CaseError("OUT_OF_MEMORY", f"{path} does not fit into memory: use a machine with more") from error
    except EOFError as error:
        raise truncated(path, str(error) or "unexpected end") from error
    except decode_errors() as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise CaseError("UNREADABLE", f"{path} cannot be read ({reason}): check it or export it again") from error


def truncated(path: Path, reason: str) -> CaseError:
    """The refusal, to be raised, of a file that ends early or does not decode."""
    return CaseError("TRUNCATED", f"{path} is cut short or damaged ({reason}): copy or export it again")
