"""What networks cost: parameters, multiply-adds, memory against steps, time; and what a whole table will.

Multiply-adds and memory are counted on tensors without contents (PyTorch's meta device): exact, and the same on every
machine. Memory is the most that a training step holds at a time of what it computes, gradients included: not the
weights, nor what single operations need for themselves.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from paper_tables.description import Cell, Line, Table, distinct
from paper_tables.training import commit, result
from paper_tables.writing import grid
from pipeline.networks.cost import cost
from pipeline.ode.blocks import ODEBlock
from pipeline.ode.solve import FEWEST_ADJOINT_STEPS, Gradient

MEGABYTE = 2**20
NOTE = """\
One picture, {channels} channels. Multiply-adds are those of convolutions and matrix products; floating-point operations
are twice as many. Memory: the most that a training step at {size} x {size} holds, without weights; it is counted.
Time: CPU seconds of this process, one thread, at {size} x {size}: they depend on the machine and on what else it does.
The paper quotes 0.45 GFLOPs for its network on ISIC, without size or evaluations. No network of four evaluations a
block comes to that at 512 x 512."""


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are made inside it, forward and backward; `peak` is the most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.peak = 0, 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, size: int) -> None:
        self.alive -= size


def training_memory(network: nn.Module, size: Sequence[int]) -> int:
    """Bytes at the peak of one step on a picture (channels, *spatial), on the network's device."""
    image = torch.zeros(1, *size, device=next(network.parameters()).device)
    with PeakMemory() as memory:
        network(image).mean().backward()
    network.zero_grad()
    return memory.peak


def step_seconds(network: nn.Module, size: Sequence[int], *, batch: int = 1) -> tuple[float, float]:
    """CPU seconds a picture, forward alone and forward with backward, after a step that is not counted."""
    images = torch.rand(batch, *size, generator=torch.Generator().manual_seed(0))
    network(images).mean().backward()
    began = time.process_time()
    with torch.no_grad():
        network(images)
    between = time.process_time()
    network(images).mean().backward()
    return (between - began) / batch, (time.process_time() - between) / batch


def write_efficiency(table: Table, command: str) -> str:
    """The efficiency table in Markdown."""
    given = table.content
    note = NOTE.format(channels=given["channels"], size=given["sizes"][0])
    parts = [f"# {table.title}", f"Made by `{command}`, code {commit()}.", note]
    for comparison in table.comparisons:
        parts += [f"## Networks at equal {comparison}", _networks(table, comparison)]
    title = table.networks[table.reference]["title"]
    parts += [f"## Memory and time against the solver's steps: {title}", _steps(table)]
    return "\n\n".join(parts) + "\n"


def _networks(table: Table, comparison: str) -> str:
    channels, sizes = table.content["channels"], table.content["sizes"]
    head = ["network", "filters", "parameters", "evaluations", *(f"multiply-adds at {n}" for n in sizes)]
    rows = []
    for name in table.shown:
        filters = table.filters(name, comparison, channels)
        network = table.build(name, filters, channels)
        costs = [cost(network, (channels, n, n)) for n in sizes]
        row = [table.networks[name]["title"], ", ".join(map(str, filters)), f"{costs[0].parameters:,}"]
        row += [str(costs[0].evaluations), *(f"{each.multiply_adds / 1e9:.3f} G" for each in costs)]
        rows.append(row + _spent(network, (channels, sizes[0], sizes[0])))
    return grid([*head, "memory", "forward", "forward and backward"], rows)


def _steps(table: Table) -> str:
    channels, n = table.content["channels"], table.content["sizes"][0]
    rows = []
    for steps in table.content["steps"]:
        for gradient in get_args(Gradient):
            if gradient == "adjoint" and steps < FEWEST_ADJOINT_STEPS:
                continue  # its gradient would be several per cent off
            network = table.build(table.reference, table.filters(table.reference, "filters", channels), channels)
            _solve_by(network, steps, gradient)
            counted = cost(network, (channels, n, n))
            row = [str(steps), gradient, str(counted.evaluations), f"{counted.multiply_adds / 1e9:.3f} G"]
            rows.append(row + _spent(network, (channels, n, n)))
    return grid(
        ["steps", "gradient", "evaluations", f"multiply-adds at {n}", "memory", "forward", "forward and backward"], rows
    )


def _spent(network: nn.Module, size: Sequence[int]) -> list[str]:
    """Memory of a network on the meta device, and the time of the same with contents."""
    memory = training_memory(network, size)
    forward, both = step_seconds(_filled(network), size)
    return [f"{memory / MEGABYTE:.1f} MB", f"{forward:.3f} s", f"{both:.3f} s"]


def _filled(network: nn.Module) -> nn.Module:
    """The network itself, moved from the meta device to the CPU, with small random weights: time does not see them."""
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for each in (*network.parameters(), *network.buffers()):
            if each.is_floating_point():
                each.uniform_(0.0, 0.05)
            else:
                each.zero_()
    return network


def _solve_by(network: nn.Module, steps: int, gradient: Gradient) -> None:
    for block in (part for part in network.modules() if isinstance(part, ODEBlock)):
        block.solver = replace(block.solver, steps=steps, gradient=gradient)


def write_estimate(table: Table, lines: Sequence[Line]) -> str:
    """CPU hours of the cells that are missing, from one timed step of each network."""
    missing = [cell for cell in distinct(list(lines)) if result(cell) is None]
    hours = dict.fromkeys((cell.dataset for cell in missing), 0.0)
    timed: dict[tuple[Any, ...], tuple[float, float]] = {}
    for cell in missing:
        trained, stopping, size = _samples(cell)
        key = (cell.network, cell.filters, size)
        if key not in timed:
            timed[key] = step_seconds(cell.parser().get_parsed_content("network").cpu(), size, batch=2)
        forward, both = timed[key]
        an_epoch = trained * both + stopping * forward / cell.config.get("val_interval", 1)
        hours[cell.dataset] += cell.config["max_epochs"] * an_epoch / 3600
    rows = [
        [table.datasets[name]["title"], str(sum(cell.dataset == name for cell in missing)), f"{spent:.1f}"]
        for name, spent in hours.items()
    ]
    rows.append(["all", str(len(missing)), f"{sum(hours.values()):.1f}"])
    return grid(["dataset", "cells to train", "CPU hours"], rows) + "\n"


def _samples(cell: Cell) -> tuple[int, int, tuple[int, ...]]:
    """How many a cell trains on and stops by, and the size of one as it is trained on, (channels, *spatial)."""
    trained, stopping = (cell.parser().get_parsed_content(f"{part}::dataset") for part in ("train", "validate"))
    return len(trained), len(stopping), tuple(trained[0]["image"].shape)
