"""What the tests of DICOM results have in common: orientations, and the slices that a result refers to."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from pipeline.io.discover import Case
from pipeline.io.segments import ANATOMICAL_STRUCTURE, Code, Segment

KIDNEY = Segment(
    name="kidney", category=ANATOMICAL_STRUCTURE, type=Code("64033007", "SCT", "Kidney"), rgb=(185, 102, 83)
)


def axes_48() -> list[NDArray[np.float64]]:
    """The ways to lay rows, columns and the stack (columns of a matrix) along the patient's axes; one oblique."""
    laid = product(permutations(range(3)), product((1, -1), repeat=3))
    straight = [np.diag(signs)[:, axes].astype(float) for axes, signs in laid]
    row, column = np.array([0.8, 0.6, 0.0]), np.array([-0.36, 0.48, 0.8])
    return [*straight, np.stack([row, column, np.cross(row, column)], axis=1)]


every_orientation = pytest.mark.parametrize("axes", axes_48(), ids=lambda axes: str(axes.astype(int).tolist()))


def sources(case: Case) -> dict[str, pydicom.Dataset]:
    """SOPInstanceUID -> slice."""
    return {each.SOPInstanceUID: each for each in map(pydicom.dcmread, case.files)}
