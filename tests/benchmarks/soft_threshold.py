"""CPU seconds of the layers with spatial priors, and what a training step with each costs (the paper's Table 5).

    python tests/benchmarks/soft_threshold.py [--write]

Layers: forward and backward. Training steps: DeepLabV3+ with a ResNet-50, two pictures of 256 x 256, two classes,
float32, without the optimiser, timed once, and each layer's own time on as many logits: the step is their sum, for the
network's time varies by more than a layer takes. "TV" is the rival that the paper names, u <- softmax(o - div q) with
the dual of the total variation projected on its unit disc, as many iterations. Star shapes: on a disc with a bite
beside a second one, under noise, 96 x 96, weight 0.75: the share of the mask's pixels that do not see the centre, and
the steepest fall of u towards it (slack; 0 is a star), by the scheme as printed and by ours.
One thread, process CPU seconds, the least of the rounds. --write: into results/soft_threshold.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from cpu_time import least_seconds
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.layers.star_shape import StarShape
from pipeline.layers.volume_preserving import VolumePreserving
from pipeline.networks.deeplab import DeepLabV3Plus
from pipeline.numerics.differences import divergence, gradient

RESULTS = Path(__file__).resolve().parent / "results" / "soft_threshold.md"
SIDE, PICTURES, SMALL = 512, 2, 256
BARS_MS = {"STD, two classes": 60.0, "STD, softmax form": 180.0}  # of the layers, T = 10
Layer = Callable[[Tensor], Tensor]


def softmax_form(dynamics: SoftThresholdDynamics, o: Tensor) -> Tensor:
    """The layer's equation (2) for any number of classes, which two classes do without."""
    scores = o / dynamics.entropy
    for _ in range(dynamics.iterations):
        scores = (o - dynamics.tangent(scores.softmax(dim=1))) / dynamics.entropy
    return scores


def total_variation(o: Tensor, volumes: Tensor | None = None, iterations: int = 10, step: float = 0.1) -> Tensor:
    """The rival: logits of argmin -<o, u> + <u, ln u> + TV(u), volumes by a multiplier a class, moved once a step."""
    q, dual = torch.zeros_like(gradient(o)), o.new_zeros(*o.shape[:2], 1, 1)
    scores = o
    for _ in range(iterations):
        u = scores.softmax(dim=1)
        q = q + step * gradient(u)
        q = q / q.square().sum(dim=0).sqrt().clamp(min=1)
        if volumes is not None:
            dual = dual + (volumes.log() - u.sum(dim=(2, 3)).log())[:, :, None, None]
        scores = o + divergence(q) + dual
    return scores


def layers(side: int) -> dict[str, Layer]:
    """Each for logits of two classes; what is asked of them is like what a network finds: a disc's area and middle."""
    dynamics, starry = (SoftThresholdDynamics(spatial_dims=2, iterations=t) for t in (10, 50))
    volumes = torch.tensor([0.8, 0.2]) * side**2
    star = StarShape(starry)
    return {
        "softmax": lambda o: o,
        "TV": total_variation,
        "VP-TV": lambda o: total_variation(o, volumes),
        "STD, two classes": dynamics,
        "STD, softmax form": lambda o: softmax_form(dynamics, o),
        "VP-STD": lambda o: VolumePreserving(dynamics)(o, volumes),
        "VP-STD, as printed": lambda o: VolumePreserving(dynamics, solver="sinkhorn")(o, volumes),
        "SS-STD, T = 50": lambda o: star(o, torch.full((len(o), 2), side / 2)),
    }


def layer_seconds(side: int) -> dict[str, float]:
    """Forward and backward, with the loss."""
    logits, truth = _logits(side), torch.zeros(PICTURES, side, side, dtype=torch.long)
    return {name: least_seconds(partial(_descend, layer, logits, truth)) for name, layer in layers(side).items()}


