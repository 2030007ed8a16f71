"""A stand-in for a Segmenter, and scans that it segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

from pipeline.inference.segmenter import Segmentation
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


class Layer(nn.Module):
    """Calls `behave` with the device that its weight is on, and returns what it is given."""

    def __init__(self, behave: Callable[[str], None] = lambda device: None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.behave = behave

    def forward(self, x: Tensor) -> Tensor:
        self.behave(self.weight.device.type)
        return x


@dataclass(frozen=True, eq=False)
class Bright:
    """Brighter than 100 is kidney, in what the network returns."""

    network: nn.Module = field(default_factory=Layer)
    device: Any = "cpu"
    name: str = "bright"
    version: str = "1.0"
    weights_sha256: str = "abc"
    licence: str = ""
    names: dict[int, str] = field(default_factory=lambda: {1: "kidney"})
    segments: dict[int, Segment] = field(default_factory=lambda: {1: Segment(name="kidney")})
    spatial_dims: int = 3
    modality: str = "CT"
    numbers_objects: bool = False
    field_of_view_mm: None = None

    def __call__(self, image: Volume, prompt: object = None, *, trajectory: bool = False) -> Segmentation:
        seen = self.network(torch.from_numpy(np.array(image.array, np.float32))).numpy()
        labels = Volume((seen > 100).astype(np.uint8), image.affine)
        found = Segmentation(labels, self.names)
        objects = Volume(labels.array.astype(np.uint16), image.affine)
        return replace(found, objects=objects) if self.numbers_objects else found


def write_scan(path: Path) -> Path:
    array = np.full((10, 11, 12), -1000, np.int16)
    array[3:6, 3:6, 3:7] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path
