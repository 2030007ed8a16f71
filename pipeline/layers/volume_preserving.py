r"""Soft threshold dynamics with volumes: u of (1) in soft_threshold_dynamics.py, and what each class fills is given.

    E(u) -> min,   sum over x of u_i(x) in [lo_i, hi_i]                                                     (1)
    u <- softmax(z + r),   z = (o - p) / eps,   r the dual of the volumes (pipeline/numerics/simplex.py)    (2)

r has one number a class and sample, and is 0 for a class whose volume is within its bounds by itself. solver="newton"
finds it in every iteration, so that volumes hold whatever T and eps; its gradient is exact. "sinkhorn" takes one step
an iteration, as published: at eps = 0.1 a volume that is far from the natural one is then 9 to 14 % of the image off
after T = 10. A soft volume is not that of the mask: with eps = 1, 10 % of u can be 0.3 % of the pixels (numerics'
`volume_mask` and `margin_labels` are exact).

Reference: as soft_threshold_dynamics.py, section 3.4, algorithm 2 (volumes, not intervals). Its dual (9) has a constant
-|Omega| eps too much, of no consequence to (2).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.numerics.simplex import shifted, sinkhorn_step, volume_bounds, volume_dual, volume_error

Solver = Literal["newton", "sinkhorn"]


class VolumePreserving(nn.Module):
    """Logits (B, C, *spatial) to logits whose softmax u is regularised by `dynamics` and has the volumes asked for.

    A class of which nothing is allowed (hi = 0) gets the logit -inf.
    """

    def __init__(self, dynamics: SoftThresholdDynamics, *, solver: Solver = "newton") -> None:
        super().__init__()
        if solver not in get_args(Solver):
            raise ValueError(f"solver is {solver!r}, it must be one of {', '.join(get_args(Solver))}")
        self.dynamics, self.solver = dynamics, solver

    def forward(
        self, logits: Tensor, at_least: Tensor, at_most: Tensor | None = None, edge_weight: Tensor | None = None
    ) -> Tensor:
        """at_least, at_most: lo and hi in pixels, (C,) or (B, C); without at_most the volumes are `at_least`.

        ValueError for logits that the dynamics refuse, and for volumes that no u can have.
        """
        with torch.autocast(logits.device.type, enabled=False):
            o = self.dynamics.checked(logits)
            bounds = volume_bounds(at_least, at_most, o)
            scores, dual = o / self.dynamics.entropy, o.new_zeros(o.shape[:2])
            for iteration in range(self.dynamics.iterations + 1):
                if self.solver == "sinkhorn":
                    dual = sinkhorn_step(scores, dual, bounds)
                else:
                    dual = volume_dual(scores, bounds, dual if iteration else None)
                u_logits = shifted(scores, dual)  # (2)
                if iteration < self.dynamics.iterations:
                    scores = (o - self.dynamics.tangent(u_logits.softmax(dim=1), edge_weight)) / self.dynamics.entropy
            return u_logits

    def volume_error(self, u: Tensor, at_least: Tensor, at_most: Tensor | None = None) -> Tensor:
        """By how much the volumes of u (B, C, *spatial) are off, the worst class, as a share of the image: (B,)."""
        return volume_error(u, volume_bounds(at_least, at_most, u))
