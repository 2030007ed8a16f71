"""Names of cases: relative paths that are safe to write under on any system, each one once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# How the label map of a case X is called, in datasets and by other programs: X_label, X_seg, X-mask, ...
LABEL_ENDING = re.compile(r"[_-](labels?|seg|segmentation|masks?|gt)$", re.IGNORECASE)
# How the image of a case X is called, likewise: X, X_ct, X_image, X_0000, ...
IMAGE_ENDING = re.compile(r"[_-](ct|mri?|images?|img|0000)$", re.IGNORECASE)

_BAD_CHARACTERS = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f-\x9f\u2028\u2029]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def safe_path(parts: Sequence[str]) -> str:
    """`parts` joined by "/": no "..", nothing that Windows refuses, no lone surrogates of undecodable names."""
    return "/".join(_safe_part(part) for part in parts) or "_"


def unique_ids(choices: Sequence[Sequence[str]]) -> list[str]:
    """One id a case, all different also where upper and lower case are one.

    choices: for each case its names from the shortest to the fullest. Cases that share a name all move to their next
        one; those that still share their last one are numbered in order: name, name_2, name_3.
    """
    level = [0] * len(choices)
    while True:
        names = [case[step] for case, step in zip(choices, level, strict=True)]
        count = Counter(name.casefold() for name in names)
        again = [i for i, name in enumerate(names) if count[name.casefold()] > 1 and level[i] + 1 < len(choices[i])]
        if not again:
            return _numbered(names)
        for i in again:
            level[i] += 1


def _numbered(names: Sequence[str]) -> list[str]:
    taken = {name.casefold() for name in names}
    used: set[str] = set()
    ids = []
    for name in names:
        chosen, number = name, 1
        while chosen.casefold() in used or (number > 1 and chosen.casefold() in taken):
            number += 1
            chosen = f"{name}_{number}"
        used.add(chosen.casefold())
        ids.append(chosen)
    return ids


def _safe_part(part: str) -> str:
    text = part.encode("utf-8", "replace").decode("utf-8")
    text = _BAD_CHARACTERS.sub("_", text).rstrip(". ") or "_"
    return f"_{text}" if _DEVICES.fullmatch(text) else text
