"""CPU seconds, evaluations and memory of our integrators, beside torchdiffeq's.

    python tests/benchmarks/ode.py

Time: one thread, process CPU seconds of one integration over [0, 1], ours and theirs in turn on the same function and
start, in random order; least and median of the rounds. "decay" is y' = -y on a small state, where the integrator is
what costs; "network" is two convolutions, as in a learned equation, forward and with its gradient. rk4 is the classical
rule here and the 3/8 rule there: 4 evaluations each. Memory: numbers that autograd keeps per step, in states.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torchdiffeq
from torch import Tensor, nn

from pipeline.ode.solve import Counts, Solver, integrate

ROUNDS, STEPS = 31, 16
ENDS = torch.tensor([0.0, 1.0])


class Network(nn.Module):
    """A smooth f on states (B, 8, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(9, 16, 3, padding=1), nn.Softplus(), nn.Conv2d(16, 8, 3, padding=1))

    def forward(self, t: float | Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([y, torch.full_like(y[:, :1], float(t))], dim=1))


def decay(t: float | Tensor, y: Tensor) -> Tensor:
    return -y


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], list[float]]:
    """CPU seconds of both, a round each after a warm-up; who begins is drawn."""
    times: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for work in times:
        work()
    for _ in range(ROUNDS):
        for work in random.sample(list(times), 2):
            times[work].append(cpu_seconds(work))
    return times[ours], times[theirs]


def pair(func: Callable, y0: Tensor, method: str, *, with_gradient: bool) -> tuple[Callable, Callable]:
    solver = Solver(method=method, steps=STEPS)

    def ours() -> None:
        end = integrate(func, y0, solver)
        if with_gradient:
            end.sum().backward()

    def theirs() -> None:
        end = torchdiffeq.odeint(func, y0, ENDS, method=method, options={"step_size": 1 / STEPS})[-1]
        if with_gradient:
            end.sum().backward()

    return ours, theirs


def speed() -> None:
    write(f"{'milliseconds a step':34}{'ours':>9}{'theirs':>9}{'ratio of least':>16}{'of medians':>12}")
    small, large = torch.randn(1, 8, 32, 32), torch.randn(1, 8, 64, 64)
    for name, func, y0, with_gradient in (
        ("decay", decay, small, False),
        ("network", Network(), large, False),
        ("network and gradient", Network(), large, True),
    ):
        for method in ("euler", "midpoint", "rk4"):
            with torch.set_grad_enabled(with_gradient):
                ours, theirs = in_turn(*pair(func, y0, method, with_gradient=with_gradient))
            least = [1000 * min(times) / STEPS for times in (ours, theirs)]
            medians = statistics.median(ours) / statistics.median(theirs)
            write(f"{name + ', ' + method:34}{least[0]:9.3f}{least[1]:9.3f}{least[0] / least[1]:16.2f}{medians:12.2f}")


def evaluations() -> None:
    write(f"\n{'dopri5, evaluations and error':34}{'ours':>9}{'theirs':>9}{'our error':>16}{'their error':>12}")
    network, y0 = Network().double(), torch.randn(1, 8, 32, 32, dtype=torch.float64) * 10
    with torch.no_grad():
        for name, func in (("f = 0", lambda t, y: torch.zeros_like(y)), ("network", network)):
            exact = integrate(func, y0, Solver(method="dopri5", atol=1e-10, max_steps=10_000))
            for atol in (1e-3, 1e-4, 1e-5):
                ours, calls = Counts(), []

                def counted(t: Tensor, y: Tensor, func: Callable = func, calls: list = calls) -> Tensor:
                    calls.append(t)
                    return func(t, y)

                end = integrate(func, y0, Solver(method="dopri5", atol=atol), counts=ours)
                other = torchdiffeq.odeint(counted, y0, ENDS.double(), method="dopri5", atol=atol, rtol=0.0)[-1]
                errors = [(state - exact).abs().max().item() for state in (end, other)]
                row = f"{ours.forward:9}{len(calls):9}{errors[0]:16.1e}{errors[1]:12.1e}"
                write(f"{f'{name}, atol {atol:.0e}':34}{row}")


def kept_numbers(solver: Solver, network: nn.Module, y0: Tensor) -> int:
    """Numbers kept for the backward pass, each storage once, weights left out."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        end = integrate(network, y0, solver)
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    assert end.requires_grad
    return sum(t.untyped_storage().nbytes() // t.element_size() for key, t in kept.items() if key not in weights)


def memory() -> None:
    write(f"\n{'states kept a step':34}{'direct':>9}{'checkpt':>9}{'ratio':>16}{'CPU time':>12}")
    network, y0 = Network(), torch.randn(1, 8, 64, 64)
    for method in ("euler", "midpoint", "rk4", "ab2", "abm2"):
        growth, works = [], []
        for gradient in ("direct", "checkpoint"):
            few, many = (Solver(method=method, steps=n, gradient=gradient) for n in (4, 12))
            growth.append((kept_numbers(many, network, y0) - kept_numbers(few, network, y0)) / 8 / y0.numel())
            works.append(lambda many=many: integrate(network, y0, many).sum().backward())
        direct, again = (statistics.median(times) for times in in_turn(*works))
        write(f"{method:34}{growth[0]:9.2f}{growth[1]:9.2f}{growth[1] / growth[0]:16.3f}{again / direct:12.2f}")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    speed()
    evaluations()
    memory()
