"""A batch as it is typed: the flags that `evoseg segment` and `evoseg refine` have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.errors import InputError
from pipeline.inference.plan import Engine, Plan
from pipeline.inference.shards import Shard
from pipeline.inference.targets import Format

OnError = Literal["continue", "stop"]

OutFlag = Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="A folder; a file for a single case.")]
FormatFlag = Annotated[
    list[Format] | None,
    typer.Option("--format", show_default="png of pictures, else nifti", help="Repeat for several."),
]
DeviceFlag = Annotated[str, typer.Option(metavar="auto|cpu|cuda:N", help="Where the network runs.")]
SeriesFlag = Annotated[str | None, typer.Option(metavar="UID", help="Only this DICOM series.")]
AllowTiltFlag = Annotated[
    bool, typer.Option("--allow-tilt", help="Take scans of a tilted gantry on their own, sheared grid.")
]
SolverFlag = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default="the bundle's",
        help="How a contour is evolved: euler, midpoint, rk4, ab2, abm2 or dopri5.",
    ),
]
StepsFlag = Annotated[
    int | None,
    typer.Option(metavar="N", show_default="the bundle's", help="Equal steps of any solver but dopri5."),
]
TrajectoryFlag = Annotated[
    bool, typer.Option("--trajectory", help="Write how the contour evolved: level sets, frames, an animation.")
]
TtaFlag = Annotated[bool, typer.Option("--tta", help="Average over mirror images: better by a little, slower.")]
AllPartsFlag = Annotated[
    bool, typer.Option("--all-parts", help="Keep the small parts that the bundle takes for false and leaves out.")
]
PerLabelFlag = Annotated[
    bool, typer.Option("--per-label", help="Beside the labels a map of each alone: per_label/CASE/NAME.")
]
ProbabilitiesFlag = Annotated[
    bool, typer.Option("--save-probabilities", help="Beside the labels how probable each is: probabilities/CASE.")
]
ResumeFlag = Annotated[bool, typer.Option("--resume", help="Keep the finished cases of an earlier run.")]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")]
OnErrorFlag = Annotated[OnError, typer.Option(help="What to do after a case that failed.")]
NoReportFlag = Annotated[bool, typer.Option("--no-report", help="Write no report.html.")]
TimeoutFlag = Annotated[
    float | None,
    typer.Option(
        "--timeout-per-case", metavar="S", min=0.001, show_default="none", help="Give a case up after these seconds."
    ),
]
JobsFlag = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        show_default="the cores, at most 4",
        help="Threads that read and write beside the network; N + 2 images are in memory at most.",
    ),
]
ShardFlag = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        show_default="all",
        help="Do the I-th of N equal shares of the cases, for schedulers. When all are done, the same command with "
        "--resume and without --shard joins them.",
    ),
]
EngineFlag = Annotated[
    Engine, typer.Option(help="This machine, or each of a Ray cluster's (RAY_ADDRESS), with a network of its own.")
]
DeterministicFlag = Annotated[bool, typer.Option("--deterministic", help="The same result to the last bit.")]
LogFileFlag = Annotated[Path | None, typer.Option(metavar="F", help="Keep every message, tracebacks too.")]
QuietFlag = Annotated[bool, typer.Option("-q", "--quiet", help="Show nothing.")]
VerboseFlag = Annotated[bool, typer.Option("-v", "--verbose", help="Show everything.")]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The flags above under the names that they have as arguments of a verb."""

    inputs: list[Path]
    out: Path
    bundle: str
    format_: list[Format] | None
    device: str
    series: str | None
    allow_tilt: bool
    solver: str | None
    steps: int | None
    trajectory: bool
    tta: bool = False
    all_parts: bool = False
    per_label: bool = False
    save_probabilities: bool = False
    resume: bool
    overwrite: bool
    on_error: OnError
    timeout_per_case: float | None
    jobs: int | None
    shard: str | None
    engine: Engine
    no_report: bool
    deterministic: bool
    log_file: Path | None
    quiet: bool
    verbose: bool

    def plan(self, **begun_with: Any) -> Plan:
        """InputError for flags that contradict each other. begun_with: the flags of the verb alone."""
        if self.resume and self.overwrite:
            raise InputError("--resume keeps what --overwrite replaces: give one of them")
        if self.trajectory and (self.tta or self.save_probabilities):
            raise InputError("--trajectory shows one contour, --tta and --save-probabilities do not: give one of them")
        flags = {"tta": self.tta or None, "all_parts": self.all_parts or None}
        return Plan(
            formats=tuple(self.format_ or ()),
            per_label=self.per_label,
            probabilities=self.save_probabilities,
            resume=self.resume,
            overwrite=self.overwrite,
            on_error=self.on_error,
            jobs=self.jobs or min(4, os.cpu_count() or 1),
            timeout_s=self.timeout_per_case,
            shard=Shard.parse(self.shard) if self.shard else None,
            engine=self.engine,
            device=self.device,
            settings=as_json({"solver": self.solver, "steps": self.steps, **flags, **begun_with}),
            arguments=as_json({**vars(self), **begun_with}),
        )

    def solver_fields(self) -> dict[str, Any]:
        """Fields of ode.solve.Solver that shall differ from the bundle's. InputError: steps for dopri5."""
        if self.solver == "dopri5" and self.steps is not None:
            raise InputError(
                f"--steps {self.steps}: dopri5 chooses its own steps; leave out one of --solver and --steps"
            )
        given = {"method": self.solver, "steps": self.steps}
        return {name: value for name, value in given.items() if value is not None}


def as_json(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments under the names of their flags, as JSON holds them."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, Path | Format) else value

    return {name.rstrip("_"): plain(value) for name, value in arguments.items()}
