"""What the tests of DICOM results have in common: orientations, and the slices that a result refers to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from pipeline.io.discover import Case, find_cases
from pipeline.io.segments import ANATOMICAL_STRUCTURE, Authorship, Code, Segment

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


@pytest.fixture
def by() -> Authorship:
    return Authorship(algorithm="a_bundle", version="0.1.0", weights_sha256="ab" * 32, segments={1: KIDNEY})


@pytest.fixture
def labelled_series(tmp_path: Path, write_series: Callable[..., list[Path]]) -> Callable[..., Case]:
    """A series of 5 slices of 4 rows and 6 columns, labels 0 to 2 as its pixels, not in the order of the files."""

    def write(axes: NDArray[np.float64] | None = None, stack: NDArray | None = None, **tags: Any) -> Case:
        row, column, stacking = (np.eye(3) if axes is None else axes).T
        stack = np.random.default_rng(0).integers(0, 3, (5, 4, 6)) if stack is None else stack
        shuffled = np.random.default_rng(1).permutation(len(stack))
        write_series(
            tmp_path / "series",
            stack[shuffled].astype(np.int16),
            positions=[np.array([-12.5, 30.0, 7.0]) + 2.5 * k * stacking for k in shuffled],
            orientation=[*row, *column],
            **{
                "StudyInstanceUID": "1.2.3.4",
                "FrameOfReferenceUID": "1.2.3.5",
                "StudyDate": "20220102",
                "StudyTime": "030405",
                **tags,
            },
        )
        (case,) = find_cases(tmp_path / "series")
        return case

    return write