def layer_rows() -> Iterator[list[str]]:
    for name, seconds in layer_seconds(SIDE).items():
        yield [name, f"{1000 * seconds:.0f}", f"{BARS_MS[name]:.0f}" if name in BARS_MS else ""]


def step_rows() -> Iterator[list[str]]:
    network, pictures = DeepLabV3Plus(out_channels=2).train(), torch.rand(PICTURES, 3, SMALL, SMALL)
    truth = torch.zeros(PICTURES, SMALL, SMALL, dtype=torch.long)
    alone = least_seconds(lambda: cross_entropy(network(pictures), truth).backward(), rounds=3)
    found = layer_seconds(SMALL)
    for name, seconds in found.items():
        more = seconds - found["softmax"]
        yield [name, f"{1 / (alone + more):.3f}", f"{100 * more / alone:.1f} %"]


def star_rows() -> Iterator[list[str]]:
    logits, center = bitten_disc()
    for entropy in (0.1, 1.0):
        for scheme in ("forward", "parent"):
            for iterations in (50, 200):
                dynamics = SoftThresholdDynamics(spatial_dims=2, weight=0.75, entropy=entropy, iterations=iterations)
                star = StarShape(dynamics, scheme=scheme)
                with torch.no_grad():
                    u = star(logits, center).softmax(dim=1)
                    seconds = least_seconds(partial(star, logits, center))
                seen = [f"{100 * star.rays_violated(u, center).item():.1f} %", f"{star.slack(u, center).item():.3f}"]
                printed = "as printed" if scheme == "forward" else "parent tree, restarted momentum"
                yield [f"{entropy:g}", printed, str(iterations), *seen, f"{1000 * seconds:.0f}"]


def bitten_disc(side: int = 96) -> tuple[Tensor, Tensor]:
    """Logits (1, 2, side, side) and the centre (1, 2)."""
    y, x = torch.meshgrid(*[torch.arange(float(side))] * 2, indexing="ij")
    center = torch.tensor([0.6 * side, 0.42 * side])
    inside = (y - center[0]) ** 2 + (x - center[1]) ** 2 < (0.27 * side) ** 2
    inside &= ~((y - center[0]).abs().lt(0.08 * side) & (x > center[1] + 0.1 * side))
    inside |= (y - 0.17 * side) ** 2 + (x - 0.77 * side) ** 2 < (0.12 * side) ** 2
    noise = torch.randn(side, side, generator=torch.Generator().manual_seed(0))
    foreground = torch.where(inside, 1.0, -1.0) + 0.5 * noise
    return torch.stack([torch.zeros_like(foreground), foreground])[None], center[None]


def _logits(side: int) -> Tensor:
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    disc = 4 * (0.5 - (x**2 + y**2).sqrt()) + torch.randn(PICTURES, side, side)
    return torch.stack([-disc, disc], dim=1).requires_grad_()


def _descend(layer: Layer, logits: Tensor, truth: Tensor) -> None:
    cross_entropy(layer(logits), truth).backward()


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parts = [
        "# Layers with spatial priors, measured",
        f"`python tests/benchmarks/soft_threshold.py --write`: torch {torch.__version__}; one thread, load average "
        f"{os.getloadavg()[0]:.1f} at the start. What is timed: the module's docstring.",
        f"Forward and backward, {PICTURES} x 2 x {SIDE} x {SIDE}, T = 10 where nothing else is said:",
        _table(["layer", "CPU ms", "at most"], layer_rows()),
        f"A training step of DeepLabV3+ (ResNet-50), {PICTURES} x 3 x {SMALL} x {SMALL} (the paper's Table 5):",
        _table(["behind it", "steps a CPU second", "more than softmax"], step_rows()),
        "Star shape, forward, 1 x 2 x 96 x 96, weight 0.75:",
        _table(["entropy", "scheme", "T", "rays violated", "slack", "CPU ms"], star_rows()),
    ]
    text = "\n\n".join(parts) + "\n"
    sys.stdout.write(text)
    if "--write" in arguments:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    main(sys.argv[1:])
