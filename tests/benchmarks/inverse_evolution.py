"""CPU seconds of inverse evolution layers, beside the step of the U-Net that they stand behind.

    python tests/benchmarks/inverse_evolution.py

20 layers of heat flow, forward and backward, on 16 x 3 x 256 x 256, and a U-Net's step (forward and backward, float32)
on as many pictures. The paper's U-Net has five levels; it cites Ronneberger's, whose 64 to 1024 filters are the
reference; the bundle's 8 to 128 stand beside it. Its step is timed on one picture and taken sixteen times: it is in
proportion to the batch. "through every layer" is what autograd does with the layers written out. "read and write once
a layer" bounds from below what any layer after layer can take; `one product` is the whole stack by its eigenvectors,
cosines, in one direction: matrix products whose number does not grow with the layers.
One thread, process CPU seconds, the least of the rounds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import torch
from cpu_time import least_seconds
from monai.networks.nets import BasicUNet
from torch import Tensor

from pipeline.layers.inverse_evolution import HeatFlow, InverseEvolution

BATCH, TIMED, CLASSES, SIZE, LAYERS, STEP = 16, 1, 3, 256, 20, 0.1
NETWORKS = {"the paper's U-Net": [64, 128, 256, 512, 1024], "the bundle's U-Net": [8, 16, 32, 64, 128]}
SHARE = 0.05


def network_step(filters: list[int]) -> Callable[[], None]:
    network = BasicUNet(2, 3, CLASSES, features=[*filters, filters[0]])
    pictures = torch.rand(TIMED, 3, SIZE, SIZE)
    return lambda: network(pictures).square().mean().backward()


def through_every_layer(u: Tensor, flow: HeatFlow) -> Tensor:
    for _ in range(LAYERS):
        u = u - STEP * flow(u)
    return u


def one_product(u: Tensor, diffusivity: float) -> Tensor:
    """The layers by the cosines that each axis has as eigenvectors, without flux at the border."""
    number = torch.arange(SIZE, dtype=torch.float64)
    cosines = torch.cos(math.pi / SIZE * number[:, None] * (number + 0.5)) * math.sqrt(2 / SIZE)
    cosines[0] /= math.sqrt(2)
    rates = 2 - 2 * torch.cos(math.pi * number / SIZE)
    gains = ((1 + STEP * diffusivity * (rates[:, None] + rates)) ** LAYERS).to(u.dtype)
    basis = cosines.to(u.dtype)
    return basis.T @ (gains * (basis @ u @ basis.T)) @ basis


def layers_seconds() -> dict[str, float]:
    """Of each way, forward and backward."""
    logits = torch.randn(BATCH, CLASSES, SIZE, SIZE, requires_grad=True)
    incoming, flow = torch.randn_like(logits), HeatFlow()
    stack, space = InverseEvolution(flow, layers=LAYERS, step=STEP).train(), torch.empty_like(incoming)

    def copies() -> None:
        for _ in range(2 * LAYERS):
            space.copy_(incoming)

    with torch.no_grad():
        torch.testing.assert_close(one_product(incoming, flow.diffusivity), stack(incoming), rtol=1e-4, atol=1e-3)
        product = 2 * least_seconds(lambda: one_product(incoming, flow.diffusivity))
    return {
        "ours": least_seconds(lambda: stack(logits).backward(incoming)),
        "through every layer": least_seconds(lambda: through_every_layer(logits, flow).backward(incoming), rounds=2),
        "one product": product,
        "read and write once a layer": least_seconds(copies),
    }


def write(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    steps = {name: BATCH / TIMED * least_seconds(network_step(filters), 2) for name, filters in NETWORKS.items()}
    write(
        f"{f'{LAYERS} layers, {BATCH} x {CLASSES} x {SIZE} x {SIZE}':34}{'seconds':>9}"
        + "".join(f"{n:>24}" for n in steps)
    )
    write(f"{'a step of the U-Net':34}{'':9}" + "".join(f"{seconds:22.2f} s" for seconds in steps.values()))
    for name, seconds in layers_seconds().items():
        write(f"{name:34}{seconds:9.3f}" + "".join(f"{seconds / step:24.1%}" for step in steps.values()))
    write(f"\nwanted: ours at most {SHARE:.0%} of the paper's U-Net's step")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    main()
