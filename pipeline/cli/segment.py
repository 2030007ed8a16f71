"""`evoseg segment INPUT... -o OUT --bundle NAME|DIR`: labels for one scan, for several, or for a folder of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.cli.logs import messages
from pipeline.errors import CASE_CODES, InputError
from pipeline.inference.batch import Plan, refuse_earlier_run, segment_case, segment_folder
from pipeline.inference.records import CASES_FILE, RUN_FILE, CaseResult
from pipeline.inference.targets import Format, Targets
from pipeline.io.discover import IMAGE_SUFFIXES, Case, find_cases, read_case
from pipeline.io.write import LABEL_SUFFIXES, OVERLAYS
from pipeline.report.overlay import overlay

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)

INTERRUPTED = 130


def segment(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Files or folders, of any mix of formats.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="A folder; a file for a single case.")],
    bundle: Annotated[str, typer.Option(metavar="NAME|DIR", help="See `evoseg bundles`.")],
    format_: Annotated[
        list[Format] | None, typer.Option("--format", help="Repeat for several. [default: png of pictures, else nifti]")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda:N", help="Where the network runs.")] = "auto",
    series: Annotated[str | None, typer.Option(metavar="UID", help="Only this DICOM series.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished cases of an earlier run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
    on_error: Annotated[
        Literal["continue", "stop"], typer.Option(help="What to do after a case that failed.")
    ] = "continue",
    deterministic: Annotated[bool, typer.Option("--deterministic", help="The same result to the last bit.")] = False,
    log_file: Annotated[Path | None, typer.Option(metavar="F", help="Keep every message, tracebacks too.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show nothing.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show everything.")] = False,
) -> None:
    """Segment images: one file, several, or folders.

    OUT receives each case's labels on its own grid, cases.csv (a row a case) and run.json (what made them). Exit
    status: 0 all done, 1 some case failed (the others are written), 2 nothing could be started.
    """
    arguments = _plain(locals())
    if resume and overwrite:
        raise InputError("--resume keeps what --overwrite replaces: give one of them")
    plan = Plan(
        formats=tuple(format_ or ()), resume=resume, overwrite=overwrite, on_error=on_error, arguments=arguments
    )
    console = Console(stderr=True)
    try:
        with messages(console, quiet=quiet, verbose=verbose, log_file=log_file):
            cases = _without_results(find_cases(inputs, series=series), inputs, out)
            if deterministic:
                _same_result_every_time()
            if _is_file(out):
                failed = _one_file(cases, out, plan, bundle=bundle, device=device)
            else:
                shown = console if console.is_terminal and not quiet else None
                failed = _folder(cases, out, plan, bundle=bundle, device=device, bar_on=shown)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(int(failed))


def _folder(cases: Sequence[Case], out: Path, plan: Plan, *, bundle: str, device: str, bar_on: Console | None) -> bool:
    """Segment all cases into the folder OUT; whether one failed."""
    refuse_earlier_run(out, plan)  # at once, before the network is loaded
    segmenter = _segmenter(bundle, device)
    start = time.perf_counter()
    results: list[CaseResult] = []
    with _progress(bar_on, len(cases), results) as report:
        try:
            results[:] = segment_folder(cases, segmenter, out, plan, report=report, draw=overlay)
        except KeyboardInterrupt:
            _summarise(results, len(cases), out, time.perf_counter() - start)
            raise
    _summarise(results, len(cases), out, time.perf_counter() - start)
    return any(result.status == "failed" for result in results)


def _one_file(cases: Sequence[Case], out: Path, plan: Plan, *, bundle: str, device: str) -> bool:
    """Segment the only case into the file OUT; whether it failed."""
    if len(cases) > 1:
        names = ", ".join(case.id for case in cases[:10]) + (", ..." if len(cases) > 10 else "")
        raise InputError(
            f"{out} is one file, the input holds {len(cases)} cases ({names}): "
            "choose one series with --series UID, or give a folder as OUT"
        )
    if plan.resume or plan.formats:
        raise InputError(f"--resume and --format need a folder as OUT, {out} is a file")
    case = cases[0]
    if out.resolve() in (path.resolve() for path in case.files):
        raise InputError(f"{out} is the input itself: choose another OUT")
    if out.exists() and not plan.overwrite:
        raise InputError(f"{out} exists already: --overwrite replaces it")
    segmenter = _segmenter(bundle, device)
    if (segmenter.spatial_dims == 2) != out.name.lower().endswith(".png"):
        raise InputError(f"{out}: labels of a picture are written as .png, those of a volume as .nii.gz, .mha or .nrrd")
    result = segment_case(case, lambda: read_case(case), segmenter, Targets((out,)))
    _report_line(result)
    return result.status == "failed"


def _segmenter(bundle: str, device: str) -> Segmenter:
    from pipeline.inference.segmenter import Segmenter  # here: it imports torch

    return Segmenter.from_bundle(bundle, device=device)


def _is_file(out: Path) -> bool:
    """Whether OUT names a file; InputError where it ends as an image of a kind that labels are not written as."""
    if out.is_dir():
        return False
    name = out.name.lower()
    if name.endswith(IMAGE_SUFFIXES) and not name.endswith(LABEL_SUFFIXES):
        raise InputError(f"{out}: labels are written as {', '.join(LABEL_SUFFIXES)}: choose one of these, or a folder")
    return name.endswith(LABEL_SUFFIXES)


def _without_results(cases: list[Case], inputs: Sequence[Path], out: Path) -> list[Case]:
    """The cases without those below OUT or the OUT of another run inside an input folder: results are no input."""
    results, roots = out.resolve(), [path.resolve() for path in inputs if path.is_dir()]
    if results in roots:
        raise InputError(f"OUT is the input folder {out} itself: choose another folder, for example {out / 'labels'}")

    def is_result(path: Path) -> bool:
        below = [folder for folder in path.resolve().parents if any(root in folder.parents for root in roots)]
        return results in below or any((each / CASES_FILE).exists() and (each / RUN_FILE).exists() for each in below)

    kept = [case for case in cases if not is_result(case.files[0])]
    if not kept:
        raise InputError(f"{', '.join(map(str, inputs))} holds results of earlier runs only: give the scans themselves")
    if len(kept) < len(cases):
        logger.info("%d of them are results of earlier runs: left out", len(cases) - len(kept))
    return kept


def _same_result_every_time() -> None:
    import torch  # here: slow to import
    from monai.utils import set_determinism

    set_determinism(seed=0)
    torch.use_deterministic_algorithms(True)


@contextmanager
def _progress(console: Console | None, total: int, results: list[CaseResult]) -> Iterator[Callable[[CaseResult], None]]:
    """A function that takes each result: into `results`, into the log, and onto a bar if there is a console for one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None) as bar:
        task = bar.add_task("segmenting", total=total)

        def report(result: CaseResult) -> None:
            results.append(result)
            bar.advance(task)
            _report_line(result, f"{len(results)}/{total} ")

        yield report


