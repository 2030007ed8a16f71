"""MONAI's transform around numerics/sides.py, for bundles whose network finds both organs of a pair as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from pipeline.numerics.sides import left_and_right


class LeftRightd(MapTransform):
    """Masks (1, X, Y, S) in RAS+ order -> 1 left, 2 right.

    image_key: the image on the masks' grid, with intensities as the network saw them; above `body_above` lies the body.
    """

    def __init__(self, keys: KeysCollection, *, image_key: str, body_above: float) -> None:
        super().__init__(keys)
        self.image_key, self.body_above = image_key, body_above

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = torch.as_tensor(data[self.image_key])[0].cpu().numpy()
        found = dict(data)
        for key in self.keys:
            mask = torch.as_tensor(data[key])[0].cpu().numpy() > 0
            sided, _ = left_and_right(mask, image, body_above=self.body_above)
            found[key] = convert_to_dst_type(sided[None], data[key])[0]
        return found
