"""What `evoseg segment` and `evoseg refine` do: a batch from the look at its input to the last line of its summary."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.cli.initial import Initial
from pipeline.cli.job import Job
from pipeline.cli.logs import messages
from pipeline.cli.objects import Objects
from pipeline.errors import CASE_CODES, CaseError, InputError
from pipeline.inference.batch import refuse_earlier_run, segment_folder
from pipeline.inference.plan import Draw, Plan, Prompts
from pipeline.inference.records import CaseResult, RecordFiles, holds_run
from pipeline.inference.shards import Shard
from pipeline.inference.stages import Stages, Task
from pipeline.inference.targets import Targets
from pipeline.io.discover import IMAGE_SUFFIXES, Case, find_cases
from pipeline.io.write import LABEL_SUFFIXES, OVERLAYS
from pipeline.report.html import REPORT_FILE, write_report
from pipeline.report.objects import objects_overlay
from pipeline.report.overlay import overlay
from pipeline.report.trajectory import write_trajectory

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)

INTERRUPTED = 130


def run(job: Job, known: Initial | Objects) -> None:
    """Segment what a job says, with what is known of its cases; always ends in typer.Exit.

    InputError: nothing could be started.
    """
    console = Console(stderr=True)
    try:
        with (
            messages(console, quiet=job.quiet, verbose=job.verbose, log_file=job.log_file),
            TemporaryDirectory(prefix="evoseg-", ignore_cleanup_errors=True) as unpacked,
        ):
            plan = job.plan(**known.settings())
            found = find_cases(job.inputs, series=job.series, allow_tilt=job.allow_tilt, unpack_to=Path(unpacked))
            cases = _without_results(found, job.inputs, job.out)
            cases, prompts = known.pair(cases, job.inputs)
            if job.deterministic:
                _same_result_every_time()
            if _is_file(job.out):
                failed = _one_file(cases, job, plan, prompts, evolves=known.evolves)
            else:
                shown = console if console.is_terminal and not job.quiet else None
                failed = _folder(cases, job, plan, prompts, evolves=known.evolves, bar_on=shown)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(int(failed))


def _folder(
    cases: Sequence[Case],
    job: Job,
    plan: Plan,
    prompts: Prompts | None,
    *,
    evolves: bool,
    bar_on: Console | None,
) -> bool:
    """Segment all cases into the folder OUT; whether one failed."""
    refuse_earlier_run(job.out, plan)  # at once, before the network is loaded
    segmenter = _segmenter(job, evolves=evolves or job.trajectory)
    draw = Draw(overlay=overlay, objects=objects_overlay, trajectory=write_trajectory if job.trajectory else None)
    start = time.perf_counter()
    results: list[CaseResult] = []
    total = len(plan.shard.share(cases) if plan.shard else cases)
    with _progress(bar_on, total, results) as report:
        try:
            results[:] = segment_folder(cases, segmenter, job.out, plan, prompts=prompts, report=report, draw=draw)
        except KeyboardInterrupt:
            _conclude(results, total, job, time.perf_counter() - start)
            raise
    _conclude(results, total, job, time.perf_counter() - start)
    return any(result.status == "failed" for result in results)


def _one_file(cases: Sequence[Case], job: Job, plan: Plan, prompts: Prompts | None, *, evolves: bool) -> bool:
    """Segment the only case into the file OUT; whether it failed."""
    out = job.out
    if len(cases) > 1:
        names = ", ".join(case.id for case in cases[:10]) + (", ..." if len(cases) > 10 else "")
        raise InputError(
            f"{out} is one file, the input holds {len(cases)} cases ({names}): "
            "choose one series with --series UID, or give a folder as OUT"
        )
    several = job.trajectory or plan.formats or plan.per_label or plan.probabilities
    if several or plan.resume or plan.shard or plan.engine != "local":
        raise InputError(
            "--resume, --format, --trajectory, --per-label, --save-probabilities, --shard and --engine need a folder "
            f"as OUT, {out} is a file"
        )
    case = cases[0]
    if out.resolve() in (path.resolve() for path in (*case.files, *(prompts.files(case) if prompts else ()))):
        raise InputError(f"{out} is the input itself: choose another OUT")
    if out.exists() and not plan.overwrite:
        raise InputError(f"{out} exists already: --overwrite replaces it")
    segmenter = _segmenter(job, evolves=evolves)
    if (segmenter.spatial_dims == 2) != out.name.lower().endswith(".png"):
        raise InputError(f"{out}: labels of a picture are written as .png, those of a volume as .nii.gz, .mha or .nrrd")
    with closing(Stages(segmenter, prompts=prompts, timeout_s=plan.timeout_s)) as stages:
        outcome = stages(Task(case, Targets((out,))))
    assert outcome is not None  # nobody has stopped it
    _report_line(outcome.result)
    return outcome.result.status == "failed"


def _segmenter(job: Job, *, evolves: bool) -> Segmenter:
    """The bundle. InputError: it does not evolve a contour where it should."""
    from pipeline.inference.segmenter import Segmenter  # here: it imports torch

    run: dict[str, Any] = {"solver": job.solver_fields(), "tta": job.tta, "probabilities": job.save_probabilities}
    run["all_parts"] = job.all_parts
    segmenter = Segmenter.from_bundle(job.bundle, device=job.device, **run)
    if evolves and segmenter.evolution is None:
        raise InputError(
            f"--bundle {job.bundle} evolves no contour, as refine and --trajectory need it: choose another, see "
            "`evoseg bundles`"
        )
    return segmenter


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
        return results in below or any(holds_run(each) for each in below)

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


def _conclude(results: Sequence[CaseResult], total: int, job: Job, seconds: float) -> None:
    """The report, and the last lines of the log."""
    files = RecordFiles(job.out, Shard.parse(job.shard) if job.shard else None)
    _summarise(results, total, files, seconds)
    if files.shard:
        logger.info(
            "When every shard is done, the same command with --resume and without --shard joins and reports them"
        )
    elif not job.no_report:
        try:
            logger.info("The report is %s", write_report(job.out))
        except (InputError, CaseError) as error:  # the results are there without it
            logger.error("There is no %s: %s", REPORT_FILE, error)


def _summarise(results: Sequence[CaseResult], total: int, files: RecordFiles, seconds: float) -> None:
    failed = [result for result in results if result.status == "failed"]
    done = sum(result.status == "ok" for result in results)
    left = f", {total - done - len(failed)} not tried (--resume goes on)" if done + len(failed) < total else ""
    logger.info("%d of %d done, %d failed%s, in %.0f s", done, total, len(failed), left, seconds)
    for code, number in Counter(result.code for result in failed).most_common():
        ids = [result.id for result in failed if result.code == code]
        logger.info("  %d x %s (%s): %s", number, code, CASE_CODES[code], ", ".join(ids[:5]) + ", ..." * (number > 5))
    for flag, number in Counter(flag for result in results for flag in result.flags).most_common():
        logger.info("  %d x flagged %s", number, flag)
    drawn = f", contours over the scans ({OVERLAYS}/)" if (files.out / OVERLAYS).is_dir() else ""
    logger.info("Labels, %s, %s%s are in %s", files.cases.name, files.run.name, drawn, files.out)
