"""What a GPU is too small for is tried again with its cache emptied, then on the CPU; the others stay on the GPU."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.errors import CaseError

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmentation, Segmenter
    from pipeline.io.volume import Volume

logger = logging.getLogger(__name__)

CPU_FALLBACK = "CPU_FALLBACK"  # flag of a result: the GPU's memory was too small for the case, the CPU has done it


class Fallback:
    """A segmenter that falls back; called as it is. OUT_OF_MEMORY is left to what the CPU has no room for either."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._on_cpu: Segmenter | None = None

    def __call__(self, image: Volume, *rest: Any, **options: Any) -> Segmentation:
        if torch.device(self._segmenter.device).type == "cpu":
            return self._segmenter(image, *rest, **options)
        for _ in range(2):
            try:
                return self._segmenter(image, *rest, **options)
            except (torch.OutOfMemoryError, CaseError) as error:
                if not _is_of_gpu(error):
                    raise
            torch.cuda.empty_cache()  # here: while the exception is handled, its frames hold the tensors
        logger.warning("The GPU's memory is too small for a case of %s voxels: done on the CPU.", image.array.shape)
        if self._on_cpu is None:
            network = copied_to_cpu(self._segmenter.network)
            self._on_cpu = replace(self._segmenter, network=network, device=torch.device("cpu"))
        found = self._on_cpu(image, *rest, **options)
        return replace(found, flags=(*found.flags, CPU_FALLBACK))


def copied_to_cpu(network: nn.Module) -> nn.Module:
    """A copy of it there that takes nothing of the GPU on the way."""
    return copy.deepcopy(network, {id(each): _on_cpu(each) for each in chain(network.parameters(), network.buffers())})


def _on_cpu(tensor: Tensor) -> Tensor:
    values = tensor.detach().cpu().clone()
    return nn.Parameter(values, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _is_of_gpu(error: Exception) -> bool:
    """Whether the segmenter has named it by a code or not."""
    return isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError)
