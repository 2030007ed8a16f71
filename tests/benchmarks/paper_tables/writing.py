"""A table of scores in Markdown: what is stored, beside what the paper says, and what has not been run yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper_tables.description import Cell, Line, Table, distinct
from paper_tables.scoring import METRICS
from pipeline.evaluation.statistics import PairedDifference, paired

HEAD = (
    "network",
    "condition",
    "filters",
    "parameters",
    "seeds",
    "Dice",
    "Dice, both",
    "accuracy",
    "AHD of rows",
    "AHD, px",
    "{reference} minus it: Dice",
    "Dice, both",
    "paper: Dice, both / accuracy / AHD of rows",
    "remark",
)
LEGEND = """\
Dice is the foreground's; "both" is the mean of foreground's and background's, which the paper calls Dice. "AHD of rows"
is what the paper's code computed and no distance; "AHD, px" is the average Hausdorff distance on the training grid.
Each is a mean over the test pictures, then over the seeds (± their standard deviation). Differences are paired picture
by picture over the seeds that both have, with 95 % bootstrap intervals over pictures: they say nothing of other seeds.
The remark "above" means that the interval of Dice lies above 0, "below" below, "open" that it holds 0. A run is called
collapsed if it calls all pixels the same in 95 % of the test pictures or more. Figures in the paper's column are the
paper's, under its protocol (500 epochs, full size, other splits, not stored): not to be compared digit by digit."""
Stored = dict[str, Any]
Load = Callable[[Cell], Stored | None]


@dataclass(frozen=True)
class Row:
    """A network under a condition: the results of the seeds that are stored."""

    line: Line
    condition: str
    stored: dict[int, Stored] = field(default_factory=dict)

    def scores(self, metric: str, seeds: Sequence[int]) -> NDArray[np.float64]:
        """(seeds, pictures), nan where a picture has no score."""
        entries = (self.stored[seed]["conditions"][self.condition]["scores"][metric] for seed in seeds)
        return np.array([[np.nan if value is None else value for value in entry] for entry in entries])

    @property
    def collapsed(self) -> list[int]:
        return [seed for seed, found in self.stored.items() if found["conditions"][self.condition]["collapsed"]]


def markdown(table: Table, lines: Sequence[Line], load: Load, command: str) -> str:
    """The whole table; load gives what is stored of a cell."""
    groups = dict.fromkeys((line.dataset, line.comparison) for line in lines)
    parts = [f"# {table.title}", f"Made by `{command}`.", protocol(table, lines, load), LEGEND]
    for dataset, comparison in groups:
        chosen = [line for line in lines if (line.dataset, line.comparison) == (dataset, comparison)]
        parts.append(f"## {table.datasets[dataset]['title']}, equal {comparison}")
        parts.append(_group(table, chosen, load))
    return "\n\n".join([*parts, *absent(table, lines)]) + "\n"


def absent(table: Table, lines: Sequence[Line]) -> list[str]:
    """A sentence that names the data sets that were not there, if any."""
    shown = {line.dataset for line in lines}
    titles = [table.datasets[name]["title"] for name in table.content["datasets"] if name not in shown]
    return [f"Not prepared, so not run: {', '.join(titles)}."] if titles else []


def rows_of(line: Line, conditions: Sequence[str], load: Load) -> list[Row]:
    found = {cell.seed: stored for cell in line.cells if (stored := load(cell)) is not None}
    return [
        Row(line, condition, {seed: each for seed, each in found.items() if condition in each["conditions"]})
        for condition in conditions
    ]


def _group(table: Table, lines: Sequence[Line], load: Load) -> str:
    rows = [row for line in lines for row in rows_of(line, table.shown[line.network], load)]
    references = {row.condition: row for row in rows if row.line.network == table.reference}
    paper = table.paper.get(lines[0].dataset, {})
    cells = []
    for row in rows:
        reference = references.get(table.against or row.condition)
        position = table.shown[row.line.network].index(row.condition)
        quoted = paper.get(row.line.network, [])
        cells.append(_cells(table, row, reference, quoted[position] if position < len(quoted) else []))
    for name in (name for name in paper if name not in table.networks):
        cells.append([name, *["–"] * (len(HEAD) - 3), _quoted(paper[name][0]), "quoted from the paper"])
    head = [title.format(reference=table.networks[table.reference]["title"]) for title in HEAD]
    return grid(head, cells)


def _cells(table: Table, row: Row, reference: Row | None, quoted: Sequence[float]) -> list[str]:
    line, seeds = row.line, sorted(row.stored)
    start = [table.networks[line.network]["title"], row.condition, ", ".join(map(str, line.cells[0].filters))]
    if not seeds:
        return [*start, *["–"] * (len(HEAD) - 5), _quoted(quoted), "not run yet"]
    spent = row.stored[seeds[0]]["cost"]["parameters"]
    means = [mean_score(row.scores(metric, seeds)) for metric in METRICS]
    remark = f"collapsed (seed {', '.join(map(str, row.collapsed))})" if row.collapsed else ""
    differences = ["–", "–"]
    if reference is not None and reference is not row and (common := sorted(set(seeds) & set(reference.stored))):
        compared = [difference(reference, row, metric, common) for metric in ("dice", "dice_both")]
        differences = [f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]" for d in compared]
        remark = "; ".join(filter(None, (verdict(compared[0]), remark)))
    return [*start, f"{spent:,}", ", ".join(map(str, seeds)), *means, *differences, _quoted(quoted), remark]


def difference(reference: Row, row: Row, metric: str, seeds: Sequence[int]) -> PairedDifference:
    """Reference minus row, picture by picture, each the mean over these seeds."""
    return paired(reference.scores(metric, seeds).mean(axis=0), row.scores(metric, seeds).mean(axis=0))


def verdict(found: PairedDifference) -> str:
    return "above" if found.low > 0 else "below" if found.high < 0 else "open"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def mean_score(scores: NDArray[np.float64]) -> str:
    seeds = np.nanmean(scores, axis=1)
    spread = f" ± {seeds.std(ddof=1):.3f}" if len(seeds) > 1 else ""
    return f"{seeds.mean():.3f}{spread}"


def _quoted(figures: Sequence[float]) -> str:
    return " / ".join(f"{figure:g}" for figure in figures) or "–"


def protocol(table: Table, lines: Sequence[Line], load: Load) -> str:
    """What was run: epochs, splits, code, cost."""
    cells = list(distinct(list(lines)))
    loaded = ((cell.dataset, load(cell)) for cell in cells)
    stored = [(dataset, found) for dataset, found in loaded if found is not None]
    if not stored:
        return f"None of {len(cells)} cells has been trained yet."
    results, splits = [found for _, found in stored], {dataset: found["split"] for dataset, found in stored}
    hours = sum(found["cost"]["cpu_seconds"] for found in results) / 3600
    said = [
        f"{len(stored)} of {len(cells)} cells are trained, each for {_all(found['epochs'] for found in results)} "
        f"epochs; {hours:.1f} CPU hours on {_all(found['device'] for found in results)}; code: "
        f"{_all(found['commit'] for found in results)}. Splits (trained on / stopping):"
    ]
    for name, split in splits.items():
        said.append(f"- {table.datasets[name]['title']}: {split['train']} / {split['stop']}; {split['text']}")
    return "\n".join(said)


def _all(values: Any) -> str:
    return ", ".join(sorted({str(value) for value in values}))
