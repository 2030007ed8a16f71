"""Small datasets in every layout: scans of 12 x 10 x 4 voxels, a block of each label in slices 1 and 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

SHAPE = (12, 10, 4)
AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])  # stored to the Left and Posterior, as scanners do


def save(path: Path, array: NDArray, affine: NDArray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def ct(seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1000, 1500, SHAPE).astype(np.int16)


def blocks(*values: int) -> NDArray[np.uint8]:
    """A 2 x 3 block of each value in slices 1 and 2."""
    labels = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        labels[2 + 4 * index : 4 + 4 * index, 3:6, 1:3] = value
    return labels


@pytest.fixture
def write() -> Callable[..., Path]:
    return save


@pytest.fixture
def pairs_source(tmp_path: Path) -> Path:
    """Three patients, X_ct and X_label: left kidney 1, right kidney 2."""
    for seed, id in enumerate(("anna", "bert", "carl")):
        save(tmp_path / f"own/{id}_ct.nii.gz", ct(seed))
        save(tmp_path / f"own/{id}_label.nii.gz", blocks(1, 2))
    return tmp_path / "own"


@pytest.fixture
def kits19_source(tmp_path: Path) -> Path:
    """Two public cases and one of the test set, without a segmentation."""
    for number in (0, 7, 210):
        save(tmp_path / f"kits19/data/case_{number:05d}/imaging.nii.gz", ct(number))
    for number in (0, 7):
        save(tmp_path / f"kits19/data/case_{number:05d}/segmentation.nii.gz", blocks(1, 2))
    return tmp_path / "kits19"


@pytest.fixture
def decathlon_source(tmp_path: Path) -> Path:
    """Version 1: two channels in one four-dimensional file."""
    source = tmp_path / "Task01"
    for seed, id in enumerate(("BRATS_001", "BRATS_002")):
        save(source / f"imagesTr/{id}.nii.gz", np.stack([ct(seed), ct(seed + 10)], axis=3).astype(np.float32) / 100)
        save(source / f"labelsTr/{id}.nii.gz", blocks(1, 2))
    (source / "labelsTr/._BRATS_001.nii.gz").write_bytes(b"what macOS leaves in an archive")
    labels = {"0": "background", "1": "edema", "2": "tumour"}
    write_description(source, {"name": "BRATS", "modality": {"0": "FLAIR", "1": "T1w"}, "labels": labels})
    return source


@pytest.fixture
def nnunet_source(tmp_path: Path) -> Path:
    """Version 2: the same two channels in files of their own."""
    source = tmp_path / "Dataset001"
    for seed, id in enumerate(("BRATS_001", "BRATS_002")):
        for channel in range(2):
            save(source / f"imagesTr/{id}_{channel:04d}.nii.gz", ct(seed + 10 * channel).astype(np.float32) / 100)
        save(source / f"labelsTr/{id}.nii.gz", blocks(1, 2))
    labels = {"background": 0, "edema": 1, "tumour": 2}
    channels = {"0": "FLAIR", "1": "T1w"}
    write_description(source, {"channel_names": channels, "labels": labels, "file_ending": ".nii.gz"})
    return source


def write_description(source: Path, content: dict[str, object]) -> None:
    (source / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
