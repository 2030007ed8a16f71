"""`evoseg refine INPUT... --initial MASKS -o OUT --bundle NAME|DIR`: somebody else's contours, evolved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import job
from pipeline.cli.batch_run import run
from pipeline.cli.initial import Initial


def refine(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Scans: files, folders or .zip.")],
    initial: Annotated[
        list[Path],
        typer.Option(
            metavar="MASKS",
            help="Masks on the scans' grids, of any tool: a file for one scan, or a folder with the scans' names "
            "(id, id_seg, id_mask, ...). Repeat to unite one's left and right kidney, say.",
        ),
    ],
    out: job.OutFlag,
    bundle: Annotated[str, typer.Option(metavar="NAME|DIR", help="One that evolves contours: see `evoseg bundles`.")],
    initial_label: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, help="The object in MASKS that hold several labels; repeat to unite some."),
    ] = None,
    new_objects: Annotated[
        bool, typer.Option("--new-objects", help="Keep what grows apart from the initial contour: the other kidney.")
    ] = False,
    keep_within_mm: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            min=0,
            show_default="one pixel of the network",
            help="Leave the contour as it is where it would move by no more; 0 makes every move.",
        ),
    ] = None,
    format_: job.FormatFlag = None,
    device: job.DeviceFlag = "auto",
    series: job.SeriesFlag = None,
    allow_tilt: job.AllowTiltFlag = False,
    solver: job.SolverFlag = None,
    steps: job.StepsFlag = None,
    trajectory: job.TrajectoryFlag = False,
    per_label: job.PerLabelFlag = False,
    resume: job.ResumeFlag = False,
    overwrite: job.OverwriteFlag = False,
    on_error: job.OnErrorFlag = "continue",
    timeout_per_case: job.TimeoutFlag = None,
    jobs: job.JobsFlag = None,
    shard: job.ShardFlag = None,
    engine: job.EngineFlag = "local",
    no_report: job.NoReportFlag = False,
    deterministic: job.DeterministicFlag = False,
    log_file: job.LogFileFlag = None,
    quiet: job.QuietFlag = False,
    verbose: job.VerboseFlag = False,
) -> None:
    """Refine masks: evolve the contours of any tool, or of anybody's hand, to where they belong.

    OUT is as that of `evoseg segment`; cases.csv has the sizes before and after, and the Dice between them. A scan
    without a mask is a case that failed; for an empty mask the bundle's own contour is taken and EMPTY_INITIAL flagged.
    """
    flags = locals()
    own = {name: flags.pop(name) for name in ("initial", "initial_label", "new_objects", "keep_within_mm")}
    run(job.Job(**flags), Initial(bundle=bundle, **own))
