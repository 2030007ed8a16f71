"""A paper's table, filled by one command that goes on where it was stopped.

    python tests/benchmarks/fill_table.py configs/tables/PAPER/TABLE.yaml --data DIR

DIR holds a folder for each dataset, made by `evoseg prepare NAME SOURCE -o DIR/NAME --size 128`. The table is written
after each cell, so that it can be read while it is filled. Cells lie in --runs, one result.json each; tables share
them. Two processes fill a table together if each is given its own --datasets or --networks.

    --estimate                CPU hours of the cells that are missing, and nothing else
    --set max_epochs=500      another protocol than train.yaml's: with its own --runs and --output
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from pathlib import Path

from paper_tables.costs import write_efficiency, write_estimate
from paper_tables.curves import write_curves
from paper_tables.description import Cell, Line, Table, distinct
from paper_tables.instances import instance_scores, instances
from paper_tables.level_sets import contours, patient_overlaps, saliency, saliency_scores, testable
from paper_tables.noisy_labels import class_scores, robustness
from paper_tables.objects import object_scores, objects
from paper_tables.scoring import score
from paper_tables.training import result, train
from paper_tables.writing import markdown

from pipeline.errors import InputError
from pipeline.io.whole_file import write_text

logger = logging.getLogger("fill_table")

# a table's kind -> how a cell is scored, and how the table is written, if not as usual
MEASURES = {
    "labels": class_scores,
    "objects": object_scores,
    "contours": patient_overlaps,
    "saliency": saliency_scores,
    "instances": instance_scores,
}
WRITERS = {"labels": robustness, "objects": objects, "contours": contours, "saliency": saliency, "instances": instances}


def main(arguments: list[str]) -> None:
    given = _parser().parse_args(arguments)
    table = Table(given.table, given.set)
    command = f"python tests/benchmarks/fill_table.py {shlex.join(arguments)}"
    output = (given.output or given.table.parent / "results") / f"{given.table.stem}.md"
    if table.kind == "efficiency":
        write_text(output, write_efficiency(table, command))
        return
    if given.data is None:
        raise InputError(f"{given.table} needs --data: a folder of datasets, as `evoseg prepare` writes them")
    if unknown := set(given.networks or ()) - set(table.shown):
        raise InputError(f"--networks {', '.join(sorted(unknown))}: {given.table} has {', '.join(table.shown)}")
    runs = given.runs or Path("runs/tables") / given.table.resolve().parent.name
    lines = table.lines(given.data, runs)
    if not lines:
        raise InputError(f"--data {given.data} holds none of {', '.join(table.content['datasets'])}")
    if given.estimate:
        sys.stdout.write(write_estimate(table, lines if table.trains else []))
        return
    cells = list(distinct(lines))
    if table.kind in MEASURES:  # a seed of everything says more than all seeds of something
        cells.sort(key=lambda cell: (list(table.datasets).index(cell.dataset), cell.seed))
    for cell in cells:
        chosen = cell.dataset in (given.datasets or table.datasets) and cell.network in (given.networks or table.shown)
        if table.trains and chosen:
            fresh = result(cell) is None
            train(cell)
            if fresh:
                write_text(output, _text(table, lines, output, command))
    write_text(output, _text(table, lines, output, command))
    logger.info("%s is written", output)


def _text(table: Table, lines: list[Line], output: Path, command: str) -> str:
    if table.kind == "curves":
        return write_curves(table, lines, output.parent, command)
    conditions = {network: {name: table.conditions[name] for name in names} for network, names in table.shown.items()}
    scored = {
        cell.folder: score(
            cell,
            stored,
            {name: each for name, each in conditions[cell.network].items() if testable(cell, each)},
            MEASURES.get(table.kind),
        )
        for cell in distinct(lines)
        if (stored := result(cell)) is not None
    }

    def load(cell: Cell) -> dict | None:
        return scored.get(cell.folder)

    return WRITERS.get(table.kind, markdown)(table, lines, load, command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="the table's description")
    parser.add_argument("--data", type=Path, help="folder of prepared datasets")
    parser.add_argument("--runs", type=Path, help="where the cells lie; runs/tables/PAPER")
    parser.add_argument("--output", type=Path, help="folder of the written table; results/ beside its description")
    parser.add_argument("--datasets", nargs="+", help="train the cells of these alone")
    parser.add_argument("--networks", nargs="+", help="train the cells of these alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of train.yaml")
    parser.add_argument("--estimate", action="store_true", help="print the CPU hours that are missing, train nothing")
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    for name in ("fill_table", "paper_tables"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"fill_table: {error}")
