"""Predicted label maps against references, case by case: which belong together, and how much they overlap."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError, InputError
from pipeline.io.case_ids import LABEL_ENDING
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.pixels import as_labels
from pipeline.io.volume import Volume
from pipeline.io.write import OVERLAYS
from pipeline.metrics.overlap import Overlap, contingency, overlap

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """The two label maps of one case."""

    id: str
    prediction: Case
    reference: Case


@dataclass(frozen=True)
class Evaluation:
    """What a folder of label maps came to.

    cases: id -> label -> its voxel counts, for the pairs that could be compared. failed: id -> why the others could
    not. names: label -> name. unmatched: ids of predictions without a reference, which are left out.
    """

    cases: Mapping[str, Mapping[int, Overlap]]
    failed: Mapping[str, CaseError]
    names: Mapping[int, str]
    unmatched: Sequence[str]


def evaluate_folder(predictions: Path, references: Path, names: Mapping[int, str] | None = None) -> Evaluation:
    """Compare every reference with its prediction (`pairs`). names: the labels to score; None: all that occur.

    A pair that cannot be read, or lies on two grids, is in `failed`; the others go on. InputError as in `pairs`.
    """
    matched, unmatched = pairs(predictions, references)
    tables: dict[str, NDArray[np.int64]] = {}
    failed: dict[str, CaseError] = {}
    for pair in matched:
        try:
            tables[pair.id] = compare(pair)
            logger.info("%s: compared", pair.id)
        except CaseError as error:
            failed[pair.id] = error
            logger.warning("%s: %s %s", pair.id, error.code, error.message)
    names = names or {label: str(label) for label in _labels_in(tables)}
    cases = {name: {label: overlap(table, label) for label in names} for name, table in tables.items()}
    return Evaluation(cases, failed, names, unmatched)


def pairs(predictions: Path, references: Path) -> tuple[list[Pair], list[str]]:
    """Each reference with its prediction, and the ids of predictions without a reference.

    Two files belong together. In two folders those do that have one path below their folder, without the suffix of the
    format and without an ending such as _label, _seg or _mask. InputError: nothing there, a reference without a
    prediction, two files for one case.
    """
    if predictions.is_file() and references.is_file():
        (prediction,), (reference,) = find_cases(predictions), find_cases(references)
        return [Pair(prediction.id, prediction, reference)], []
    predicted, referred = _by_id(predictions), _by_id(references)
    missing = sorted(referred.keys() - predicted.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(referred)} references in {references} have no prediction in {predictions} "
            f"({', '.join(missing[:5])}{', ...' * (len(missing) > 5)}): predict them too, or move them away"
        )
    matched = [Pair(name, predicted[name], reference) for name, reference in sorted(referred.items())]
    return matched, sorted(predicted.keys() - referred.keys())


def compare(pair: Pair) -> NDArray[np.int64]:
    """The table of `metrics.overlap.contingency` of a pair. CaseError as `read_case`, GRID_MISMATCH, BAD_LABELS."""
    prediction, reference = read_case(pair.prediction), read_case(pair.reference)
    if not prediction.same_grid(reference):
        where = f"{_grid(prediction)} for the prediction, {_grid(reference)} for the reference"
        raise CaseError("GRID_MISMATCH", f"{pair.id}: {where}: bring them to one grid, the labels by nearest neighbour")
    try:
        return contingency(_labels(prediction), _labels(reference))
    except ValueError as error:
        raise CaseError("BAD_LABELS", f"{pair.id}: {error}") from error


def _by_id(folder: Path) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for case in find_cases(folder):
        if folder / OVERLAYS in case.files[0].parents:
            continue
        name = LABEL_ENDING.sub("", case.id)
        if name in found:
            both = f"{found[name].files[0]} and {case.files[0]}"
            raise InputError(f"{both} are both label maps of case {name}: keep one of them in {folder}")
        found[name] = case
    return found


def _labels(volume: Volume) -> NDArray[np.integer]:
    if volume.array.ndim > volume.spatial_dims:
        raise ValueError(f"{volume.array.shape[-1]} channels where labels have one: save the mask as grey values")
    labels = as_labels(volume.array)
    # A black and white picture is a mask: 255 is white, not the 255th label.
    is_mask = volume.spatial_dims == 2 and not ((labels != 0) & (labels != 255)).any()
    return (labels > 0).astype(np.uint8) if is_mask else labels


def _labels_in(tables: Mapping[str, NDArray[np.int64]]) -> list[int]:
    found: set[int] = set()
    for table in tables.values():
        found |= set(np.flatnonzero(table.sum(axis=0) + table.sum(axis=1)).tolist())
    return sorted(found - {0})


def _grid(volume: Volume) -> str:
    return f"shape {volume.spatial_shape} with affine {volume.affine.round(3).tolist()}"
