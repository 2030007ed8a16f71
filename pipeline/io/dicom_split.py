"""One series that holds several volumes, taken apart: by orientation, then by what tells slices at one place apart.

Where no two slices share a place the series stays whole, whatever its slices say: many scanners count an acquisition
for every turn of the tube. It stays whole, too, where no part would be a volume: reading it names what is wrong.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.io.dicom_geometry import FEWEST_SLICES, ORIENTATION_TOLERANCE

if TYPE_CHECKING:
    from pipeline.io.dicom_header import Header

# What may tell the volumes of a series apart, the most telling first -> how that is called in the id of a case.
_MARKS = {
    "AcquisitionNumber": "acquisition", "EchoNumbers": "echo", "EchoTime": "echo_time",
    "TemporalPositionIdentifier": "time", "DiffusionBValue": "b", "ImageType": "type",
}  # fmt: skip
# They differ from slice to slice, but at every place the first in time is of the first phase.
_CLOCKS = ("TriggerTime", "AcquisitionTime", "ContentTime")
_PHASE = "phase"
SPLIT_TAGS = ("ImageOrientationPatient", "ImagePositionPatient", *_MARKS, *_CLOCKS)
_SAME_MM = 0.01  # slices closer than this are at one place
_PLANES = ("sagittal", "coronal", "axial")  # by the axis that the normal is nearest to


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slice lies and what it says of itself, as little as discovery can remember of a million of them.

    orientation: direction cosines of row and column. height: mm along the normal.
    marks, clocks: in the order of _MARKS and _CLOCKS; empty or nan where the header has none.
    """

    orientation: tuple[float, ...]
    height: float
    marks: tuple[str, ...]
    clocks: tuple[float, ...]


@dataclass(frozen=True)
class Part:
    """A volume of a series: its name, empty for a whole series, what told it apart, and the slices' indices."""

    name: str
    told_by: tuple[str, ...]
    indices: tuple[int, ...]


@lru_cache(maxsize=4096)
def shared(value: Hashable) -> Any:
    """The value itself, one object for all slices that say the same: there may be a million of them."""
    return value


def place_of(header: Header) -> Place | None:
    """None where the header does not say where its slice lies; reading it will say what is wrong."""
    try:
        orientation = tuple(float(cosine) for cosine in header.get("ImageOrientationPatient"))
        normal = _normal(orientation)
        height = float(normal @ [float(mm) for mm in header.get("ImagePositionPatient")])
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(height) and normal.any()):
        return None
    marks = tuple(_word(header.get(keyword)) for keyword in _MARKS)
    clocks = tuple(_seconds(header.get(keyword)) for keyword in _CLOCKS)
    return Place(shared(orientation), height, shared(marks), shared(clocks))


@lru_cache(maxsize=64)
def _normal(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    return np.cross(orientation[:3], orientation[3:])


def split(places: Sequence[Place | None]) -> list[Part]:
    """The volumes of one series, the slices of which lie at `places`; one without a name where it is left whole."""
    known = [place for place in places if place is not None]
    whole = tuple(range(len(places)))
    if len(known) < len(places):
        return [Part("", (), whole)]
    stacks = _by_orientation(known)
    if len(stacks) == 1 or max(map(len, stacks.values())) < FEWEST_SLICES:
        return [Part("", (), whole)] if len(stacks) > 1 else _apart(whole, known)
    return [
        Part(_joined(name, part.name), ("orientation", *part.told_by), part.indices)
        for name, indices in stacks.items()
        for part in _apart(indices, known)
    ]


def _by_orientation(places: Sequence[Place]) -> dict[str, tuple[int, ...]]:
    """Name of a plane -> the slices parallel to it."""
    stacks: dict[tuple[float, ...], list[int]] = {}
    for index, place in enumerate(places):
        for first in stacks:
            if max(abs(a - b) for a, b in zip(first, place.orientation, strict=True)) <= ORIENTATION_TOLERANCE:
                stacks[first].append(index)
                break
        else:
            stacks[place.orientation] = [index]
    planes = defaultdict(list)
    for first in sorted(stacks):
        planes[_PLANES[int(np.abs(np.cross(first[:3], first[3:])).argmax())]].append(tuple(stacks[first]))
    return {
        plane if len(found) == 1 else f"{plane}_{number}": indices
        for plane, found in planes.items()
        for number, indices in enumerate(found, start=1)
    }


def _apart(indices: tuple[int, ...], places: Sequence[Place]) -> list[Part]:
    """Slices of one orientation, split until no two share a place or nothing more tells them apart."""
    most = _crowd(indices, places)
    for number, (keyword, word) in enumerate(_MARKS.items()):
        groups = defaultdict(list)
        for index in indices:
            groups[places[index].marks[number]].append(index)
        if _tells(groups, most, places):
            return [
                Part(_joined(f"{word}_{value or 'none'}", part.name), (keyword, *part.told_by), part.indices)
                for value in sorted(groups)
                for part in _apart(tuple(groups[value]), places)
            ]
    for number, keyword in enumerate(_CLOCKS):
        phases = _phases(indices, places, number)
        if _tells(phases, most, places):
            return [Part(f"{_PHASE}_{k}", (keyword,), tuple(phases[k])) for k in sorted(phases)]
    return [Part("", (), indices)]


def _tells(groups: Mapping[Any, Sequence[int]], most: int, places: Sequence[Place]) -> bool:
    """Whether `groups` thin out the places that `most` slices share, and are volumes rather than turns of the tube.

    Never where no slices share a place: `most` is 1 then.
    """
    return (
        1 < len(groups) <= most
        and max(map(len, groups.values())) >= FEWEST_SLICES
        and max(_crowd(group, places) for group in groups.values()) < most
    )


def _phases(indices: Sequence[int], places: Sequence[Place], clock: int) -> dict[int, list[int]]:
    """Number from 1 -> the slices that were the first, second, ... in time at their places; {} if that is unclear."""
    phases = defaultdict(list)
    stacked = _at_one_place(indices, places)
    for together in stacked:
        times = [places[index].clocks[clock] for index in together]
        if len(together) != len(stacked[0]) or len(set(times)) < len(times) or any(map(math.isnan, times)):
            return {}
        for number, (_, index) in enumerate(sorted(zip(times, together, strict=True)), start=1):
            phases[number].append(index)
    return phases


def _crowd(indices: Sequence[int], places: Sequence[Place]) -> int:
    """How many slices share a place, at most."""
    return max(map(len, _at_one_place(indices, places)))


def _at_one_place(indices: Sequence[int], places: Sequence[Place]) -> list[list[int]]:
    stacked: list[list[int]] = []
    for index in sorted(indices, key=lambda index: places[index].height):
        if stacked and places[index].height - places[stacked[-1][-1]].height <= _SAME_MM:
            stacked[-1].append(index)
        else:
            stacked.append([index])
    return stacked


def _word(value: Any) -> str:
    """A mark as part of an id; of an ImageType what follows ORIGINAL and PRIMARY."""
    if value is None or value == "":
        return ""
    words = [str(value)] if isinstance(value, str) or not isinstance(value, Sequence) else [str(each) for each in value]
    return "_".join("_".join(words[2:] or words).split())


def _seconds(value: Any) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _joined(*names: str) -> str:
    return "_".join(name for name in names if name)
