"""JSON objects in files: records of runs, descriptions of datasets and bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.io.whole_file import NO_UTF8, write_text


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. InputError: the file is missing, is not JSON, or holds something else than an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore it or check its permissions") from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): restore it from where it came") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a JSON {type(content).__name__} where an object {{...}} is needed: restore it")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write the file whole; one that already says the same is left alone. CaseError: WRITE_FAILED.

    ValueError for nan and infinity, which JSON does not have.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode(errors=NO_UTF8):
        write_text(path, text)
