"""What computed a result: recorded beside it, so that it can be computed again."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*packages: str) -> dict[str, str | None]:
    """Python and each package -> its version; None for one that is not installed (a checkout run as it is)."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
