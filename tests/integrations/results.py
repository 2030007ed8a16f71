"""RESULT.md: what came of the last run of each trial in an environment of its own."""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).resolve().parent / "RESULT.md"
TITLE = "# The last runs of what needs environments of its own\n"


def recorded(name: str) -> list[str]:
    """The lines that stand under the heading `name`."""
    return _sections().get(name, "").splitlines()


def record(name: str, lines: list[str]) -> None:
    """Put `lines` under the heading `name`, in place of what stood there."""
    sections = _sections()
    sections[name] = "\n".join(lines)
    whole = TITLE + "\n" + "".join(f"## {heading}\n\n{sections[heading].strip()}\n\n" for heading in sorted(sections))
    FILE.write_text(whole.rstrip("\n") + "\n", encoding="utf-8")


def _sections() -> dict[str, str]:
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else TITLE
    return dict(re.findall(r"^## (.+)\n\n((?:(?!^## ).*\n)*)", text, flags=re.MULTILINE))
