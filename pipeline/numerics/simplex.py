r"""Volumes of a soft segmentation u = softmax(z + r): the numbers r, one a class, that make them what is asked.

    sum over x of u_i(x) in [lo_i, hi_i] for every class i                                                        (1)

The u nearest to softmax(z), in the sense of -<z, u> + <u, ln u>, among those of (1) has the r that maximises

    g(r) = sum_i (lo_i max(r_i, 0) - hi_i max(-r_i, 0)) - sum_x ln sum_i exp(z_i(x) + r_i)                        (2)

g is concave, r_i > 0 only where sum u_i = lo_i and r_i < 0 only where it is hi_i, so a class whose volume is right by
itself is left alone. lo = hi asks for one volume; r is then fixed but for a constant. Two ways up:

    Sinkhorn:  r_i <- the point nearest to 0 from r_i + ln(lo_i / S_i) to r_i + ln(hi_i / S_i), S_i = sum_x u_i   (3)
    Newton:    H d = S ln(t / S), H = sum_x (diag u - u u^T), t the bound that (3) names                          (4)

(3) never lowers g, and needs hundreds of steps where u is hard. (4), from the thresholds of a hard u, needs a handful:
its logarithm makes the tails, where volumes change exponentially with r, straight. Volumes are counted in pixels.

A mask is hard: `volume_mask` meets its volume exactly; `margin_labels` does so for classes that compete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

MAX_STEPS = 30  # of Newton; 6 were the most that was seen
TOLERANCE = 2e-7  # largest error of a volume, as a share of the image: float32 is not always better


class Bounds(NamedTuple):
    """lo and hi of (1), each (B, C) in float64."""

    lo: Tensor
    hi: Tensor


def volume_bounds(at_least: Tensor, at_most: Tensor | None, u: Tensor) -> Bounds:
    """The bounds for u (B, C, *spatial), from volumes (C,) or (B, C) in pixels; at_most None: exactly `at_least`.

    Raises ValueError for bounds of another shape, negative, crossed, or between which no u exists.
    """
    classes, pixels = u.shape[:2], u[0, 0].numel()
    lo = at_least.to(u.device, torch.float64)
    hi = lo if at_most is None else at_most.to(u.device, torch.float64)
    if not all(b.shape in (classes, classes[1:]) for b in (lo, hi)):
        raise ValueError(f"volumes {tuple(lo.shape)}, {tuple(hi.shape)} must be (C,) or (B, C) for u {tuple(u.shape)}")
    lo, hi = lo.expand(classes), hi.expand(classes)
    if not ((lo >= 0) & (lo <= hi)).all():
        raise ValueError("volumes must not be negative, and at_least must not exceed at_most")
    slack = 1e-6 * pixels
    if (lo.sum(dim=1) > pixels + slack).any() or (hi.sum(dim=1) < pixels - slack).any():
        raise ValueError(
            f"volumes of {lo.sum(dim=1).tolist()} ... {hi.sum(dim=1).tolist()} pixels over all classes cannot fill an "
            f"image of {pixels}: leave the background free, from 0 to {pixels}"
        )
    return Bounds(lo, hi)


def shifted(scores: Tensor, dual: Tensor) -> Tensor:
    """z + r: scores (B, C, *spatial) and dual (B, C)."""
    return scores + dual.view(*dual.shape, *[1] * (scores.dim() - 2))


def sinkhorn_step(scores: Tensor, dual: Tensor, bounds: Bounds) -> Tensor:
    """(3) for scores z (B, C, *spatial) and dual r (B, C): the next r, with its gradient."""
    volumes = shifted(scores, dual).softmax(dim=1).flatten(2).sum(dim=2)
    return _sinkhorn(volumes.double(), dual.double(), *bounds).to(scores)


def volume_dual(scores: Tensor, bounds: Bounds, start: Tensor | None = None) -> Tensor:
    """r (B, C) of (2) for scores z (B, C, *spatial): each sample by itself, to 2e-7 of the image where float32 can.

    start: an r that is near, such as that of the step before. A class of which nothing is allowed gets -inf.
    The gradient is exact (implicit), however many steps were taken.
    """
    duals = []
    for b, sample in enumerate(scores.flatten(2)):
        dual = torch.full_like(bounds.lo[b], -torch.inf)
        allowed = bounds.hi[b] > 0
        z, within = sample[allowed], Bounds(bounds.lo[b][allowed], bounds.hi[b][allowed])
        near = None if start is None else start[b][allowed].detach().double()
        duals.append(dual.masked_scatter(allowed, _solve(z, within, near)))
    return torch.stack(duals).to(scores)


def volume_error(u: Tensor, bounds: Bounds) -> Tensor:
    """The largest violation of (1) over the classes, as a share of the image: (B,), 0 where all volumes lie within."""
    volumes = u.flatten(2).sum(dim=2, dtype=torch.float64)
    outside = torch.maximum(bounds.lo - volumes, volumes - bounds.hi).clamp(min=0)
    return outside.amax(dim=1) / u[0, 0].numel()


class _Point(NamedTuple):
    """r, the S and H there, the r that (3) makes of it and its t, and how far that would move a volume, in pixels."""

    r: Tensor
    volumes: Tensor
    hessian: Tensor
    safe: Tensor
    wanted: Tensor
    error: float


def _solve(z: Tensor, bounds: Bounds, near: Tensor | None) -> Tensor:
    """r (C,) for z (C, pixels), in float64 with its gradient."""
    tolerance = TOLERANCE * z.shape[1]
    with torch.no_grad():
        at = _evaluate(z, _hard_thresholds(z, bounds) if near is None else near, bounds)
        for _ in range(MAX_STEPS):
            if at.error <= tolerance:
                break
            step = _newton(at, bounds)
            for candidate in (at.r + step, at.r + step / 4, at.safe):  # (3) is taken as it is: it cannot be worse in g
                trial = _evaluate(z, candidate, bounds)
                if trial.error < at.error:
                    break
            at = trial
    # One more Newton step, the only one that autograd sees, has the gradient of the solution itself: -H^-1 dS.
    volumes = (z + at.r[:, None].to(z)).softmax(dim=0).sum(dim=1, dtype=torch.float64)
    matrix, bound = _system(at, bounds)
    return at.r + torch.linalg.solve(matrix, torch.where(bound, at.wanted - volumes, 0.0))


def _evaluate(z: Tensor, r: Tensor, bounds: Bounds) -> _Point:
    r = _anchored(r, bounds, z.shape[1])
    u = (z + r[:, None].to(z)).softmax(dim=0)
    volumes = u.sum(dim=1, dtype=torch.float64)
    safe = _sinkhorn(volumes, r, *bounds)
    # Unlike the distance of S from its bounds, this is continuous where a class comes to r = 0.
    error = (volumes * (safe - r).abs()).max().item()
    wanted = torch.where(safe > 0, bounds.lo, bounds.hi)
    return _Point(r, volumes, volumes.diag() - (u @ u.T).double(), safe, wanted, error)


def _anchored(r: Tensor, bounds: Bounds, pixels: int) -> Tensor:
    """r + c of the largest g (2): u does not change with c, and g is a broken line in c with corners at c = -r_i."""
    if (bounds.lo == bounds.hi).all():
        return r  # then g does not change either
    moved = r - r[:, None]  # (c, class)
    values = (bounds.lo * moved.clamp(min=0) - bounds.hi * (-moved).clamp(min=0)).sum(dim=1) + pixels * r
    return moved[values.argmax()]


def _sinkhorn(volumes: Tensor, r: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    volumes = volumes.clamp(min=torch.finfo(torch.float32).tiny)
    lowest, highest = r + (lo / volumes).log(), r + (hi / volumes).log()
    return torch.maximum(lowest, highest.clamp(max=0))  # unlike clamp(lowest, highest), it has a gradient if lo = hi


def _newton(at: _Point, bounds: Bounds) -> Tensor:
    """d of (4); a class whose volume is right by itself goes back to r = 0."""
    matrix, bound = _system(at, bounds)
    volumes = at.volumes.clamp(min=torch.finfo(torch.float32).tiny)
    return torch.linalg.solve(matrix, torch.where(bound, volumes * (at.wanted / volumes).log(), -at.r))


def _system(at: _Point, bounds: Bounds) -> tuple[Tensor, Tensor]:
    """The matrix of (4), with a row of the identity for each class that is not at a bound, and which classes are."""
    bound = (at.safe != 0) | (bounds.lo == bounds.hi)
    pixels = at.volumes.sum()
    matrix = at.hessian + 1e-12 * pixels * torch.eye(len(bound), device=bound.device)  # hard everywhere: H is 0
    if bound.all():
        matrix = matrix + pixels  # H has no opinion on a constant in r: let it be 0
    return torch.where(bound[:, None], matrix, torch.eye(len(bound), device=bound.device).to(matrix)), bound


def _hard_thresholds(z: Tensor, bounds: Bounds) -> Tensor:
    """r that gives the volumes when every pixel goes to its largest score: for each class a threshold of its margin."""
    r = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    classes = range(len(z))
    for i in classes if len(z) > 1 else ():
        others = torch.stack([z[j] + r[j] for j in classes if j != i]).amax(dim=0)
        margin = z[i] - others
        count = int((margin > 0).sum())
        allowed = min(max(count, round(bounds.lo[i].item())), round(bounds.hi[i].item()))
        if allowed != count:
            rank = min(max(margin.numel() - allowed + 1, 1), margin.numel())
            r[i] = -margin.kthvalue(rank).values
    return r


def volume_mask(scores: Tensor, at_least: int, at_most: int | None = None) -> Tensor:
    """The mask (*spatial) of the largest sum of scores (*spatial) among those of `at_least` ... `at_most` pixels.

    at_most None: exactly `at_least`. Within the bounds it is {scores > 0}; of equal scores the first in memory are
    taken. Raises ValueError when fewer pixels are free (score above -inf) than asked, or bounds are crossed.
    """
    at_most = at_least if at_most is None else at_most
    if not 0 <= at_least <= at_most:
        raise ValueError(f"a volume of {at_least} to {at_most} pixels: at_least must not be negative or exceed at_most")
    flat = scores.flatten()
    count = min(max(int((flat > 0).sum()), at_least), at_most)
    free = int((flat > -torch.inf).sum())
    if count > free:
        raise ValueError(f"{count} pixels are asked for, but {free} are free: lower the volume")
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = flat.kthvalue(len(flat) - count + 1).values
    mask = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    mask[ties[: count - int(mask.sum())]] = True
    return mask.view(scores.shape)


def margin_labels(scores: Tensor, masks: Mapping[int, Callable[[Tensor], Tensor]]) -> Tensor:
    """Labels (*spatial) of scores (C, *spatial), those of some classes being masks of their margin, in masks' order.

    masks: for a class i, a function of its margin (u_i minus the best class that is still open; -inf where a class
    before it lies) such as `volume_mask` or `star_mask` with their other arguments bound. All other pixels go to the
    best class that is not in `masks`. With one such class the sum of all scores is the largest possible; with more,
    it is so for each in turn. Raises ValueError when `masks` leaves no class free.
    """
    open_ = [label for label in range(len(scores)) if label not in masks]
    if not open_:
        raise ValueError(f"all of the {len(scores)} classes have a mask of their own: leave one free, the background")
    free = torch.tensor(open_, device=scores.device)
    labels = free[scores[free].argmax(dim=0)]
    taken = torch.zeros_like(labels, dtype=torch.bool)
    waiting = list(masks)
    for label, mask_of in masks.items():
        waiting.remove(label)
        margin = scores[label] - scores[open_ + waiting].amax(dim=0)
        found = mask_of(margin.masked_fill(taken, -torch.inf))
        labels[found] = label
        taken |= found
    return labels
