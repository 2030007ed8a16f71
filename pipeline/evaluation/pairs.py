"""Which prediction belongs to which reference, and both of a pair on one grid."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.errors import CaseError, InputError
from pipeline.io.case_ids import LABEL_ENDING, safe_path
from pipeline.io.dicom_seg import is_segmentation, read_segmentation
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.nearest import nearest, on_one_lattice
from pipeline.io.volume import Volume
from pipeline.io.write import BESIDE_LABELS

logger = logging.getLogger(__name__)

PLOTS = "plots"  # the folder of an evaluation's pictures, beside its tables


@dataclass(frozen=True)
class Pair:
    """The two maps of one case."""

    id: str
    prediction: Case
    reference: Case


def find_pairs(predictions: Path, references: Path, *, out: Path | None = None) -> tuple[list[Pair], list[str]]:
    """Each reference with its prediction, and the ids of predictions without a reference.

    out: where the evaluation is written; if that lies among the predictions, the plots there are none of them.

    Two files belong together. In two folders those do that have one path below their folder, without the suffix of the
    format and without an ending such as _label, _seg or _mask. InputError: nothing there, a reference without a
    prediction, two files for one case.
    """
    if predictions.is_file() and references.is_file():
        (prediction,), (reference,) = find_cases(predictions), find_cases(references)
        return [Pair(prediction.id, prediction, reference)], []
    predicted, referred = maps_by_id(predictions, out=out), maps_by_id(references)
    missing = sorted(referred.keys() - predicted.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(referred)} references in {references} have no prediction in {predictions} "
            f"({', '.join(missing[:5])}{', ...' * (len(missing) > 5)}): predict them too, or move them away"
        )
    matched = [Pair(name, predicted[name], reference) for name, reference in sorted(referred.items())]
    return matched, sorted(predicted.keys() - referred.keys())


def maps_by_id(folder: Path, *, out: Path | None = None) -> dict[str, Case]:
    """The maps of a folder by the name of their case: the path below it without suffix and ending (_label, _seg, ...).

    What a run leaves beside its labels (contours over scans, probabilities, ...) and, of an evaluation in the folder
    `out`, its plots are passed over.
    InputError: nothing there, two files for one case.
    """
    found: dict[str, Case] = {}
    beside = 0
    drawn = {(folder / name).resolve() for name in BESIDE_LABELS}
    drawn |= {(out / PLOTS).resolve()} if out else set()
    for case in chain.from_iterable(_one_map_each(case, folder) for case in find_cases(folder)):
        place = case.files[0].parent.resolve()
        if drawn & {place, *place.parents}:
            beside += 1
            continue
        name = LABEL_ENDING.sub("", case.id)
        if name in found:
            both = f"{found[name].files[0]} and {case.files[0]}"
            raise InputError(f"{both} are both maps of case {name}: keep one of them in {folder}")
        found[name] = case
    if beside:
        logger.info("%d of these are contours and the like that a run left beside its labels: passed over", beside)
    if not found:
        raise InputError(f"{folder} holds nothing to compare but contours and plots: give the folder of the labels")
    return found


def read_pair(pair: Pair, *, resample: bool) -> tuple[Volume, Volume, bool]:
    """Prediction and reference on one grid, and whether the reference was resampled (nearest neighbour) for that.

    resample: bring a reference on another grid onto the prediction's; what lies outside of it is cut off.
    CaseError: as `read_case` and `read_segmentation`; GRID_MISMATCH.
    """
    prediction, reference = read_map(pair.prediction), read_map(pair.reference)
    if not prediction.same_grid(reference) and prediction.spatial_dims == reference.spatial_dims == 3:
        prediction, reference = _without_loss(pair, prediction, reference)
    if prediction.same_grid(reference):
        return prediction, reference, False
    where = f"{_grid(prediction)} for the prediction, {_grid(reference)} for the reference"
    if prediction.spatial_dims != reference.spatial_dims or prediction.spatial_dims == 2:
        message = f"{pair.id}: {where}: pictures are compared pixel by pixel, bring them to one size"
        raise CaseError("GRID_MISMATCH", message)
    if not resample:
        raise CaseError("GRID_MISMATCH", f"{pair.id}: {where}: bring them to one grid, or say --resample-reference")
    return prediction, nearest(reference, like=prediction), True


def read_map(case: Case) -> Volume:
    """A label map of any format, on its own grid. CaseError: as `read_case` and `read_segmentation`."""
    return read_segmentation(case.files[0]) if _is_segmentation(case) else read_case(case)


def with_empty_slices(case: Case, labels: Volume, like: Volume) -> Volume:
    """Of a DICOM Segmentation the labels with the empty slices that it left out, on the grid of `like`.

    As they are: any other map, and one that does not lie on the voxels of `like`.
    """
    if not _is_segmentation(case) or labels.spatial_dims != like.spatial_dims or not on_one_lattice(labels, like):
        return labels
    placed = nearest(labels, like)
    return placed if np.count_nonzero(placed.array) == np.count_nonzero(labels.array) else labels


def paths_of(pair: Pair) -> tuple[Path, ...]:
    """All files of the pair."""
    return (*pair.prediction.files, *pair.reference.files)


def _one_map_each(case: Case, folder: Path) -> list[Case]:
    """Every file of a series of DICOM Segmentations, named as other label maps are: not by its folder."""
    if not _is_segmentation(case):
        return [case]
    base = folder if folder.is_dir() else folder.parent
    names = [safe_path(path.relative_to(base).with_suffix("").parts) for path in case.files]
    return [replace(case, id=name, files=(path,)) for name, path in zip(names, case.files, strict=True)]


def _is_segmentation(case: Case) -> bool:
    return case.kind == "dicom" and is_segmentation(case.files[0])


def _without_loss(pair: Pair, prediction: Volume, reference: Volume) -> tuple[Volume, Volume]:
    """Both with their axes in one order and direction; a DICOM Segmentation with the empty slices it left out."""
    from pipeline.io.orientation import canonical

    whole = with_empty_slices(pair.prediction, prediction, like=reference)
    if whole is not prediction:
        return whole, reference
    whole = with_empty_slices(pair.reference, reference, like=prediction)
    if whole is not reference:
        return prediction, whole
    return canonical(prediction), canonical(reference)


def _grid(volume: Volume) -> str:
    return f"shape {volume.spatial_shape} with affine {volume.affine.round(3).tolist()}"
