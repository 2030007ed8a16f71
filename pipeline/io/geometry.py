"""What an affine must be before millimetres are believed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError

# DICOM and ITK point their axes to Left, Posterior, Superior; NIfTI and Volume to Right, Anterior, Superior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Largest cosine between two axes that still counts as a right angle: 0.6 degrees. Rounded headers stay far below.
SHEAR_TOLERANCE = 0.01


def is_sheared(affine: NDArray[np.float64]) -> bool:
    """Whether two axes of an `affine` that `check_affine` has passed are off the right angle."""
    return _worst_cosine(affine) > SHEAR_TOLERANCE


def check_affine(affine: NDArray[np.float64], path: Path, *, allow_shear: bool = False) -> None:
    """Refuse an `affine` (4, 4) that is not finite or singular (BAD_GEOMETRY) or has no right angles (SHEARED)."""
    steps = affine[:3, :3]
    if not np.isfinite(affine).all():
        raise CaseError("BAD_GEOMETRY", f"{path} has an affine with NaN or infinite entries: repair its header")
    lengths = np.linalg.norm(steps, axis=0)
    if not lengths.all() or abs(np.linalg.det(steps / lengths)) < 1e-6:
        raise CaseError("BAD_GEOMETRY", f"{path} has a singular affine, two voxels share one place: repair its header")
    if is_sheared(affine) and not allow_shear:
        degrees = np.degrees(np.arcsin(min(_worst_cosine(affine), 1.0)))
        message = f"{path} has axes {degrees:.1f} degrees off the right angle: resample it to an orthogonal grid"
        raise CaseError("SHEARED", message)


def _worst_cosine(affine: NDArray[np.float64]) -> float:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return max(abs(float(axes[:, a] @ axes[:, b])) for a, b in combinations(range(3), 2))
