"""`evoseg compare PRED PRED [PRED...] --reference REF -o OUT`: which of several methods is better, and how surely."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.evaluate import INTERRUPTED, LabelFlags, label_flags, progress
from pipeline.cli.logs import messages
from pipeline.errors import InputError
from pipeline.evaluation.compare import common_pairs, contest, method_names
from pipeline.evaluation.compare_tables import markdown, write_contest
from pipeline.evaluation.folder import Scorer, cores, evaluate_folder
from pipeline.evaluation.measures import LabelMeasure, Surface
from pipeline.evaluation.names import label_names, patients
from pipeline.evaluation.summary import PACKAGES
from pipeline.io.versions import versions

logger = logging.getLogger(__name__)


def compare(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="PRED PRED...", help="Two or more folders of label maps, one a method.")
    ],
    reference: Annotated[
        Path, typer.Option(metavar="REF", help="The true label maps of the same cases: id, id_label, ...")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="A folder for the tables.")],
    labels: LabelFlags = None,
    surface: Annotated[
        Surface, typer.Option(help="Of distances: voxel centres (as MONAI) or surface elements by area.")
    ] = "voxel",
    tolerance_mm: Annotated[float, typer.Option(min=0, help="Of NSD.")] = 1.0,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. [default: one a core]")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show nothing.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show everything.")] = False,
) -> None:
    """Compare methods on the cases that all of them have.

    OUT receives compare.csv (every two methods), ranking.csv (all of them), compare.json and compare.md. Exit status:
    0 all compared, 1 some case was left out (the others are compared), 2 nothing could be started.
    """
    console = Console(stderr=True)
    try:
        with messages(console, quiet=quiet, verbose=verbose):
            if len(predictions) < 2:
                raise InputError(f"{predictions[0]} alone: a comparison needs two folders of predictions or more")
            roots = (reference, *predictions)
            methods = dict(zip(method_names(predictions), predictions, strict=True))
            names = label_flags(labels) if labels else label_names(*roots)
            measure = LabelMeasure(names=names, surface=surface, tolerance_mm=tolerance_mm)
            pairs, left_out = common_pairs(methods, reference)
            evaluations = {}
            with progress(console if console.is_terminal and not quiet else None, len(methods) * len(pairs)) as report:
                for method, of_method in pairs.items():
                    evaluations[method] = evaluate_folder(
                        of_method, Scorer(measure), jobs=jobs or cores(), report=report
                    )
            known = patients(*roots)
            found = contest(evaluations, left_out=left_out, patients=known)
            settings = {
                "versions": versions(*PACKAGES),
                "methods": {method: str(folder) for method, folder in methods.items()},
                "reference": str(reference),
                "surface": surface,
                "tolerance_mm": tolerance_mm,
                "over": "patients" if known.keys() & set(found.cases) else "cases",
            }
            write_contest(found, settings, out)
            if not quiet:
                typer.echo(markdown(found, settings))
            logger.info("compare.csv, ranking.csv, compare.json and compare.md are in %s", out)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(int(bool(found.left_out)))
