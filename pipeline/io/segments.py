"""What a label is in the words of a coding scheme, and what drew it: DICOM has no names without codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.errors import InputError


class Code(NamedTuple):
    """A concept of a coding scheme: ("64033007", "SCT", "Kidney") is SNOMED CT's kidney."""

    value: str
    scheme: str
    meaning: str


# 3D Slicer too calls a segment that nobody has described tissue of the kind tissue.
TISSUE = Code("85756007", "SCT", "Tissue")
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
# Colours of labels that come without one, told apart by the colour-blind (Okabe and Ito 2008).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One label: its name, the codes of what it is (DICOM's category and type) and its colour, 0 to 255 each."""

    name: str
    category: Code = TISSUE
    type: Code = TISSUE
    rgb: tuple[int, int, int] = _COLOURS[0]


@dataclass(frozen=True, kw_only=True)
class Authorship:
    """What made a label map.

    algorithm, version: the bundle's name and version. weights_sha256: of its weights. segments: label -> what it is.
    automatic: False where a person's contour was the beginning.
    """

    algorithm: str
    version: str
    weights_sha256: str
    segments: Mapping[int, Segment]
    automatic: bool = True

    def described(self, highest: int) -> list[Segment]:
        """The segments 1, 2, ... up to the last that is named here or up to label `highest`; at least one."""
        last = max(highest, 1, *self.segments)
        return [self.segments.get(k) or _unknown(k) for k in range(1, last + 1)]


def segments_of(names: Mapping[int, str], described: Mapping[str, Any]) -> dict[int, Segment]:
    """Label -> segment from a bundle's metadata.json: `names` of its labels, and what its key "segments" says of each.

    described: {"1": {"category": {"value", "scheme", "meaning"}, "type": the same, "rgb": [185, 102, 83]}}; what is
        not said takes the defaults above. InputError: a label without a name, an unknown key, no code, no colour.
    """
    if strangers := set(described) - {str(label) for label in names}:
        raise InputError(f"metadata.json: segments describes {sorted(strangers)}, which channel_def does not name")
    return {label: _segment(label, name, described.get(str(label), {})) for label, name in names.items()}


def _segment(label: int, name: str, said: Mapping[str, Any]) -> Segment:
    where = f"metadata.json: segments, label {label}"
    if unknown := set(said) - {"category", "type", "rgb"}:
        raise InputError(f"{where}: {sorted(unknown)} is none of category, type and rgb")
    rgb: Sequence[Any] = said.get("rgb", _unknown(label).rgb)
    if len(rgb) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in rgb):
        raise InputError(f"{where}: rgb is {rgb}, it must be three whole numbers from 0 to 255")
    codes = {key: _code(said[key], f"{where}, {key}") for key in ("category", "type") if key in said}
    return Segment(name=name, rgb=(rgb[0], rgb[1], rgb[2]), **codes)


def _code(said: Any, where: str) -> Code:
    is_code = isinstance(said, dict) and set(said) == set(Code._fields)
    if not is_code or not all(isinstance(text, str) for text in said.values()):
        raise InputError(f"{where}: a code has the texts {', '.join(Code._fields)}, here is {said}")
    return Code(**said)


def _unknown(label: int) -> Segment:
    return Segment(name=f"label {label}", rgb=_COLOURS[(label - 1) % len(_COLOURS)])
