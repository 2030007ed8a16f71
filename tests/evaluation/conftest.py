"""Small label maps on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return tmp_path / "predictions"


@pytest.fixture
def references(tmp_path: Path) -> Path:
    return tmp_path / "references"


@pytest.fixture
def write() -> Callable[..., None]:
    """A writer of label maps of voxels of 1 x 1 x 2 mm: see `_write`."""
    return _write


def _write(path: Path, *voxels: int, labels=1, shape=(4, 5, 6), shift_mm=0.0, dtype=np.uint8) -> None:
    """voxels: flat indices; labels: one for all, or one each."""
    array = np.zeros(shape, dtype)
    array.flat[list(voxels)] = labels
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
