"""Prepared pictures as a dataset: all in memory once, each sample's randomness decided by seed, epoch and number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Randomizable
from numpy.typing import NDArray

from pipeline.io.image2d import read_image


class PictureDataset(Dataset):
    """Samples {"image": (C, H, W) float32 in 0..1, "label": (1, H, W) float32, "id": str}, plain tensors.

    data: dicts with the paths "image" (8-bit grey, C = 1, or colour, C = 3) and "label" (datalist.cases).
    transform: applied to each sample; augmentation is chosen in the bundle's config.
    classes: False makes one object of all labels (0 and 1), whether they are classes or instance ids; True keeps the
        values: `AsDiscreted` with `to_onehot` turns them into channels after the augmentation.
    seed: a sample's random transforms depend on (seed, epoch, its number) only: neither the order of the samples nor
        the number of workers matters, and a resumed run repeats the epoch that an uninterrupted one would have seen.
        `set_epoch` is called when an epoch starts (handlers/epoch_seed.py); workers must not be persistent.
    Memory: C + 1 bytes per pixel (one more if there are more than 255 labels).
    ValueError: no data, or a picture and its label of two sizes.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable | None = None,
        *,
        classes: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(data, transform)
        if not data:
            raise ValueError("data is empty: the datalist found no cases")
        self.seed = seed
        self._images = [_channels_first(case) for case in data]
        self._labels = [_label(case, classes) for case in data]
        for case, image, label in zip(data, self._images, self._labels, strict=True):
            if image.shape[1:] != label.shape[1:]:
                raise ValueError(f"{case['image']} has {image.shape[1:]} pixels, its label {label.shape[1:]}")
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """From now on samples are those of this epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._images)

    def _transform(self, index: int) -> Any:
        sample: dict[str, Any] = {
            "id": self.data[index]["id"],
            "image": torch.from_numpy(self._images[index]).to(torch.float32).div_(255),
            "label": torch.from_numpy(self._labels[index]).to(torch.float32),
        }
        if isinstance(self.transform, Randomizable):
            drawn = np.random.SeedSequence((self.seed, self._epoch, index)).generate_state(1)
            self.transform.set_random_state(seed=int(drawn[0]))
        return sample if self.transform is None else self.transform(sample)


def _channels_first(case: dict[str, Any]) -> NDArray[np.uint8]:
    array = read_image(Path(case["image"])).array
    if array.dtype != np.uint8:
        raise ValueError(f"{case['image']} is {array.dtype}, not of 8 bits: prepare the dataset by `evoseg prepare`")
    return np.ascontiguousarray(array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0))


def _label(case: dict[str, Any], classes: bool) -> NDArray[np.unsignedinteger]:
    array = read_image(Path(case["label"])).array[None]
    return array if classes else (array > 0).astype(np.uint8)
