r"""A 2-D network on pictures of any size: stretched to the network's square, and its logits stretched back.

With the matrices of io/resample.py (linear where they enlarge, antialiased where they reduce; A, C along the rows, B, D
along the columns)

    I_net = A I B^T            logits = C logits_net D^T                                                    (1)

Stretched, not padded, as `evoseg prepare --size` stretches what a network is trained on: every pixel of the square is
picture. Logits come back, not labels, so that a contour is drawn between the network's pixels. All rows of the matrices
sum to one and have no negative entry: a network that is sure of the whole picture is sure of each of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.inferers import Inferer
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from pipeline.errors import InputError
from pipeline.inference.roads import Intensity, Network, Part
from pipeline.io.channels import unit_values, with_channels
from pipeline.io.resample import resize_matrix
from pipeline.io.volume import Volume

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class PictureInferer(Inferer):
    """Runs a 2-D network on pictures by (1): (B, C, rows, columns) -> (B, C_out, rows, columns).

    size: side of the network's square input, in pixels.
    """

    spatial_dims = 2  # of the image it takes

    def __init__(self, *, size: int) -> None:
        super().__init__()
        self.size = size

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """ValueError: `inputs` are no pictures."""
        if inputs.ndim != 4:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)} must be pictures (B, C, rows, columns)")
        pictures = inputs.as_subclass(Tensor)
        logits = network(stretched(pictures, (self.size, self.size)), *args, **kwargs)
        # a MetaTensor comes back as one, with the file name that the bundle's SaveImaged needs
        return convert_to_dst_type(stretched(logits, (pictures.shape[2], pictures.shape[3])), inputs)[0]

    def parts(
        self, image: Volume, network: Network, *, intensity: Intensity, device: torch.device, everywhere: bool
    ) -> Iterator[Part]:
        """As roads.Road says: the picture is one part."""
        picture = torch.from_numpy(image.array).movedim(-1, 0).contiguous().to(device)  # rounds as in MONAI's engine
        scaled = torch.as_tensor(intensity({"image": picture})["image"]).as_subclass(Tensor)
        yield (slice(None), slice(None)), self(scaled[None], network)[0]

    def smaller(self) -> None:
        """As roads.Road says: the network sees the whole picture, and sees it small already."""


def stretched(pictures: Tensor, shape: tuple[int, int]) -> Tensor:
    """(..., rows, columns) -> (..., *shape), one product along each axis; unchanged where the shape is the same."""
    device = str(pictures.device)
    down, across = (_matrix(n, size, device) for n, size in zip(pictures.shape[-2:], shape, strict=True))
    return down @ pictures @ across.T


@lru_cache(maxsize=16)
def _matrix(n_in: int, n_out: int, device: str) -> Tensor:
    """Kept: the pictures of a batch share few sizes. The identity is exact in floating-point numbers too."""
    return torch.from_numpy(resize_matrix(n_in, n_out)).to(device)


class PictureChannelsd(MapTransform):
    """Pictures (any, rows, columns) as a file holds them -> (channels, rows, columns) of 0 ... 1 (io/channels.py).

    For MONAI's engine; `LoadImaged` before it must keep the file's own type (`dtype: null`), which tells the depth.
    """

    def __init__(self, keys: KeysCollection, *, channels: int) -> None:
        super().__init__(keys)
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        for key in self.keys:
            picture = sample[key]
            values = unit_values(torch.as_tensor(picture).as_subclass(Tensor).movedim(0, -1).numpy())
            ready = torch.from_numpy(with_channels(values, self.channels)).movedim(-1, 0).contiguous()
            sample[key] = convert_to_dst_type(ready, picture, dtype=torch.float32)[0]
        return sample


def picture_files(folder: str | Path) -> list[dict[str, str]]:
    """The pictures anywhere below `folder` as [{"image": path}], for a bundle's inference by MONAI's engine."""
    found = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(
            f"{folder} holds none of {', '.join(SUFFIXES)}: give --dataset_dir, or use `evoseg segment` for DICOM"
        )
    return [{"image": path} for path in found]
