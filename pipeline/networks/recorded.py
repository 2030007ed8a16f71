"""torch.jit.script for networks whose loops are Python: it gets a recording of them.

torch.jit.script compiles source code, and cannot take integrators, which are functions of functions. It asks a module
for `__prepare_scriptable__` first; here that is a trace on an example. So MONAI's `ckpt_export` works on a bundle as it
stands, which is what the model zoo's checks call.

The recording takes what the network takes, any batch and any size. It keeps the mode, training or not, in which it was
made, and the solver.
"""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.ode.solve import Solver

EDGE = 64  # pixels a side of an example: a multiple of all strides, and not of one pixel on the coarsest level


class Recorded(nn.Module):
    """Base of a network with one argument, an image; its __init__ sets example_shape, (1, in_channels, *spatial).

    torch.jit.script raises InputError where a solver chooses its steps itself.
    """

    example_shape: tuple[int, ...]

    def __prepare_scriptable__(self) -> nn.Module:
        refuse_adaptive_steps(self)
        example = torch.zeros(self.example_shape, device=next(self.parameters()).device)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that sizes are compared in Python: each network says which it takes
            return _Recording(torch.jit.trace(_with_compiled_unets(self), example, check_trace=False))


class _Recording(nn.Module):
    """What torch.jit.script compiles: one call."""

    def __init__(self, trace: nn.Module) -> None:
        super().__init__()
        self.trace = trace

    def forward(self, image: Tensor) -> Tensor:
        return self.trace(image)


def _with_compiled_unets(network: nn.Module) -> nn.Module:
    """A copy whose BasicUNets pad odd sizes by what they meet, which a trace keeps of compiled parts only."""
    copy = deepcopy(network)
    for module in list(copy.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, BasicUNet):
                setattr(module, name, torch.jit.script(part))
    return copy


def refuse_adaptive_steps(network: nn.Module) -> None:
    """InputError for dopri5 anywhere in a network: no file can hold steps that are chosen by what is seen."""
    for module in network.modules():
        solver = getattr(module, "solver", None)
        if isinstance(solver, Solver) and solver.method == "dopri5":
            raise InputError(
                "dopri5 chooses its steps by the image, which no file can hold: export a copy of the bundle whose "
                "inference.yaml names a fixed grid (method: rk4, steps: 4)"
            )
