"""The keys of a bundle's config, written as MONAI writes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError

SEPARATOR = "::"  # MONAI's, between the levels of a key


def entries(config: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a config at every level with its value, the key written as MONAI does: a, a::b, a::0::c."""
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for name, value in pairs:
        key = f"{above}{name}"
        yield key, value
        yield from entries(value, f"{key}{SEPARATOR}")


def load(config: Path) -> dict[str, Any]:
    """A config as it is written. InputError: it is no YAML, or no list of keys with values."""
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{config} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{config} holds no keys with values")
    return content


def keys(config: Path) -> list[str]:
    """Every key of a YAML config at every level, as it overrides: without the + that extends a list."""
    return [without_plus(key) for key, _ in entries(load(config))]


def without_plus(key: str) -> str:
    """A key as it is known, of "+key", which extends what lies there, too."""
    return key.removeprefix("+")


def near(key: str, known: Sequence[str]) -> str:
    """What to write instead of a key that is not known: the near ones, else those of the top level."""
    if found := difflib.get_close_matches(key, known, n=3):
        return f"near are {', '.join(found)}"
    return f"known are {', '.join(name for name in known if SEPARATOR not in name)}"
