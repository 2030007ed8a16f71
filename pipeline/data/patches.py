"""Prepared scans as a dataset of patches: scans in memory once, each sample decided by seed, epoch and number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Randomizable
from numpy.typing import NDArray

from pipeline.io.nifti import read_nifti


class PatchDataset(Dataset):
    """Whole scans, from which `transform` cuts one patch a sample (RandCropByPosNegLabeld with its index keys).

    Samples {"image": (1, X, Y, S) int16 HU, "distance": (1, X, Y, S) float16 pixels, "inside", "outside"}: the flat
    indices of voxels in the object, and of voxels of tissue outside of it. Not copied: no transform may write there.
    data: dicts with the paths "image" and "distance" of equal grids (datalist.cases).
    smallest: a scan smaller than this is padded at its end, with its lowest value and with its lowest distance.
    tissue: HU above which a voxel can be the centre of a patch without the object; the air around a patient teaches
        little.
    patches_per_scan: samples of one scan in an epoch.
    seed: a sample depends on (seed, epoch, its number) only: neither the order nor the number of workers matters, and a
        resumed run repeats the epoch that an uninterrupted one would have seen (handlers/epoch_seed.py).
    Memory: 4 bytes per voxel, 8 per voxel of the object and, as every 64th is enough, 1/8 per voxel outside.
    ValueError: no data, or a scan without the object or without anything else.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable | None = None,
        *,
        smallest: Sequence[int],
        tissue: float = -120.0,
        patches_per_scan: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(data, transform)
        if not data:
            raise ValueError("data is empty: the datalist found no cases")
        self.seed, self.patches_per_scan = seed, patches_per_scan
        self._scans = [_scan(case, tuple(smallest), tissue) for case in data]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """From now on samples are those of this epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._scans) * self.patches_per_scan

    def _transform(self, index: int) -> Any:
        sample = dict(self._scans[index // self.patches_per_scan])
        if isinstance(self.transform, Randomizable):
            drawn = np.random.SeedSequence((self.seed, self._epoch, index)).generate_state(1)
            self.transform.set_random_state(seed=int(drawn[0]))
        return sample if self.transform is None else self.transform(sample)


def _scan(case: dict[str, Any], smallest: tuple[int, ...], tissue: float) -> dict[str, Any]:
    image = _padded(read_nifti(Path(case["image"])).array.astype(np.int16), smallest)
    distance = _padded(read_nifti(Path(case["distance"])).array.astype(np.float16), smallest)
    inside = np.flatnonzero(distance > 0)
    outside = np.flatnonzero((distance <= 0) & (image > tissue))[::64]
    if not len(inside) or not len(outside):
        raise ValueError(f"{case['image']} shows nothing but the object, or none of it: take it out of the dataset")
    volumes = {"image": torch.from_numpy(image)[None], "distance": torch.from_numpy(distance)[None]}
    return volumes | {"inside": inside, "outside": outside}


def _padded(array: NDArray, smallest: tuple[int, ...]) -> NDArray:
    missing = [(0, max(0, least - n)) for n, least in zip(array.shape, smallest, strict=True)]
    return np.ascontiguousarray(np.pad(array, missing, constant_values=array.min()))
