"""Where the objects of a label lie and how large they are, for priors on whole objects (pipeline/layers)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import Tensor

from pipeline.numerics.star import object_center

SPECK = 0.02  # share of a label's largest part; what is smaller is no object but a splinter of an augmentation


class LabelObjectsd(MapTransform):
    """Adds, of the label map (1, *spatial) under `keys` (one key), what StarShape and VolumePreserving ask for:

    centers: (labels, objects, n), float32, in pixels: of each connected part its centroid, or its deepest pixel where
        the centroid lies outside; the largest parts first, nan for those that are not there.
    volumes: (1 + the last of `labels`,), float32, in pixels; background first.

    labels: those that are star-shaped. objects: how many parts of a label have a centre at most.
    Comes after all transforms that move pixels.
    """

    def __init__(self, keys: KeysCollection, *, labels: Sequence[int] = (1,), objects: int = 1) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys are {self.keys}, but centers and volumes are of one label map: give one key")
        self.labels, self.objects = tuple(labels), objects

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        values = torch.as_tensor(data[self.keys[0]]).as_subclass(Tensor)[0].round().long()
        array = values.cpu().numpy()
        centers = np.stack([_centers(array == number, self.objects) for number in self.labels])
        volumes = values.flatten().bincount(minlength=1 + max(self.labels))
        return {
            **data,
            "centers": torch.from_numpy(centers).float(),
            "volumes": volumes[: 1 + max(self.labels)].float(),
        }


def _centers(mask: NDArray[np.bool_], objects: int) -> NDArray[np.float64]:
    centers = np.full((objects, mask.ndim), np.nan)
    parts, _ = label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(parts.ravel())[1:]
    for row, number in enumerate(np.argsort(-sizes, kind="stable")[:objects]):
        if sizes[number] >= SPECK * sizes.max():
            centers[row] = object_center(parts == number + 1)
    return centers
