"""A 2-D network on a volume: axial slices go to the network's square grid, distance maps come back to the volume's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor

from pipeline.inference.roads import Intensity, Network, Part, placed
from pipeline.inference.slabs import AxialSlabs
from pipeline.inference.square_grid import square_grid
from pipeline.io.volume import Volume


class AxialSliceInferer(Inferer):
    """Runs a 2-D network over the axial slices of a volume and returns its distance maps on the volume's grid.

    size: side of the network's square input; air: the value of air after intensity scaling; batch_size: slices at once.
    """

    spatial_dims = 3  # of the image it takes

    def __init__(self, *, size: int = 200, air: float = -1.0, batch_size: int = 8) -> None:
        super().__init__()
        self.size, self.air, self.batch_size = size, air, batch_size

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(1, C, X, Y, S) in RAS+ order, intensities scaled -> (1, C_out, X, Y, S).

        A MetaTensor tells the pixels' spacing; those of a plain tensor are taken for square.
        """
        if inputs.ndim != 5 or inputs.shape[0] != 1:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)} must be one volume (1, C, X, Y, S)")
        shape = (inputs.shape[2], inputs.shape[3])
        grid = square_grid(shape, self.size, _pixel_spacing(inputs), (False, False), str(inputs.device))
        slices = inputs.as_subclass(Tensor)[0].movedim(-1, 0)
        maps = [
            grid.to_volume(network(grid.to_network(batch, self.air), *args, **kwargs))
            for batch in slices.split(self.batch_size)
        ]
        # a MetaTensor comes back as one, with the geometry that the bundle's Invertd and SaveImaged need
        return convert_to_dst_type(torch.cat(maps).movedim(0, -1)[None], inputs)[0]

    def parts(
        self, image: Volume, network: Network, *, intensity: Intensity, device: torch.device, everywhere: bool
    ) -> Iterator[Part]:
        """As roads.Road says. A slice that is not positive anywhere on the network's grid is not on the volume's."""
        slabs = AxialSlabs(image, intensity=intensity, inferer=self, device=device)
        for slices, images in slabs:
            maps = network(images)
            if everywhere or maps.shape[1] > 1:
                yield placed(slabs.grid.to_volume(maps).movedim(0, -1), slabs.order, slices)
            elif found := (maps > 0).flatten(1).any(dim=1).nonzero().flatten().tolist():
                volume = slabs.grid.to_volume(maps[found])
                yield placed(volume.movedim(0, -1), slabs.order, [slices[k] for k in found])

    def smaller(self) -> AxialSliceInferer | None:
        """As roads.Road says: half as many slices at once."""
        if self.batch_size == 1:
            return None
        return AxialSliceInferer(size=self.size, air=self.air, batch_size=self.batch_size // 2)


def _pixel_spacing(inputs: Tensor) -> tuple[float, float]:
    if not isinstance(inputs, MetaTensor):
        return 1.0, 1.0
    affine = inputs.affine.reshape(-1, 4, 4)[0]  # a batch of one volume has a batch of one affine
    along_x, along_y = affine[:3, :2].norm(dim=0).tolist()
    return along_x, along_y
