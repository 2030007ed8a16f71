r"""Deep variational instance segmentation: one real-valued map f that is constant on each object and 0 beside them.

With the objects' numbers g (0 background), L(v) = v^2 / (2 t) below t = 0.1 and v - t/2 above (Huber), + = max(., 0):

    binary        mean over pixels of L(f+) where g = 0, of L((m1 - f)+) where g > 0                        (1)
      or, with a slope s, of log(1 + e^(s (f - m1/2))) where g = 0, log(1 + e^(s (m1/2 - f))) where g > 0   (1')
    pair          mean of L(|f+_i - f+_j|) over pairs of pixels of one object + w mean of L((m2 - d)+) over
                  pairs of two, d = |max(f_i, b) - max(f_j, b)|                                             (2)
    Mumford-Shah  mean of log(1 + (f+(y, x) - f+(y, x + 1))^2 + (f+(y, x) - f+(y + 1, x))^2)                (3)
    quantisation  mean over object pixels of |f+ - round f+|                                                (4)

No term knows the objects' numbers but by whether two are equal: f may number them in any order. Zero loss in (1), (2)
and (4) has the map of 0 beside and 2, 3, 4 ... on the objects. (3) is the price of contours.

All pairs are too many. `StratifiedPairs` takes, as the paper does, the offsets within a window: all near ones and every
r-th of the others, each a shifted slice. What lies farther apart than half a window may share a value: where objects
are many, the window makes (2) a colouring of neighbours, and grouping tells the others apart by their place.
`BalancedPairs` draws equally many pixels of each object, and takes all pairs of these; `UniformPairs` draws pairs.

Where equal objects lie side by side by the dozen, (2) alone parts few of them. Borders can: with border = s, pixels of
an object from whose window of 2 s + 1 anything else is seen count as background, and those that see two objects weigh
more in (1), so that f falls to 0 between them. Grouping gives the s pixels back.

Reference: Yuan, Chen, Li, Deep Variational Instance Segmentation (NeurIPS 2020), equations 2 to 7, t, m1 = 2, m2 = 1,
window 129, c = r = 8. Its (5) lacks the + around m2 - d, without which farther apart would be worse. Not from the
paper: borders, and the weights of the four terms, of which it is silent. The + of the network's output (its ReLU) is
here, not in the network: (1) has to see what is below 0, or a network that begins there would never learn.
Not as in the paper: the two means of (2), for which it has one over all pairs. Where most objects lie alone, pairs of
two are a few in a hundred, and the one mean has a trap, f = 2 on every object: a slope of f across neighbours costs
more within them than it gains between them. (Seen on nuclei after two epochs, at w = 3; the authors' published code
leaves pairs of little loss out of its mean.) Nor a floor b of (2) above 0: with 0 two neighbours part by the lower of
them falling towards background as readily as by the higher rising, against (1). (Of nuclei trained so, f was 1.8 to 2.2
on 45 of 100, above that on none, and below 1.2 on 46.) With b = m1 no object is pushed below m1.
Nor (1'): (1) is a distance, whose minimum is a median. f is 0 or m1 and nothing between, at an edge in doubt it is the
likelier of the two, and a weight of objects moves every edge. (1') is least where a pixel that is inside with
probability p has f = m1/2 + log(p / (1 - p)) / s: f > m1/2 is inside, and how far says how surely. (4) then rounds to
m1 or above: 1 is the value next to an edge in doubt, and on all nuclei f stayed there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HUBER = 0.1
FOREGROUND_MARGIN = 2.0  # m1
INSTANCE_MARGIN = 1.0  # m2

Sides = tuple[Tensor, Tensor, Tensor, Tensor]  # f and g of the first pixels, f and g of the second: of one shape


class Pairs(Protocol):
    def __call__(self, f: Tensor, labels: Tensor) -> Iterator[Sides]:
        """Pairs of pixels of f and labels (B, 1, H, W), in parts; where a label is 0 the pair does not count."""


@dataclass(frozen=True, kw_only=True)
class StratifiedPairs:
    """Every pixel with those around it at fixed offsets: all of |dx| + |dy| < dense, every `dilation`-th beyond.

    window: odd; offsets reach half of it along either axis. A dilation of 1 takes every pair within the window.
    """

    window: int = 129
    dense: int = 8
    dilation: int = 8

    def offsets(self) -> list[tuple[int, int]]:
        """(dy, dx), one of each two that are opposite."""
        reach = self.window // 2
        steps = range(-reach, reach + 1)
        return [
            (dy, dx)
            for dy in range(reach + 1)
            for dx in steps
            if (dy, dx) > (0, 0) and (abs(dy) + abs(dx) < self.dense or dy % self.dilation == dx % self.dilation == 0)
        ]

    def __call__(self, f: Tensor, labels: Tensor) -> Iterator[Sides]:
        height, width = f.shape[-2:]
        for dy, dx in self.offsets():
            if dy >= height or abs(dx) >= width:
                continue
            rows, columns = slice(height - dy), slice(max(-dx, 0), width - max(dx, 0))
            others = slice(dy, height), slice(max(dx, 0), width + min(dx, 0))
            one, other = (..., rows, columns), (..., *others)
            yield f[one], labels[one], f[other], labels[other]


@dataclass(frozen=True, kw_only=True)
class BalancedPairs:
    """All pairs of `pixels` pixels of each image, of which every object has the same number, drawn with replacement."""

    pixels: int = 1024

    def __call__(self, f: Tensor, labels: Tensor) -> Iterator[Sides]:
        for values, ids in zip(f.flatten(1), labels.flatten(1), strict=True):
            inside = ids.nonzero().flatten()
            if not len(inside):
                continue
            _, numbers, areas = ids[inside].unique(return_inverse=True, return_counts=True)
            drawn = inside[torch.multinomial(1 / areas[numbers].float(), self.pixels, replacement=True)]
            one, two = torch.triu_indices(self.pixels, self.pixels, offset=1, device=f.device)
            yield values[drawn[one]], ids[drawn[one]], values[drawn[two]], ids[drawn[two]]


@dataclass(frozen=True, kw_only=True)
class UniformPairs:
    """`pairs` pairs of each image, both pixels drawn from all object pixels alike."""

    pairs: int = 200_000

    def __call__(self, f: Tensor, labels: Tensor) -> Iterator[Sides]:
        for values, ids in zip(f.flatten(1), labels.flatten(1), strict=True):
            inside = ids.nonzero().flatten()
            if len(inside):
                one, two = inside[torch.randint(len(inside), (2, self.pairs), device=f.device)]
                yield values[one], ids[one], values[two], ids[two]


STRATIFIED = StratifiedPairs()  # the paper's


@dataclass(frozen=True, kw_only=True)
class Different:
    """How pairs of two objects count in (2): weight is w, floor is b, from 0 on."""

    weight: float = 1.0
    floor: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """The binary term (1'): s, and its weight among the four."""

    slope: float
    weight: float = 1.0


def inner(labels: Tensor, border: int) -> Tensor:
    """labels (B, 1, H, W) without what has another object or background within `border` pixels along each axis."""
    lowest, highest = _extremes(labels, labels, border)
    return labels * (lowest == highest)


def seams(labels: Tensor, border: int) -> Tensor:
    """Where two objects or more are within `border` pixels of a pixel along each axis; bool, of labels (B, 1, H, W)."""
    lowest, highest = _extremes(torch.where(labels > 0, labels.double(), torch.inf), labels, border)
    return lowest < highest


def _extremes(low: Tensor, high: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The least of `low` and the most of `high` in each pixel's window of 2 reach + 1; beyond the image is nothing."""
    lowest, highest = (F.max_pool2d(v.double(), 2 * reach + 1, stride=1, padding=reach) for v in (-low, high))
    return -lowest, highest


def binary_loss(
    f: Tensor,
    labels: Tensor,
    *,
    margin: float = FOREGROUND_MARGIN,
    slope: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Equation (1), with a slope (1'); f (..., H, W) before any ReLU, labels and weights of the mean of its shape."""
    if slope is None:
        loss = _huber(torch.where(labels > 0, margin - f, f).relu())
    else:
        outwards = f - margin / 2
        loss = F.softplus(slope * torch.where(labels > 0, -outwards, outwards))
    return loss.mean() if weights is None else (weights * loss).sum() / weights.sum()


def pair_loss(
    f: Tensor,
    labels: Tensor,
    *,
    pairs: Pairs = STRATIFIED,
    margin: float = INSTANCE_MARGIN,
    different_weight: float = 1.0,
    floor: float = 0.0,
) -> Tensor:
    """Equation (2) of f (B, 1, H, W); a mean over no pair is 0. different_weight: w; floor: b, from 0 on."""
    positive = f.relu()
    totals, counts = f.new_zeros(2), f.new_zeros(2)  # of pairs of one object, of two
    for one, first, other, second in pairs(positive, labels):
        different = first != second
        inside = (first > 0) & (second > 0)
        apart = (one.clamp(min=floor) - other.clamp(min=floor)).abs()
        loss = _huber(torch.where(different, (margin - apart).relu(), (one - other).abs()))
        kinds = torch.stack([inside & ~different, inside & different]).flatten(1).to(loss)
        totals = totals + kinds @ loss.flatten()
        counts = counts + kinds.sum(dim=1)
    same, different = totals / counts.clamp(min=1)
    return same + different_weight * different


def mumford_shah_loss(f: Tensor) -> Tensor:
    """Equation (3) of f (..., H, W); the last row and column have the one neighbour that they have."""
    positive = f.relu()
    across = F.pad(positive.diff(dim=-1).square(), (0, 1))
    down = F.pad(positive.diff(dim=-2).square(), (0, 0, 0, 1))
    return torch.log1p(across + down).mean()


def quantisation_loss(f: Tensor, labels: Tensor, *, least: float = 0.0) -> Tensor:
    """Equation (4), of round f+ or `least`, the greater; 0 where there is no object."""
    positive, inside = f.relu(), labels > 0
    distance = (positive - positive.round().clamp(min=least).detach()).abs()
    return (distance * inside).sum() / inside.sum().clamp(min=1)


class DVISLoss(nn.Module):
    """The weighted sum of (1) to (4), in float32.

    f: (B, 1, H, W), real, no activation. labels: (B, 1, H, W), whole numbers of any type, one an object, 0 background.
    pairs: a sampler of this module.  binary, pair, mumford_shah, quantisation: weights of the terms; a Logistic: (1').
    different: w and b of (2).  border: s in pixels; 0: none.
    pixel_weights: in (1), of objects' pixels and of those that see two objects, beside 1.
    ValueError: f and labels of two shapes.
    """

    def __init__(
        self,
        *,
        pairs: Pairs = STRATIFIED,
        binary: float | Logistic = 1.0,
        pair: float = 1.0,
        mumford_shah: float = 0.1,
        quantisation: float = 0.1,
        different: Different = Different(),
        border: int = 0,
        pixel_weights: Sequence[float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        self.pairs, self.different = pairs, different
        self.border, self.pixel_weights = border, pixel_weights
        self.slope = binary.slope if isinstance(binary, Logistic) else None
        self.weights = (binary.weight if isinstance(binary, Logistic) else binary, pair, mumford_shah, quantisation)

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        if f.shape != labels.shape or f.ndim != 4:
            raise ValueError(f"f {tuple(f.shape)} and labels {tuple(labels.shape)} must be (B, 1, H, W) alike")
        f = f.as_subclass(Tensor).float()
        labels, at_seams = labels.as_subclass(Tensor), torch.zeros_like(f, dtype=torch.bool)
        if self.border:
            at_seams, labels = seams(labels, self.border), inner(labels, self.border)
        of_objects, of_seams = self.pixel_weights
        weights = 1 + (of_objects - 1) * (labels > 0) + (of_seams - 1) * at_seams
        terms = (
            binary_loss(f, labels, slope=self.slope, weights=weights),
            pair_loss(f, labels, pairs=self.pairs, different_weight=self.different.weight, floor=self.different.floor),
            mumford_shah_loss(f),
            quantisation_loss(f, labels, least=0.0 if self.slope is None else FOREGROUND_MARGIN),
        )
        return sum((w * term for w, term in zip(self.weights, terms, strict=True) if w), f.new_zeros(()))


def _huber(v: Tensor) -> Tensor:
    """Of v >= 0."""
    return torch.where(v < HUBER, v.square() / (2 * HUBER), v - HUBER / 2)