def _report_line(result: CaseResult, count: str = "") -> None:
    if result.status == "ok":
        logger.info("%s%s: done in %.1f s %s", count, result.id, result.seconds, " ".join(result.flags))
    else:
        logger.info("%s%s: %s %s: %s", count, result.id, result.status, result.code, result.message)


def _summarise(results: Sequence[CaseResult], total: int, out: Path, seconds: float) -> None:
    failed = [result for result in results if result.status == "failed"]
    done = sum(result.status == "ok" for result in results)
    left = f", {total - done - len(failed)} not tried (--resume goes on)" if done + len(failed) < total else ""
    logger.info("%d of %d done, %d failed%s, in %.0f s", done, total, len(failed), left, seconds)
    for code, number in Counter(result.code for result in failed).most_common():
        ids = [result.id for result in failed if result.code == code]
        logger.info("  %d x %s (%s): %s", number, code, CASE_CODES[code], ", ".join(ids[:5]) + ", ..." * (number > 5))
    for flag, number in Counter(flag for result in results for flag in result.flags).most_common():
        logger.info("  %d x flagged %s", number, flag)
    logger.info("Labels, %s, %s and contours over the scans (%s/) are in %s", CASES_FILE, RUN_FILE, OVERLAYS, out)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments under the names of their flags, as JSON holds them."""

    def as_json(value: Any) -> Any:
        if isinstance(value, list):
            return [str(each) for each in value]
        return str(value) if isinstance(value, Path) else value

    return {name.rstrip("_"): as_json(value) for name, value in arguments.items()}
