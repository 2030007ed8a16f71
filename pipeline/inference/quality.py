"""What a reader of cases.csv should look at: size and intensity of every label, flags for what may be wrong.

EMPTY:<name>           the label was not found
TOUCHES_BORDER:<name>  the label reaches the first or last slice or the image's frame: it is cut off there.
                       Of numbered objects, of which nearly every picture cuts some off, objects.csv says which
IMPLAUSIBLE_SIZE:<name>  no whole one of these is as small or as large, says the bundle: a part, or something else
FRAGMENTS:<name>       it lies in more parts than it has, and the smaller ones are more than STRAY of it
PARTS_LEFT_OUT:<name>  it lay in more parts than are kept, and those left out were more than STRAY of it
                       (--all-parts keeps them)
FIELD_OF_VIEW          the scan is wider or narrower in-plane than the scans that the bundle was trained on
FEW_SLICES             fewer than MIN_SLICES slices: an excerpt or a localizer
SIDE_UNSURE            a part lies near the plane between left and right, or across it
EMPTY_INITIAL          there was no contour to refine: the result is the bundle's own
GREY_PICTURE           a picture without colours for a bundle that was trained on colours
COLOURED_PICTURE       a picture with true colours for a bundle of grey pictures, which sees its luminance
CENTER_ON_BACKGROUND:<name>  a centre was given where the network sees no object
STAR_CHANGED:<name>    the star about its centre is far from what the network sees: another shape, or another centre
MODALITY:<modality>    a DICOM header names this modality, and the bundle takes another one
TILTED                 the gantry was tilted, and the network saw the slices as if they lay above one another
SMALLER_BATCHES        the GPU's memory was too small: it had less of the scan at once, for the same labels
CPU_FALLBACK           the GPU's memory was too small: the CPU has done this case
HU_RANGE               almost no voxel has the value of air, so these are hardly Hounsfield units (a baked-in window, a
                       missing rescale intercept, no CT)

A flag never stops a case. FIELD_OF_VIEW, FEW_SLICES and TILTED are about volumes, HU_RANGE about what should be a CT
volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.io.geometry import is_sheared
from pipeline.io.orientation import canonical_order
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume, by_memory
from pipeline.metrics.overlap import Overlap, label_counts

AXES = {2: "yx", 3: "xyz"}  # number of array axes -> their names in tables: a picture's first axis runs down

MODALITY = "MODALITY"
MIN_SLICES = 5
STRAY = 0.01  # share of a label's voxels that may lie beside its parts
# What DICOM calls what bundles take, where the words differ; and what it says of pictures of any origin.
_IN_DICOM = {"MRI": ("MR",), "dermoscopy": ("DMS", "XC"), "microscopy": ("SM", "GM"), "light microscopy": ("SM", "GM")}
_ANY_MODALITY = ("", "OT", "SC")
# The lower bound leaves out padding outside the scanner's circle (-2000, -3024): it must not pass for air.
AIR_HU = (-1100, -200)
MIN_AIR_SHARE = 1e-3


def sizes(labels: Volume, names: Mapping[int, str]) -> dict[str, float]:
    """Column name -> size of each label: `volume_ml_<name>` of a volume, `area_px_<name>` of an image."""
    counts = label_counts(labels.array)
    column, unit = _unit(labels)
    return {
        f"{column}_{column_word(name)}": float(counts[label]) * unit if label < len(counts) else 0.0
        for label, name in names.items()
    }


def count(objects: Volume, names: Mapping[int, str]) -> dict[str, float]:
    """`count_<name>`: how many objects of the only label there are, in a map that numbers them from 1 without gaps."""
    (name,) = names.values()
    return {f"count_{column_word(name)}": float(objects.array.max(initial=0))}


def intensity(image: Volume, labels: Volume, names: Mapping[int, str], *, modality: str) -> dict[str, float]:
    """`mean_hu_<name>` of a CT, else `mean_intensity_<name>`: the image's mean in each label, nan where it is not.

    Of a picture in colour the mean of its channels. modality: what the bundle takes.
    """
    axes = by_memory(labels.array)
    found = labels.array.transpose(axes)
    inside = found != 0
    values = image.array.transpose(*axes, *range(labels.spatial_dims, image.array.ndim))[inside].astype(np.float64)
    values = values.mean(axis=1) if values.ndim > 1 else values
    numbers = found[inside]
    sums, counts = np.bincount(numbers, values), np.bincount(numbers)
    column = "mean_hu" if modality == "CT" and image.spatial_dims == 3 else "mean_intensity"
    return {
        f"{column}_{column_word(name)}": float(sums[label] / counts[label])
        if label < len(counts) and counts[label]
        else float("nan")
        for label, name in names.items()
    }


def change(labels: Volume, initial: Volume) -> dict[str, float]:
    """The size of the mask that a result began from, `volume_ml_initial` or `area_px_initial`, and `dice_to_initial`.

    Both are on one grid; whatever is not 0 is the object. The Dice is 1 where nothing changed, 0 where nothing of the
    mask was kept, nan for an empty mask.
    """
    column, unit = _unit(initial)
    before, after = initial.array != 0, labels.array != 0
    counts = Overlap(*(int(np.count_nonzero(each)) for each in (before & after, after, before)))
    dice = counts.dice if counts.reference else float("nan")
    return {f"{column}_initial": counts.reference * unit, "dice_to_initial": dice}


def used(
    labels: Volume,
    names: Mapping[int, str],
    centers: Mapping[int, NDArray[np.float64]],
    volumes: Mapping[int, tuple[int, int]],
) -> dict[str, float]:
    """What a result was made with: columns center_x, center_y[, center_z], least_px and most_px.

    In pixels of the labels' own grid, the first pixel's centre at 0. _2, _3, ... is added for further objects of one
    label, and _<name> before that where the bundle has several labels.
    """
    columns: dict[str, float] = {}
    for label, name in names.items():
        of = f"_{column_word(name)}" if len(names) > 1 else ""
        for number, center in enumerate(centers.get(label, ()), start=1):
            place = zip(AXES[labels.spatial_dims], map(float, center), strict=True)
            more = f"_{number}" if number > 1 else ""
            columns |= {f"center_{axis}{of}{more}": value for axis, value in sorted(place)}
        if label in volumes:
            columns |= dict(zip((f"least_px{of}", f"most_px{of}"), map(float, volumes[label]), strict=True))
    return columns


def flags(
    image: Volume,
    labels: Volume,
    names: Mapping[int, str],
    *,
    modality: str,
    field_of_view_mm: tuple[float, float] | None = None,
    scanned: str = "",
    segments: Mapping[int, Segment] | None = None,
    numbered: bool = False,
) -> tuple[str, ...]:
    """The flags above that hold for this case.

    modality: what the bundle takes.  field_of_view_mm: the least and greatest in-plane side of the scans that it was
    trained on.  scanned: the modality in the image's header, empty if that is no DICOM.  segments: what is expected of
    labels; None: anything.  numbered: the labels are those of many objects.
    """
    found = [*_label_flags(labels.array, names, cut_off=not numbered), *_unexpected(labels, segments or {})]
    if scanned not in (*_ANY_MODALITY, *_IN_DICOM.get(modality, (modality,))):
        found.append(f"{MODALITY}:{column_word(scanned)}")
    if image.spatial_dims == 3:
        found += _scan_flags(image, field_of_view_mm)
        if modality == "CT" and not _has_air(image.array):
            found.append("HU_RANGE")
    return tuple(found)


def left_out(labels: Volume, small: NDArray[np.bool_], names: Mapping[int, str]) -> tuple[str, ...]:
    """Flags of the labels of which more than STRAY lies in `small`, which is to be left out."""
    whole, lost = label_counts(labels.array), np.bincount(labels.array[small])
    return tuple(
        f"PARTS_LEFT_OUT:{column_word(name)}"
        for label, name in names.items()
        if label < len(lost) and lost[label] > STRAY * whole[label]
    )


def _unit(labels: Volume) -> tuple[str, float]:
    """The column of a size, and the size of one voxel or pixel."""
    if labels.spatial_dims == 3:
        return "volume_ml", abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    return "area_px", 1.0


def _label_flags(labels: NDArray[np.integer], names: Mapping[int, str], *, cut_off: bool) -> Iterator[str]:
    present = label_counts(labels)
    at_border = set()
    for axis in range(labels.ndim):
        for end in (0, -1):
            at_border |= set(np.unique(np.moveaxis(labels, axis, 0)[end]).tolist())
    for label, name in names.items():
        if label >= len(present) or not present[label]:
            yield f"EMPTY:{column_word(name)}"
        elif cut_off and label in at_border:
            yield f"TOUCHES_BORDER:{column_word(name)}"


def _unexpected(labels: Volume, segments: Mapping[int, Segment]) -> Iterator[str]:
    """Flags of labels that are there, but not as their segments say."""
    column, unit = _unit(labels)
    found = labels.array.transpose(by_memory(labels.array))
    boxes = ndimage.find_objects(found)
    for label, segment in segments.items():
        box = boxes[label - 1] if label <= len(boxes) else None
        if box is None:
            continue
        mask = found[box] == label
        size = np.count_nonzero(mask) * unit
        if segment.plausible_ml and column == "volume_ml":
            least, most = segment.plausible_ml
            if not least <= size <= most:
                yield f"IMPLAUSIBLE_SIZE:{column_word(segment.name)}"
        if segment.parts and _stray_share(mask, segment.parts) > STRAY:
            yield f"FRAGMENTS:{column_word(segment.name)}"


def _stray_share(mask: NDArray[np.bool_], parts: int) -> float:
    """The share of a mask that is not of its largest parts; parts hang together by faces."""
    numbered, count = ndimage.label(mask)
    if count <= parts:
        return 0.0
    voxels = np.sort(np.bincount(numbered.ravel())[1:])
    return float(voxels[:-parts].sum() / voxels.sum())


def _scan_flags(image: Volume, field_of_view_mm: tuple[float, float] | None) -> Iterator[str]:
    (_, _, slices), _ = canonical_order(image)  # the array axis that runs along the patient
    sides = [n * step for n, step in zip(image.spatial_shape, image.spacing_mm, strict=True)]
    widest = max(side for axis, side in enumerate(sides) if axis != slices)  # slices are padded to a square
    if field_of_view_mm and not field_of_view_mm[0] <= widest <= field_of_view_mm[1]:
        yield "FIELD_OF_VIEW"
    if image.spatial_shape[slices] < MIN_SLICES:
        yield "FEW_SLICES"
    if is_sheared(image.affine):
        yield "TILTED"


def _has_air(array: NDArray) -> bool:
    sample = array[::2, ::2, ::2]  # one voxel of eight tells as much
    return bool(np.mean((sample > AIR_HU[0]) & (sample < AIR_HU[1])) >= MIN_AIR_SHARE)


def column_word(name: str) -> str:
    """A label's name as part of a column name: without blanks, commas and semicolons."""
    return "_".join(name.replace(",", " ").replace(";", " ").split())
