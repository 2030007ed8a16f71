"""The keys of a bundle's config, written as MONAI writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SEPARATOR = "::"  # MONAI's, between the levels of a key


def entries(config: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a config at every level with its value, the key written as MONAI does: a, a::b, a::0::c."""
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for name, value in pairs:
        key = f"{above}{name}"
        yield key, value
        yield from entries(value, f"{key}{SEPARATOR}")
