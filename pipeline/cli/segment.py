"""`evoseg segment INPUT... -o OUT --bundle NAME|DIR`: labels for one scan, for several, or for a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import job
from pipeline.cli.batch_run import run
from pipeline.cli.objects import Objects


def segment(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Files, folders or .zip, of any mix of formats.")
    ],
    out: job.OutFlag,
    bundle: Annotated[str, typer.Option(metavar="NAME|DIR", help="See `evoseg bundles`.")],
    format_: job.FormatFlag = None,
    device: job.DeviceFlag = "auto",
    series: job.SeriesFlag = None,
    allow_tilt: job.AllowTiltFlag = False,
    solver: job.SolverFlag = None,
    steps: job.StepsFlag = None,
    centers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Make objects star-shaped about these: case,label,x,y[,z],unit (px or mm), a row an object.",
        ),
    ] = None,
    volumes: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Keep volumes within these: case,label,lo,hi,unit (px, mm2, mm3 or ml)."),
    ] = None,
    trajectory: job.TrajectoryFlag = False,
    tta: job.TtaFlag = False,
    all_parts: job.AllPartsFlag = False,
    per_label: job.PerLabelFlag = False,
    save_probabilities: job.ProbabilitiesFlag = False,
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
    """Segment images: one file, several, or folders.

    OUT receives each case's labels on its own grid, cases.csv (a row a case), run.json (what made them) and
    report.html (both on a page, with pictures). Exit status: 0 all done, 1 some case failed (the others are written),
    2 nothing could be started.
    """
    flags = locals()
    known = Objects(bundle=bundle, centers=flags.pop("centers"), volumes=flags.pop("volumes"))
    run(job.Job(**flags), known)
