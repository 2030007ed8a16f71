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
_KEYS = {"category", "type", "rgb", "plausible_ml", "parts"}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One label: its name, the codes of what it is (DICOM's category and type) and its colour, 0 to 255 each.

    plausible_ml: between these a whole one in a patient lies. parts: as how many it appears at most. None: any.
    """

    name: str
    category: Code = TISSUE
    type: Code = TISSUE
    rgb: tuple[int, int, int] = _COLOURS[0]
    plausible_ml: tuple[float, float] | None = None
    parts: int | None = None


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

    described: {"1": {"category": {"value", "scheme", "meaning"}, "type": the same, "rgb": [185, 102, 83],
        "plausible_ml": [50, 800], "parts": 2}}; what is not said takes the defaults above.
    InputError: a label without a name, an unknown key, no code, no colour, no such numbers.
    """
    if strangers := set(described) - {str(label) for label in names}:
        raise InputError(
            f"metadata.json: segments describes {sorted(strangers)}, which label_def or channel_def does not name"
        )
    return {label: _segment(label, name, described.get(str(label), {})) for label, name in names.items()}


def _segment(label: int, name: str, said: Mapping[str, Any]) -> Segment:
    where = f"metadata.json: segments, label {label}"
    if unknown := set(said) - _KEYS:
        raise InputError(f"{where}: {sorted(unknown)} is none of {', '.join(sorted(_KEYS))}")
    rgb: Sequence[Any] = said.get("rgb", _unknown(label).rgb)
    if len(rgb) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in rgb):
        raise InputError(f"{where}: rgb is {rgb}, it must be three whole numbers from 0 to 255")
    codes: dict[str, Any] = {key: _code(said[key], f"{where}, {key}") for key in ("category", "type") if key in said}
    return Segment(name=name, rgb=(rgb[0], rgb[1], rgb[2]), **codes, **_expected(said, where))


def _expected(said: Mapping[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (parts := said.get("parts")) is not None:
        if not isinstance(parts, int) or parts < 1:
            raise InputError(f"{where}: parts is {parts}, it must be a whole number from 1 on")
        found["parts"] = parts
    if (ends := said.get("plausible_ml")) is not None:
        numbers = isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
        if not numbers or not 0 <= ends[0] < ends[1]:
            raise InputError(f"{where}: plausible_ml is {ends}, it must be two numbers, the smaller one first")
        found["plausible_ml"] = (float(ends[0]), float(ends[1]))
    return found


def _code(said: Any, where: str) -> Code:
    is_code = isinstance(said, dict) and set(said) == set(Code._fields)
    if not is_code or not all(isinstance(text, str) for text in said.values()):
        raise InputError(f"{where}: a code has the texts {', '.join(Code._fields)}, here is {said}")
    return Code(**said)


def _unknown(label: int) -> Segment:
    return Segment(name=f"label {label}", rgb=_COLOURS[(label - 1) % len(_COLOURS)])
