"""What a batch is told: its formats and settings, what is known of each case, and who draws the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.inference.shards import Shard
from pipeline.inference.targets import Format
from pipeline.io.discover import Case
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Prompt
    from pipeline.inference.trajectory import Trajectory

Engine = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a batch is run.

    formats: files written for every case; empty: NIfTI of volumes, PNG of pictures.
    per_label, probabilities: what is written beside the labels (targets.Beside).
    resume: leave out the cases that an earlier run with the same weights, formats and settings has finished.
    overwrite: replace the results of an earlier run.  on_error: what to do after a case that failed.
    settings: what else the results depend on.  arguments: the command line. Both as JSON holds them, for run.json.
    jobs: threads that read and write beside the network's; at most jobs + 2 images are in memory at once.
    timeout_s: how long a case may be worked on, as far as it can be stopped (stages.py); None: any time.
    shard: do only this share of the cases, with a record of its own.
    engine: this process, or every machine of a Ray cluster (ray_engine.py), each with `jobs` and a network of its own
        on `device`.
    """

    formats: tuple[Format, ...] = ()
    per_label: bool = False
    probabilities: bool = False
    resume: bool = False
    overwrite: bool = False
    on_error: Literal["continue", "stop"] = "continue"
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 2
    timeout_s: float | None = None
    shard: Shard | None = None
    engine: Engine = "local"
    device: str = "auto"


class Prompts(Protocol):
    """What is known of each case before it is segmented."""

    def files(self, case: Case) -> tuple[Path, ...]:
        """What the prompt is read from: where these have changed, a finished case is segmented again."""

    def __call__(self, case: Case, image: Volume) -> Prompt | None:
        """None where nothing is. With its `initial`, if it has one, as a mask on the grid of `image`.

        An exception fails this case only.
        """


class DrawOverlay(Protocol):
    """Draws the contours of labels over their image into a file, as `report.overlay.overlay` does."""

    def __call__(
        self, image: Volume, labels: Volume, path: Path, *, names: Mapping[int, str], initial: Volume | None
    ) -> None: ...


class DrawObjects(Protocol):
    """Draws the outlines of numbered objects over their picture into a file, as `report.objects.objects_overlay`."""

    def __call__(self, image: Volume, objects: Volume, path: Path, *, name: str) -> None: ...


class DrawTrajectory(Protocol):
    """Draws a contour on its way into a folder, as `report.trajectory.write_trajectory` does."""

    def __call__(self, image: Volume, trajectory: Trajectory, folder: Path, *, name: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The pictures of each case. None: not drawn.

    Contours of the labels, or of the objects where they are told apart; of a volume a contour's evolution too.
    """

    overlay: DrawOverlay | None = None
    objects: DrawObjects | None = None
    trajectory: DrawTrajectory | None = None
