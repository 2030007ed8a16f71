"""All logits of an image on its own grid, for what is decided about whole objects (inference/priors.py).

Unlike inference/export.py, which decides a few slices at a time, this takes 4 bytes a voxel and class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.pictures import PictureInferer
from pipeline.inference.slabs import Intensity
from pipeline.io.orientation import canonical_order
from pipeline.io.volume import Volume

Network = Callable[[Tensor], Tensor]


def picture_logits(
    values: NDArray[np.float32],
    network: Network,
    *,
    intensity: Intensity,
    inferer: PictureInferer,
    device: torch.device,
) -> Tensor:
    """Logits (C, rows, columns) of a picture (rows, columns, channels) of 0 ... 1."""
    picture = torch.from_numpy(values).movedim(-1, 0).contiguous().to(device)  # rounds as in MONAI's engine
    scaled = torch.as_tensor(intensity({"image": picture})["image"]).as_subclass(Tensor)
    return inferer(scaled[None], network)[0]


def volume_logits(
    image: Volume, network: Network, *, intensity: Intensity, inferer: Inferer, device: torch.device
) -> Tensor:
    """Logits (C, *spatial) of a volume, its axes in the image's order; `intensity` must act voxel by voxel."""
    order, flips = canonical_order(image)
    against = tuple(axis for axis, flip in enumerate(flips, start=1) if flip)
    scan = torch.from_numpy(image.array.transpose(order).astype(np.float32))[None].flip(against).to(device)
    scaled = torch.as_tensor(intensity({"image": scan})["image"]).as_subclass(Tensor)
    affine = torch.diag(torch.tensor([*(image.spacing_mm[axis] for axis in order), 1.0], dtype=torch.float64))
    logits = torch.as_tensor(inferer(MetaTensor(scaled, affine=affine)[None], network)).as_subclass(Tensor)[0]
    return logits.flip(against).permute(0, *(1 + axis for axis in np.argsort(order).tolist()))
