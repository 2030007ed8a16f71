"""What a GPU is too small for is tried again: with its cache emptied, with less on it at once, then on the CPU.

Less at once holds for the cases that follow, too: of thousands that are too large only the first is tried in vain. Only
what is too large even so is done on the CPU, one case after the other.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
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

# flags of a result: the GPU's memory was too small for the case, or for one before it, and
SMALLER_BATCHES = "SMALLER_BATCHES"  # it had less of the scan at once; the labels are the same
CPU_FALLBACK = "CPU_FALLBACK"  # the CPU has done it


class Fallback:
    """A segmenter that falls back; called as it is. OUT_OF_MEMORY is left to what the CPU has no room for either."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._flags: tuple[str, ...] = ()
        self._on_cpu: Segmenter | None = None

    def __call__(
        self,
        image: Volume,
        *rest: Any,
        around: Callable[[nn.Module], AbstractContextManager[Any]] = nullcontext,
        **options: Any,
    ) -> Segmentation:
        """around: entered with the network whenever one is at work."""
        if torch.device(self._segmenter.device).type == "cpu":
            with around(self._segmenter.network):
                return self._segmenter(image, *rest, **options)
        for segmenter in self._tries(image):
            try:
                with around(segmenter.network):
                    found = segmenter(image, *rest, **options)
                return replace(found, flags=(*found.flags, *self._flags))
            except (torch.OutOfMemoryError, CaseError) as error:
                if not _is_of_gpu(error):
                    raise
            torch.cuda.empty_cache()  # here: while the exception is handled, its frames hold the tensors
        logger.warning("The GPU's memory is too small for a case of %s voxels: done on the CPU.", image.array.shape)
        if self._on_cpu is None:
            network = copied_to_cpu(self._segmenter.network)
            self._on_cpu = replace(self._segmenter, network=network, device=torch.device("cpu"))
        with around(self._on_cpu.network):
            found = self._on_cpu(image, *rest, **options)
        return replace(found, flags=(*found.flags, CPU_FALLBACK))

    def _tries(self, image: Volume) -> Iterator[Segmenter]:
        """On the GPU: what did for the case before, twice, for the cache is emptied in between; then less and less."""
        yield self._segmenter
        yield self._segmenter
        while (smaller := self._segmenter.smaller()) is not None:
            message = "The GPU's memory is too small for a case of %s voxels: from now on it has less of each at once."
            logger.warning(message, image.array.shape)
            self._segmenter, self._flags = smaller, (SMALLER_BATCHES,)
            yield smaller


def copied_to_cpu(network: nn.Module) -> nn.Module:
    """A copy of it there that takes nothing of the GPU on the way."""
    return copy.deepcopy(network, {id(each): _on_cpu(each) for each in chain(network.parameters(), network.buffers())})


def _on_cpu(tensor: Tensor) -> Tensor:
    values = tensor.detach().cpu().clone()
    return nn.Parameter(values, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _is_of_gpu(error: Exception) -> bool:
    """Whether the segmenter has named it by a code or not."""
    return isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError)
