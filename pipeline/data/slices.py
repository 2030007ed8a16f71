"""The axial slices of prepared volumes as a dataset: volumes in memory once, slices drawn anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import Dataset
from monai.transforms import Randomizable

from pipeline.io.nifti import read_nifti


class SliceDataset(Dataset):
    """2-D samples {"image": (1, X, Y) float32 HU, "distance": (1, X, Y) float32 pixels} cut along S.

    data: dicts with the paths "image" and "distance" of equal grids (datalist.cases).
    transform: applied to each sample.
    negatives: slices without the object drawn in each epoch, as a multiple of the slices with it (all of the latter are
        used); None uses every slice, which is what validation needs.
    seed: the draw and every random transform depend on (seed, epoch) only, so that a resumed run repeats the epoch that
        an uninterrupted one would have seen; `set_epoch` is called when an epoch starts (handlers/epoch_seed.py).
    Memory: 4 bytes per pixel (int16 image, float16 distance: 0.002 pixels exact inside a band of 4).
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable | None = None,
        *,
        negatives: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data, transform)
        if not data:
            raise ValueError("data is empty: the datalist found no cases")
        self.negatives = negatives
        self.seed = seed
        self._images = [np.moveaxis(read_nifti(Path(case["image"])).array, 2, 0) for case in data]
        distances = (read_nifti(Path(case["distance"])).array.astype(np.float16) for case in data)
        self._distances = [np.moveaxis(distance, 2, 0) for distance in distances]
        index = [(v, k) for v, image in enumerate(self._images) for k in range(len(image))]
        holds = {(v, k): bool((self._distances[v][k] > 0).any()) for v, k in index}
        self._positive = [at for at in index if holds[at]]
        self._negative = [at for at in index if not holds[at]]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw this epoch's slices and restart the random transforms, from (seed, epoch) alone."""
        rng = np.random.default_rng((self.seed, epoch))
        wanted = len(self._negative) if self.negatives is None else round(self.negatives * len(self._positive))
        drawn = rng.permutation(len(self._negative))[:wanted]
        self._slices = self._positive + [self._negative[i] for i in sorted(drawn)]
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=int(rng.integers(2**31)))

    def __len__(self) -> int:
        return len(self._slices)

    def _transform(self, index: int) -> Any:
        volume, k = self._slices[index]
        sample = {
            "image": np.ascontiguousarray(self._images[volume][k], dtype=np.float32)[None],
            "distance": np.ascontiguousarray(self._distances[volume][k], dtype=np.float32)[None],
        }
        return sample if self.transform is None else self.transform(sample)
