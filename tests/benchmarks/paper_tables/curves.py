"""How fast networks learn: Dice of the stopping pictures by epoch, as Curve in training.py has stored it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_tables.description import Line, Table
from paper_tables.writing import grid
from pipeline.io.json_file import read_json

HEAD = ("network", "seeds", "epochs", "best Dice", "epochs to 90 % of its best", "epochs to 90 % of {reference}'s best")
SHARE = 0.9


def write_curves(table: Table, lines: Sequence[Line], output: Path, command: str) -> str:
    """A figure a dataset and comparison into `output`; the Markdown that shows them."""
    parts = [f"# {table.title}", f"Made by `{command}`.", "Dice of the stopping pictures, mean over the seeds."]
    for dataset, comparison in dict.fromkeys((line.dataset, line.comparison) for line in lines):
        chosen = [line for line in lines if (line.dataset, line.comparison) == (dataset, comparison)]
        measured = table.content.get("curve", "dice")
        lowest = table.content.get("lowest", 0.0)
        every = chosen[0].cells[0].config.get("val_interval", 1)
        drawn = {line.network: dice for line in chosen if len(dice := _dice(line, measured))}
        parts.append(f"## {table.datasets[dataset]['title']}, equal {comparison}")
        if not drawn:
            parts.append("Not run yet.")
            continue
        figure = output / f"curves_{dataset}_{comparison}.png"
        _draw({table.named(name): dice for name, dice in drawn.items()}, every, figure, lowest)
        parts += [f"![Dice by epoch]({figure.name})", _speeds(table, drawn, every)]
    return "\n\n".join(parts) + "\n"


def epochs_to(curve: NDArray[np.float64], level: float, every: int = 1) -> str:
    """The first epoch, counted from 1, whose Dice is `level` or more; `every` so many epochs there is one."""
    there = np.flatnonzero(curve >= level)
    return str(every * (there[0] + 1)) if there.size else "never"


def _dice(line: Line, measured: str) -> NDArray[np.float64]:
    """(seeds, epochs) of the seeds that are finished, or no row."""
    finished = [cell.folder for cell in line.cells if (cell.folder / "result.json").is_file()]
    curves = [[entry[measured] for entry in read_json(folder / "curve.json")["epochs"]] for folder in finished]
    return np.array(curves, float)  # None: nan


def _speeds(table: Table, drawn: dict[str, NDArray[np.float64]], every: int) -> str:
    means = {name: dice.mean(axis=0) for name, dice in drawn.items()}
    best = np.nanmax(means[table.reference]) if table.reference in means else np.nan
    rows = [
        [
            table.named(name),
            str(len(drawn[name])),
            str(every * mean.size),
            f"{np.nanmax(mean):.3f}",
            epochs_to(mean, SHARE * np.nanmax(mean), every),
            epochs_to(mean, SHARE * best, every),
        ]
        for name, mean in means.items()
    ]
    return grid([title.format(reference=table.named(table.reference)) for title in HEAD], rows)


def _draw(curves: dict[str, NDArray[np.float64]], every: int, path: Path, lowest: float) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for title, dice in curves.items():
        epochs = every * np.arange(1, dice.shape[1] + 1)
        (drawn,) = axes.plot(epochs, dice.mean(axis=0), label=title, linewidth=1.2)
        if len(dice) > 1:
            axes.fill_between(epochs, dice.min(axis=0), dice.max(axis=0), color=drawn.get_color(), alpha=0.15)
    axes.set(xlabel="epoch", ylabel="Dice of the stopping pictures", ylim=(lowest, 1))
    axes.legend(fontsize=7, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
