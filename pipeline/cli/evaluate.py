"""`evoseg evaluate PREDICTIONS REFERENCES -o OUT`: Dice and IoU of every case, and what they come to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.logs import messages
from pipeline.errors import InputError
from pipeline.evaluation.folder import evaluate_folder
from pipeline.evaluation.tables import markdown, summarise, write_evaluation

logger = logging.getLogger(__name__)


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A folder of label maps, or one.")],
    references: Annotated[
        Path,
        typer.Argument(metavar="REFERENCES", help="The true label maps of the same cases: id, id_label, ..."),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="A folder for the tables.")],
    labels: Annotated[
        list[str] | None, typer.Option(metavar="1=kidney", help="A label to score; repeat. [default: all that occur]")
    ] = None,
) -> None:
    """Score label maps against references.

    OUT receives per_case.csv, summary.json and summary.md. Exit status: 0 all compared, 1 some pair could not be
    (the others are), 2 nothing could be started.
    """
    with messages(Console(stderr=True)):
        evaluation = evaluate_folder(predictions, references, _names(labels or ()))
        write_evaluation(evaluation, out)
        typer.echo(markdown(summarise(evaluation)))
        logger.info("per_case.csv, summary.json and summary.md are in %s", out)
        raise typer.Exit(int(bool(evaluation.failed)))


def _names(labels: Sequence[str]) -> dict[int, str]:
    """1=kidney -> {1: "kidney"}; InputError for what is not written so."""
    names: dict[int, str] = {}
    for word in labels:
        number, separator, name = word.partition("=")
        if not (separator and number.isdecimal() and int(number) > 0 and name):
            raise InputError(f"--labels {word}: a label is a number from 1 on and a name, such as 1=kidney")
        if int(number) in names or name in names.values():
            raise InputError(f"--labels {word}: every label and every name is given once")
        names[int(number)] = name
    return names
