"""`evoseg evaluate PREDICTIONS REFERENCES -o OUT`: every score of every case, and what they come to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.cli.logs import messages
from pipeline.errors import CaseError, InputError
from pipeline.evaluation.folder import Evaluation, Outcome, Scorer, cores, evaluate_folder
from pipeline.evaluation.journal import Journal
from pipeline.evaluation.measures import InstanceMeasure, LabelMeasure, Measure, Missing, SaliencyMeasure, Surface
from pipeline.evaluation.names import label_names, patients
from pipeline.evaluation.pairs import PLOTS, Pair, find_pairs
from pipeline.evaluation.summary import Terms, summarise
from pipeline.evaluation.tables import markdown, write_evaluation
from pipeline.evaluation.tables import terms as line_of_terms
from pipeline.io.versions import versions

logger = logging.getLogger(__name__)

INTERRUPTED = 130
LabelFlags = Annotated[
    list[str] | None,
    typer.Option(
        metavar="1=kidney",
        help="Every label that may occur, by name; repeat. [default: as dataset.json or run.json beside the maps "
        "names them; else all that occur, by number]",
    ),
]


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A folder of maps, or one.")],
    references: Annotated[
        Path, typer.Argument(metavar="REFERENCES", help="The true maps of the same cases: id, id_label, ...")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="A folder for the tables.")],
    labels: LabelFlags = None,
    surface: Annotated[
        Surface | None,
        typer.Option(help="Of distances: voxel centres (as MONAI) or surface elements by area. [default: voxel]"),
    ] = None,
    tolerance_mm: Annotated[float | None, typer.Option(help="Of NSD and boundary F1. [default: 1]")] = None,
    missing: Annotated[
        Missing | None,
        typer.Option(help="Distances of a label that only one map has. [default: diagonal, of the image]"),
    ] = None,
    instances: Annotated[
        bool, typer.Option("--instances", help="The maps number objects: AP, PQ, AJI and the GlaS scores, in pixels.")
    ] = False,
    saliency: Annotated[
        bool, typer.Option("--saliency", help="Predictions are probability maps of pictures: F-beta and MAE.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Of references with grey levels, with --saliency: above this share of the range is the object."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images of the cases: the worst are drawn over them.")
    ] = None,
    resample_reference: Annotated[
        bool,
        typer.Option("--resample-reference", help="Bring references to the prediction's grid (nearest neighbour)."),
    ] = False,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. [default: one a core]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished cases of an earlier run.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show nothing.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show everything.")] = False,
) -> None:
    """Score label maps, maps of objects or probability maps against references.

    OUT receives per_case.csv, summary.json, summary.md, plots/ and finished.jsonl (for --resume). Exit status: 0 all
    compared, 1 some pair could not be (the others are), 2 nothing could be started.
    """
    given: dict[str, Any] = {"--labels": labels, "--surface": surface, "--tolerance-mm": tolerance_mm}
    given |= {"--missing": missing, "--images": images, "--threshold": threshold}
    console = Console(stderr=True)
    try:
        with messages(console, quiet=quiet, verbose=verbose):
            measure = _measure(given, (predictions, references), instances=instances, saliency=saliency)
            scorer = Scorer(measure, resample_reference)
            if out.resolve().is_relative_to(references.resolve()):
                raise InputError(
                    f"OUT {out} lies inside REFERENCES, where its pictures would be references: choose another"
                )
            pairs, unmatched = find_pairs(predictions, references, out=out)
            arguments = {
                "predictions": str(predictions),
                "references": str(references),
                "resample_reference": resample_reference,
            }
            settings = {**arguments, "measure": asdict(measure), "versions": versions("evoseg", "numpy", "scipy")}
            journal = Journal(out, settings, resume=resume)
            with progress(console if console.is_terminal and not quiet else None, len(pairs)) as report:
                evaluation = evaluate_folder(
                    pairs, scorer, jobs=jobs or cores(), journal=journal, unmatched=unmatched, report=report
                )
            terms = Terms(measure=measure, patients=patients(predictions, references), arguments=arguments)
            summary = summarise(evaluation, terms)
            write_evaluation(evaluation, summary, out)
            if not quiet:
                typer.echo(markdown(summary))
            _draw(evaluation, pairs, out, terms, images=images, line=line_of_terms(summary))
            logger.info("per_case.csv, summary.json, summary.md and plots/ are in %s", out)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(int(bool(evaluation.failed)))


def _draw(
    evaluation: Evaluation, pairs: Sequence[Pair], out: Path, terms: Terms, *, images: Path | None, line: str
) -> None:
    from pipeline.cli.pictures import draw_labels  # here: what draws is slow to import
    from pipeline.evaluation.plots import write_plots

    if isinstance(terms.measure, LabelMeasure):
        names = terms.measure.names
        draw_labels(evaluation, pairs, out, terms=line, patients=terms.patients, names=names, images=images)
    else:
        write_plots(evaluation, out / PLOTS, terms=line, patients=terms.patients)


def _measure(given: dict[str, Any], roots: tuple[Path, Path], *, instances: bool, saliency: bool) -> Measure:
    """InputError for flags that do not go together."""
    if instances and saliency:
        raise InputError("--instances and --saliency are of two kinds of maps: give one of them")
    kind, threshold = "--instances" if instances else "--saliency", given["--threshold"]
    of_kind = "--missing" if instances else "--threshold"
    useless = [flag for flag in given if given[flag] is not None and flag != of_kind]
    if threshold is not None and not saliency:
        raise InputError("--threshold cuts the references of probability maps: give --saliency too")
    if threshold is not None and not 0 <= threshold < 1:
        raise InputError(f"--threshold {threshold:g} must be a share of the range, from 0 to below 1")
    if (instances or saliency) and useless:
        raise InputError(f"{', '.join(useless)} say how labels are scored: leave them out with {kind}")
    if instances:
        return InstanceMeasure(missing=given["--missing"] or "diagonal")
    if saliency:
        return SaliencyMeasure(threshold=threshold)
    tolerance_mm = 1.0 if given["--tolerance-mm"] is None else given["--tolerance-mm"]
    if not tolerance_mm >= 0:
        raise InputError(f"--tolerance-mm {tolerance_mm}: a tolerance is 0 or more")
    return LabelMeasure(
        names=label_flags(given["--labels"]) if given["--labels"] else label_names(*roots),
        surface=given["--surface"] or "voxel",
        tolerance_mm=tolerance_mm,
        missing=given["--missing"] or "diagonal",
    )


def label_flags(labels: Sequence[str]) -> dict[int, str]:
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


@contextmanager
def progress(console: Console | None, total: int) -> Iterator[Callable[[str, Outcome], None]]:
    """A function that takes each case and its outcome: into the log, and onto a bar if there is a console for one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None) as bar:
        task = bar.add_task("evaluating", total=total)

        def report(case: str, outcome: Outcome) -> None:
            bar.advance(task)
            if isinstance(outcome, CaseError):
                logger.warning("%s: %s %s", case, outcome.code, outcome.message)
            else:
                logger.debug("%s: compared", case)

        yield report
