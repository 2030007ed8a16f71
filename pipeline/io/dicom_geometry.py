"""When slices make a volume: every reason why not has its own code, and highdicom's check has the last word.

Slices are planes at positions p_k with one orientation; they make a volume when p_k = p_0 + k * step, with step along
the normal. All tolerances are fractions of a voxel, since positions are written rounded (often to 0.1 mm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.geometry import LPS_TO_RAS, SHEAR_TOLERANCE, check_affine

if TYPE_CHECKING:
    from pipeline.io.dicom_header import Header

FEWEST_SLICES = 3  # two slices have one distance, and nothing to compare it with
_GAP_TOLERANCE = 0.2  # of the median distance between neighbours: 0.625 mm is written as 0.6 and 0.7
_DRIFT_TOLERANCE = 0.25  # of a voxel: a slice's distance from its place on the regular grid
_DUPLICATE_TOLERANCE = 0.01  # of the median distance between neighbours that lie more than
_SAME_MM = 1e-3  # apart: a series that is there twice has a median of 0
_STACKING_TOLERANCE = 0.01  # 1 - cosine between a step and the normal: rounding moves thin slices sideways
ORIENTATION_TOLERANCE = 1e-3  # of a direction cosine
_SPACING_TOLERANCE = 1e-3  # relative


@dataclass(frozen=True, eq=False)
class SliceGrid:
    """The regular grid of a series: `order` sorts its slices along the normal, `affine` (4, 4) is RAS."""

    order: NDArray[np.intp]
    affine: NDArray[np.float64]


def slice_grid(
    headers: Sequence[Header], name: Path, *, files: Sequence[Path] = (), allow_tilt: bool = False
) -> SliceGrid:
    """The grid that the single-frame `headers` of one series lie on; voxel (column, row, slice) -> millimetres, RAS.

    files: those of the headers, to be named where two are at one place. Empty: they are frames of one file.
    allow_tilt: accept slices that follow one another along a tilted line, whose affine is sheared.
    CaseError: TOO_FEW_SLICES, NO_GEOMETRY, BAD_GEOMETRY, MIXED_GEOMETRY, MIXED_ORIENTATIONS, DUPLICATE_SLICES,
    SLICE_GAP, GANTRY_TILT.
    """
    _check_count(headers, name)
    _check_one_frame_size(headers, name)
    orientations = np.array([_numbers(h, "ImageOrientationPatient", 6, name) for h in headers])
    _check_one_orientation(orientations, name)
    spacings = np.array([_numbers(h, "PixelSpacing", 2, name) for h in headers])
    if not np.allclose(spacings, spacings[0], rtol=_SPACING_TOLERANCE):
        raise CaseError("MIXED_GEOMETRY", f"{name} has slices of several pixel spacings: split the series")
    positions = np.array([_numbers(h, "ImagePositionPatient", 3, name) for h in headers])
    along_row, along_column = orientations[0].reshape(2, 3)
    between_rows, between_columns = spacings[0]  # PixelSpacing: first the distance between rows
    normal = np.cross(along_row, along_column)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along_row * between_columns, along_column * between_rows, normal], axis=1)
    affine[:3, 3] = positions[0]
    check_affine(affine, name)
    normal /= np.linalg.norm(normal)
    _check_distances(positions, normal, name, [files[index] for index in order] if files else [])
    if not allow_tilt:
        _check_tilt(step, normal, name)
    _check_line(positions, normal, float(spacings[0].min()), name)
    _check_with_highdicom(_straightened(positions, step, normal), orientations[0], name)
    affine[:3, 2] = step
    return SliceGrid(order, LPS_TO_RAS @ affine)


def _numbers(header: Header, keyword: str, count: int, name: Path) -> list[float]:
    """The value of `keyword` as `count` finite numbers."""
    value: Any = header.get(keyword)
    if value is None or value == "":
        raise CaseError("NO_GEOMETRY", f"{name} has slices without {keyword}: export the original series")
    several = isinstance(value, Sequence) and not isinstance(value, str)
    numbers = [float(v) for v in value] if several else [float(value)]
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise CaseError("BAD_GEOMETRY", f"{name} has a slice whose {keyword} is not {count} numbers: export it again")
    return numbers


def _check_one_frame_size(headers: Sequence[Header], name: Path) -> None:
    sizes = sorted({(int(h.get("Rows")), int(h.get("Columns"))) for h in headers})
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
        raise CaseError("MIXED_GEOMETRY", f"{name} has slices of {listed} pixels: split the series by size")


def _check_one_orientation(orientations: NDArray[np.float64], name: Path) -> None:
    different = np.abs(orientations - orientations[0]).max(axis=1) > ORIENTATION_TOLERANCE
    if different.any():
        message = f"{name} has slices of several orientations ({different.sum()} differ from the first)"
        raise CaseError("MIXED_ORIENTATIONS", f"{message}: split the series")


def _check_count(headers: Sequence[Header], name: Path) -> None:
    localizer = all("LOCALIZER" in (h.get("ImageType") or ()) for h in headers)
    if localizer or len(headers) < FEWEST_SLICES:
        count = f"has {len(headers)} of the {FEWEST_SLICES} slices that a volume needs"
        what = "is a localizer" if localizer else count
        raise CaseError("TOO_FEW_SLICES", f"{name} {what}: choose the series of the scan itself")


def _check_distances(
    positions: NDArray[np.float64], normal: NDArray[np.float64], name: Path, files: Sequence[Path]
) -> None:
    """positions (n, 3), sorted along the unit `normal`; files: in the same order, or none."""
    heights = positions @ normal
    distances = np.diff(heights)
    apart = distances[distances > _SAME_MM]
    usual = float(np.median(apart)) if apart.size else 0.0
    same = np.flatnonzero(distances <= _DUPLICATE_TOLERANCE * usual)
    if same.size:
        slices = "1 slice" if same.size == 1 else f"{same.size} slices"
        both = "".join(f", {file}" for file in files[same[0] : same[0] + 2])
        message = f"{name} has {slices} where another one lies already (first at {heights[same[0]]:.2f} mm{both})"
        way_out = "split the series by acquisition, phase or echo, or take out what is there twice"
        raise CaseError("DUPLICATE_SLICES", f"{message}: {way_out}")
    worst = int(np.abs(distances - usual).argmax())
    if abs(distances[worst] - usual) > _GAP_TOLERANCE * usual:
        message = (
            f"{name} has neighbouring slices {distances[worst]:.2f} mm apart (slices {worst + 1} and {worst + 2} of"
            f" {len(positions)}, at {heights[worst]:.2f} and {heights[worst + 1]:.2f} mm) where {usual:.2f} mm is usual"
        )
        raise CaseError("SLICE_GAP", f"{message}: fetch the missing slices")


def _check_tilt(step: NDArray[np.float64], normal: NDArray[np.float64], name: Path) -> None:
    """Whether slices follow one another along the normal."""
    tilt = float(np.linalg.norm(step - (step @ normal) * normal) / np.linalg.norm(step))
    if tilt > SHEAR_TOLERANCE:
        degrees = np.degrees(np.arcsin(tilt))
        message = f"{name} was scanned with the gantry tilted by {degrees:.1f} degrees: resample it to a straight grid"
        raise CaseError("GANTRY_TILT", f"{message}, or take it as it is by --allow-tilt")


def _check_line(positions: NDArray[np.float64], normal: NDArray[np.float64], pixel_mm: float, name: Path) -> None:
    """Whether slices follow one another evenly along a straight line."""
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    spacing = float(step @ normal)
    off = positions - positions[0] - np.arange(len(positions))[:, None] * step
    if np.abs(off @ normal).max() > _DRIFT_TOLERANCE * spacing:
        raise CaseError("SLICE_GAP", f"{name} has slices whose distance drifts around {spacing:.2f} mm: resample it")
    sideways = float(np.linalg.norm(off - np.outer(off @ normal, normal), axis=1).max())
    if sideways > _DRIFT_TOLERANCE * pixel_mm:
        message = f"{name} has slices shifted sideways by up to {sideways:.2f} mm: split the series"
        raise CaseError("BAD_GEOMETRY", message)


def _straightened(
    positions: NDArray[np.float64], step: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The positions, a tilt that was accepted taken out of them: the slices above one another."""
    sideways = step - (step @ normal) * normal
    if np.linalg.norm(sideways) <= SHEAR_TOLERANCE * np.linalg.norm(step):
        return positions
    return positions - np.arange(len(positions))[:, None] * sideways


def _check_with_highdicom(positions: NDArray[np.float64], orientation: NDArray[np.float64], name: Path) -> None:
    """The gate: an independent library must see a volume too."""
    from highdicom.spatial import get_volume_positions

    spacing, _ = get_volume_positions(
        positions.tolist(), orientation.tolist(), rtol=_GAP_TOLERANCE, perpendicular_tol=_STACKING_TOLERANCE
    )
    if spacing is None:
        raise CaseError("BAD_GEOMETRY", f"{name} has slices that do not lie on a regular grid: export it again")
