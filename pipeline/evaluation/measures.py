"""One pair of maps into scores: label maps, maps of objects, probability maps. Workers get these, so they are small.

What computes (scipy, numba) is imported where it is called: the process that only hands out cases needs none of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.evaluation.pairs import Pair
from pipeline.io.pixels import as_labels, has_grey_levels
from pipeline.io.volume import Volume
from pipeline.metrics.overlap import Overlap, Status

Missing = Literal["diagonal", "inf", "nan"]
Surface = Literal["voxel", "surfel"]

OBJECTS, FOREGROUND = "objects", "foreground"
MOST_UNNAMED = 128  # different values of a picture that are taken for labels though nobody has named them
_IN_PIXELS = {"mm": "px", "mm2": "px2"}


@dataclass(frozen=True)
class Row:
    """One number of one case. label: its name; unit: 1 (a share), mm, ml, px, ... ."""

    label: str
    metric: str
    value: float
    unit: str
    status: Status


@dataclass(frozen=True)
class CaseScores:
    """What one case came to.

    counts: label -> its voxels.  voxel_volume: of one voxel, in volume_unit.
    sums: what a figure over the whole set is made from, by name: matched, predicted in vain, missed objects, IoU sum.
    resampled: the reference was brought onto the prediction's grid.
    """

    rows: Sequence[Row]
    counts: Mapping[str, Overlap]
    voxel_volume: float
    volume_unit: str
    sums: Mapping[str, Sequence[float]] = field(default_factory=dict)
    resampled: bool = False

    def by_label(self) -> dict[str, list[Row]]:
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.label].append(row)
        return dict(found)


@dataclass(frozen=True, kw_only=True)
class LabelMeasure:
    """Overlap, volume and surface distances of every label; the terms are those of `pipeline.metrics.labels`.

    names: label -> name, of all that may occur; None: whatever occurs, named by its number.
    """

    names: Mapping[int, str] | None = None
    surface: Surface = "voxel"
    tolerance_mm: float = 1.0
    missing: Missing = "diagonal"
    kind: str = "labels"

    def __call__(self, pair: Pair, prediction: Volume, reference: Volume) -> CaseScores:
        """CaseError BAD_LABELS: fractions, negative numbers, channels, a label that nobody has named."""
        from pipeline.metrics.labels import compare_labels

        maps = _labels(prediction, pair.prediction.files[0]), _labels(reference, pair.reference.files[0])
        if self.names is None and prediction.spatial_dims == 2:
            _check_not_grey(maps[0], pair.prediction.files[0])
            _check_not_grey(maps[1], pair.reference.files[0])
        try:
            found = compare_labels(*maps, prediction.spacing_mm, surface=self.surface)
        except ValueError as error:
            raise CaseError("BAD_LABELS", f"{pair.id}: {error}") from error
        if self.names is None:
            names: Mapping[int, str] = {label: str(label) for label in found.overlaps}
        else:
            names = self.names
            self._check_named(pair, found.overlaps)
            found = replace(found, overlaps={label: found.overlaps.get(label, Overlap(0, 0, 0)) for label in names})
        in_pixels = _is_in_pixels(prediction)
        rows = [
            Row(names[score.label], score.metric, score.value, _unit(score.unit, in_pixels), score.status)
            for score in found.scores(self.tolerance_mm, missing=self.missing)
        ]
        counts = {name: found.overlaps[label] for label, name in names.items()}
        return CaseScores(rows, counts, *_voxel_volume(prediction))

    def _check_named(self, pair: Pair, overlaps: Mapping[int, Overlap]) -> None:
        for label, counts in overlaps.items():
            if label not in (self.names or {}):
                path = (pair.prediction if counts.prediction else pair.reference).files[0]
                message = f"{path} holds the label {label}, which nobody has named: say --labels {label}=NAME too"
                raise CaseError("BAD_LABELS", message)


@dataclass(frozen=True, kw_only=True)
class InstanceMeasure:
    """Objects found, matched and outlined, as in `pipeline.metrics.instances`; lengths in pixels."""

    missing: Missing = "diagonal"
    kind: str = "instances"

    def __call__(self, pair: Pair, prediction: Volume, reference: Volume) -> CaseScores:
        """CaseError BAD_LABELS: as `LabelMeasure`."""
        from pipeline.metrics import instances

        maps = (
            as_integers(prediction, pair.prediction.files[0]),
            as_integers(reference, pair.reference.files[0]),
        )
        objects = instances.object_pairs(*maps)
        foreground = _foreground(*maps)
        at_half, glas = instances.detections(objects), instances.glas_detections(objects)
        one_empty = {"diagonal": None, "inf": math.inf, "nan": math.nan}[self.missing]
        values = {
            "ap": instances.average_precision(objects),
            "ap50": at_half.average_precision,
            "ap75": instances.detections(objects, iou=0.75).average_precision,
            "pq": at_half.panoptic_quality,
            "sq": at_half.segmentation_quality,
            "rq": at_half.f1,
            "aji": instances.aggregated_jaccard(objects),
            "object_f1": glas.f1,
            "object_dice": instances.object_dice(objects),
            "object_hausdorff": instances.object_hausdorff(objects, one_empty=one_empty),
            "count_error": float(objects.count_error),
        }
        units = {"object_hausdorff": "px", "count_error": "objects"}
        rows = [Row(OBJECTS, name, value, units.get(name, "1"), objects.status) for name, value in values.items()]
        sums = {name: tuple(asdict(each).values()) for name, each in (("at_half", at_half), ("glas", glas))}
        return CaseScores(rows, {OBJECTS: foreground}, 1.0, "px2", sums)


@dataclass(frozen=True, kw_only=True)
class SaliencyMeasure:
    """Probability maps of pictures against masks, as in `pipeline.metrics.saliency`.

    threshold: share of a mask's range above which it is the object; None: a half, of masks without grey levels alone.
    """

    threshold: float | None = None
    kind: str = "saliency"

    def __call__(self, pair: Pair, prediction: Volume, reference: Volume) -> CaseScores:
        """CaseError BAD_MAP: channels, slices, a type without a range, values outside 0..1; GREY_MASK."""
        from pipeline.metrics import saliency

        predicted = _probabilities(prediction, pair.prediction.files[0])
        referred = _probabilities(reference, pair.reference.files[0])
        if self.threshold is None and has_grey_levels(referred):
            message = (
                f"{pair.reference.files[0]} has grey levels: say by --threshold above which share it is the object"
            )
            raise CaseError("GREY_MASK", message)
        cut = 0.5 if self.threshold is None else self.threshold
        counts = saliency.adaptive_overlap(predicted, referred, threshold=cut)
        values = {
            "weighted_f_beta": saliency.weighted_f_beta(predicted, referred, threshold=cut),
            "adaptive_f_beta": saliency.f_beta(counts),
            "mae": saliency.mean_absolute_error(predicted, referred, threshold=cut),
        }
        rows = [Row(FOREGROUND, metric, value, "1", counts.status) for metric, value in values.items()]
        return CaseScores(rows, {FOREGROUND: counts}, 1.0, "px2")


Measure = LabelMeasure | InstanceMeasure | SaliencyMeasure


def as_integers(volume: Volume, path: Path) -> NDArray[np.unsignedinteger]:
    """The map as labels of an unsigned type, uint8 uncopied. CaseError BAD_LABELS naming the file."""
    if volume.array.ndim > volume.spatial_dims:
        channels = f"{volume.array.shape[-1]} channels where labels have one"
        raise CaseError("BAD_LABELS", f"{path} has {channels}: save the mask as grey values")
    try:
        return as_labels(volume.array)
    except ValueError as error:
        raise CaseError("BAD_LABELS", f"{path}: {error}; a probability map is scored with --saliency") from error


def _labels(volume: Volume, path: Path) -> NDArray[np.unsignedinteger]:
    labels = as_integers(volume, path)
    # A black and white picture is a mask: 255 is white, not the 255th label.
    is_mask = volume.spatial_dims == 2 and not ((labels != 0) & (labels != 255)).any()
    return (labels > 0).astype(np.uint8) if is_mask else labels


def _check_not_grey(labels: NDArray[np.unsignedinteger], path: Path) -> None:
    """A probability map in 8 bits is no file that a type gives away, and has hundreds of `labels`."""
    values = len(np.unique(labels))
    if values > MOST_UNNAMED:
        message = f"{path} holds {values} different values: if they are labels name them by --labels, if it is a"
        raise CaseError("BAD_LABELS", f"{message} probability map score it with --saliency, if objects --instances")


def _probabilities(volume: Volume, path: Path) -> NDArray[np.float64]:
    """(H, W) in 0..1: 8 and 16 bits by their range, except that a map of 0 and 1 only is a mask as it is."""
    values = volume.array[..., 0] if volume.array.shape[2:] == (1,) else volume.array
    if values.ndim != 2:
        message = f"{path} of shape {volume.array.shape} is no picture of one channel: save its slices one by one"
        raise CaseError("BAD_MAP", message)
    if values.dtype in (np.uint8, np.uint16):
        return values / (1.0 if values.max(initial=0) <= 1 else float(np.iinfo(values.dtype).max))
    if values.dtype.kind != "f":
        raise CaseError("BAD_MAP", f"{path} is of type {values.dtype}: save it in 8 or 16 bits, or as floats in 0..1")
    if not (values.min(initial=0) >= 0 and values.max(initial=0) <= 1):
        ends = f"{values.min()} to {values.max()}"
        raise CaseError("BAD_MAP", f"{path} runs from {ends}, a probability lies in 0..1: scale it")
    return values.astype(np.float64)


def _foreground(prediction: NDArray, reference: NDArray) -> Overlap:
    masks: Iterable[NDArray[np.bool_]] = ((prediction > 0) & (reference > 0), prediction > 0, reference > 0)
    return Overlap(*(int(np.count_nonzero(mask)) for mask in masks))


def _is_in_pixels(volume: Volume) -> bool:
    """Whether it is a picture whose pixel size nobody knows (see `Volume`)."""
    return volume.spatial_dims == 2 and bool((volume.affine == np.eye(3)).all())


def _unit(unit: str, in_pixels: bool) -> str:
    return _IN_PIXELS.get(unit, unit) if in_pixels else unit


def _voxel_volume(volume: Volume) -> tuple[float, str]:
    size = math.prod(volume.spacing_mm)
    if volume.spatial_dims == 3:
        return size * 1e-3, "ml"
    return size, _unit("mm2", _is_in_pixels(volume))
