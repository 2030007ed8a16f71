r"""Soft threshold dynamics with star-shaped objects: along each ray towards an object's centre u never falls.

    E(u) -> min,   A u_i >= 0 at every pixel, for each star-shaped class i                                  (1)
    q <- max(q - tau A u_i, 0)                                                                              (2)
    u <- softmax((o - p + A^T q) / eps),   A^T q in the channels i only                                     (3)

E, o, p, eps as in soft_threshold_dynamics.py. Two A (pipeline/numerics/star.py):

    parent:   (A u)(x) = u(parent(x)) - u(x), on a tree of digital rays. What (1) allows then has star-shaped
              thresholds. (2) is accelerated: q is extrapolated by Nesterov's rule, which starts anew when it points
              uphill. tau(x) = 4 eps / (degree of x + degree of its parent), for which (2) is stable in any dimension.
    forward:  A u = s . grad u by forward differences, A^T q = -div(q s), tau = eps (2 eps / 3 in 3-D): as published.
              That is the largest stable step, oscillates, and its constraint is loose after the published T = 50.
              Differences smear: thin slits pass even where (1) holds.

How far (1) is reached depends on T: `slack` and `rays_violated` tell. The mask is star-shaped exactly after
numerics' `star_mask` (and `margin_labels` among several classes) on the delivered grid. With volumes asked for as well,
their dual is found in every iteration as in volume_preserving.py, so that all priors act in one minimisation.

Reference: as soft_threshold_dynamics.py, section 3.5, algorithm 3. The tree, the acceleration, several objects and the
combination with volumes are not from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.numerics.differences import divergence, gradient
from pipeline.numerics.simplex import Bounds, shifted, volume_bounds, volume_dual
from pipeline.numerics.star import TOLERANCE, parents, ray_field, rays_violated

Scheme = Literal["parent", "forward"]


class StarShape(nn.Module):
    """Logits (B, C, *spatial) to logits whose softmax is regularised by `dynamics`, some classes star-shaped.

    labels: those classes. scheme: A. The iterations T are those of `dynamics`; on a bitten disc of 96 pixels beside a
    second one (lambda = 0.75, eps = 1 and 0.1) 50 leave 0.2 % and 18 % of the rays violated and 200 none; the
    published scheme leaves 18 % in either case after 200.
    Centres are (B, n) for one class and one object, (B, labels, n), or (B, labels, objects, n): in pixels of the
    logits' grid in the axes' order (row, column); nan for an object that is not there. ValueError for other shapes, a
    centre outside the image, and what the dynamics refuse.
    """

    def __init__(
        self, dynamics: SoftThresholdDynamics, *, labels: Sequence[int] = (1,), scheme: Scheme = "parent"
    ) -> None:
        super().__init__()
        if scheme not in get_args(Scheme):
            raise ValueError(f"scheme is {scheme!r}, it must be one of {', '.join(get_args(Scheme))}")
        if not labels or len(set(labels)) < len(labels) or min(labels) < 0:
            raise ValueError(f"labels {tuple(labels)} must be channels of the logits, each once")
        self.dynamics, self.labels, self.scheme = dynamics, list(labels), scheme

    def forward(
        self,
        logits: Tensor,
        centers: Tensor,
        at_least: Tensor | None = None,
        at_most: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """at_least, at_most: volumes in pixels as in VolumePreserving; without `at_least` they are free."""
        if at_least is None and at_most is not None:
            raise ValueError("at_most is given without at_least: pass zeros where a volume may be small")
        with torch.autocast(logits.device.type, enabled=False):
            o = self.dynamics.checked(logits)
            rays = self._rays(o, centers)
            bounds = None if at_least is None else volume_bounds(at_least, at_most, o)
            scores, dual = _with_volumes(o / self.dynamics.entropy, bounds, None)
            q = ahead = torch.zeros_like(o[:, self.labels])
            age, channels = q.new_ones(q.shape[:2]), torch.tensor(self.labels, device=o.device)
            for iteration in range(self.dynamics.iterations):
                u = scores.softmax(dim=1)
                before, q = q, (ahead - rays.step * rays.rise(u[:, self.labels])).relu()  # (2)
                last = iteration == self.dynamics.iterations - 1
                if self.scheme == "forward" or last:
                    ahead = q
                else:
                    momentum, age = _momentum((ahead - q) / rays.step, q - before, age)
                    ahead = q + momentum * (q - before)
                p = self.dynamics.tangent(u, edge_weight)
                scores = (o - p).index_add(1, channels, rays.adjoint(ahead)) / self.dynamics.entropy  # (3)
                scores, dual = _with_volumes(scores, bounds, dual)
            return scores

    def slack(self, u: Tensor, centers: Tensor) -> Tensor:
        """The smallest A u_i of u (B, C, *spatial) for each class of `labels`: (B, labels), >= 0 where (1) holds."""
        return self._rays(u, centers).rise(u[:, self.labels]).flatten(2).amin(dim=2)

    def rays_violated(self, u: Tensor, centers: Tensor, tolerance: float = TOLERANCE) -> Tensor:
        """Of the pixels where u_i is largest, the share whose ray leaves them: (B, labels), see numerics/star.py."""
        masks, objects = u.argmax(dim=1), self._objects(u, centers)
        shares = [
            [rays_violated(mask == label, points, tolerance) for label, points in zip(self.labels, sample, strict=True)]
            for mask, sample in zip(masks, objects, strict=True)
        ]
        return torch.tensor(shares, dtype=torch.float64, device=u.device)

    def _rays(self, u: Tensor, centers: Tensor) -> _Tree | _Field:
        scheme, objects = _Tree if self.scheme == "parent" else _Field, self._objects(u, centers)
        return scheme(u[:, self.labels], objects, self.dynamics.entropy)

    def _objects(self, u: Tensor, centers: Tensor) -> Tensor:
        """The centres as (B, labels, objects, n)."""
        wanted = (len(u), len(self.labels), u.dim() - 2)
        given = centers[:, None] if centers.dim() == 2 else centers
        given = given[:, :, None] if given.dim() == 3 else given
        if given.dim() != 4 or (*given.shape[:2], given.shape[-1]) != wanted or max(self.labels) >= u.shape[1]:
            raise ValueError(
                f"centers {tuple(centers.shape)} for logits {tuple(u.shape)} and labels {self.labels} must be (B, n) "
                "for one label, (B, labels, n) or (B, labels, objects, n), and each label a channel"
            )
        return given


class _Field:
    """A u = s . grad u for u (B, labels, *spatial), its adjoint, and tau; centres (B, labels, objects, n)."""

    def __init__(self, u: Tensor, centers: Tensor, entropy: float) -> None:
        fields = torch.stack([ray_field(u.shape[2:], points) for points in centers.flatten(0, 1)], dim=1)
        self.rays = fields.view(-1, *u.shape).to(u)
        self.step = 2 * entropy / len(self.rays)

    def rise(self, u: Tensor) -> Tensor:
        return (self.rays * gradient(u)).sum(dim=0)

    def adjoint(self, q: Tensor) -> Tensor:
        return -divergence(self.rays * q)


class _Tree:
    """A u = u(parent) - u, with the members of `_Field`; tau is a number a pixel."""

    def __init__(self, u: Tensor, centers: Tensor, entropy: float) -> None:
        trees = [parents(u.shape[2:], points)[0] for points in centers.flatten(0, 1)]
        self.parent = torch.stack(trees).view(*u.shape[:2], -1)
        child = (self.parent != torch.arange(self.parent.shape[2], device=u.device)).to(u)
        degree = child.scatter_add(2, self.parent, child)
        # The second derivative of a softmax is at most 1 / 4 in one channel and 1 / 2 in several; A A^T, divided by the
        # sum of both degrees, has no row whose absolute sum exceeds 1.
        curvature = (0.25 if u.shape[1] == 1 else 0.5) / entropy
        both = (degree + degree.gather(2, self.parent)).clamp(min=1)
        self.step = (1 / (curvature * both)).view(u.shape)

    def rise(self, u: Tensor) -> Tensor:
        flat = u.flatten(2)
        return (flat.gather(2, self.parent) - flat).view(u.shape)

    def adjoint(self, q: Tensor) -> Tensor:
        flat = q.flatten(2)
        return (torch.zeros_like(flat).scatter_add(2, self.parent, flat) - flat).view(q.shape)


def _momentum(uphill: Tensor, moved: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
    """Nesterov's factor, (B, labels, 1...), and the next age (B, labels): both start anew where q moved uphill."""
    with torch.no_grad():
        restart = (uphill * moved).flatten(2).sum(dim=2) > 0
        older = torch.where(restart, 1.0, (1 + (1 + 4 * age**2).sqrt()) / 2)
        factor = torch.where(restart, 0.0, (age - 1) / older)
        return factor.view(*factor.shape, *[1] * (moved.dim() - 2)), older


def _with_volumes(scores: Tensor, bounds: Bounds | None, dual: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Scores whose softmax has the volumes of the bounds, and their dual, from which the next search starts."""
    if bounds is None:
        return scores, None
    dual = volume_dual(scores, bounds, dual)
    return shifted(scores, dual), dual
