"""What is done to one case: read, segmented, measured and drawn, written; from several threads for several cases.

The files of a case and the network are busy at once: `jobs` threads read and write while one has the network. A case
of which anything goes wrong becomes a result that says so, and leaves no file.

A time limit is kept where Python lets it be kept. Reading is left behind when the time is over (a file server that
hangs); the network is stopped before its next layer, so between slices, tiles and steps of a solver; what follows is
stopped between measuring, drawing and writing. Not stopped are one layer, a prior on whole objects, the way back to
the scan's grid, and the writing of labels once it has begun: such a case may take longer than it may, and is a
failure then unless it was being written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from threading import BoundedSemaphore, Event, Lock
from typing import TYPE_CHECKING, Any

from pipeline.errors import CaseError
from pipeline.inference import object_table, quality
from pipeline.inference.authorship import author
from pipeline.inference.beside import write_beside
from pipeline.inference.clock import Clock, attempt
from pipeline.inference.plan import Draw, Prompts
from pipeline.inference.records import CaseResult, Status
from pipeline.inference.targets import Targets, source_of
from pipeline.io.discover import Case, read_case
from pipeline.io.volume import Volume
from pipeline.io.write import check_writable, write_labels

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Prompt, Segmentation, Segmenter

logger = logging.getLogger(__name__)

_NO_MEMORY = "DefaultCPUAllocator"  # torch has no exception of its own for what NumPy calls MemoryError


@dataclass(frozen=True)
class Task:
    """A case and where its results go."""

    case: Case
    targets: Targets


@dataclass(frozen=True)
class Outcome:
    """What became of a case, and its rows of objects.csv."""

    result: CaseResult
    objects: Sequence[object_table.Row] = ()


class Stages:
    """Called with one task after another, from as many threads as there may be images in memory."""

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        prompts: Prompts | None = None,
        draw: Draw | None = None,
        jobs: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        """prompts, draw: as in batch.segment_folder. jobs, timeout_s: as in Plan."""
        from pipeline.inference.fallback import Fallback  # here: it imports torch

        self.segmenter, self.prompts, self.draw = segmenter, prompts, draw or Draw()
        self.timeout_s = timeout_s
        self.stopped = Event()
        self._segment = Fallback(segmenter)
        self._hands = BoundedSemaphore(jobs)
        self._network = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")
        # Writing DICOM keeps warnings quiet that quote the patient's name, and Python's filters are of all threads.
        self._dicom = Lock()

    def __call__(self, task: Task) -> Outcome | None:
        """None: it was stopped before its end, and nothing was written."""
        clock = Clock(self.timeout_s, self.stopped)
        outcome = attempt(lambda: self._carried(task, clock), task.case.id)
        if isinstance(outcome, Outcome):
            return outcome
        if isinstance(outcome, CancelledError):
            return None
        with suppress(OSError):
            task.targets.remove()  # no half of this result, and no older one that would stand for a case that failed
        code, message = _explain(outcome)
        message = task.case.archive.told(message) if task.case.archive else message
        return Outcome(result_of(task.case, "failed", code=code, message=message, seconds=clock.seconds))

    def stop(self) -> None:
        """Begin nothing any more: what is being written is completed, all else ends as soon as it can."""
        self.stopped.set()

    def close(self) -> None:
        self.stop()
        self._network.shutdown(wait=False)

    def _carried(self, task: Task, clock: Clock) -> Outcome:
        with self._hands, clock.running():
            image, prompt = clock.limited(lambda: self._read(task))
        found = self._network.submit(self._segmented, image, prompt, clock).result()
        with self._hands, clock.running():
            sizes, flags, rows = self._measured(task.case, image, prompt, found)
            clock.check()
            self._drawn(task.targets, image, prompt, found)
            clock.check()
            self._write(task, prompt, found)
        facts = {"sizes": sizes, "flags": flags, "seconds": clock.seconds}
        return Outcome(result_of(task.case, "ok", **facts), rows)

    def _read(self, task: Task) -> tuple[Volume, Prompt | None]:
        image = read_case(task.case)
        for path in task.targets.labels:
            check_writable(path, task.case)
        return image, self.prompts(task.case, image) if self.prompts else None

    def _segmented(self, image: Volume, prompt: Prompt | None, clock: Clock) -> Segmentation:
        trajectory = self.draw.trajectory is not None
        with clock.running():
            found = self._segment(image, prompt, around=clock.checked_by, trajectory=trajectory)
            clock.check()
            return found

    def _measured(
        self, case: Case, image: Volume, prompt: Prompt | None, found: Segmentation
    ) -> tuple[dict[str, float], tuple[str, ...], list[object_table.Row]]:
        segmenter, names = self.segmenter, found.names
        sizes = quality.sizes(found.labels, names)
        sizes |= quality.intensity(image, found.labels, names, modality=segmenter.modality)
        if found.objects:
            sizes |= quality.count(found.objects, names)
        sizes |= quality.used(found.labels, names, found.centers, found.volumes)
        if prompt and prompt.initial:
            sizes |= quality.change(found.labels, prompt.initial)
        if found.trajectory:
            sizes["doubt"] = found.trajectory.doubt
        described: dict[str, Any] = {
            "modality": segmenter.modality,
            "field_of_view_mm": segmenter.field_of_view_mm,
            "scanned": case.modality,
            "segments": segmenter.segments,
            "numbered": found.objects is not None,
        }
        flags = quality.flags(image, found.labels, names, **described)
        if any(flag.startswith(quality.MODALITY) for flag in flags):  # it makes a whole batch worthless: said at once
            message = "%s is %s, the bundle takes %s: do not rely on it"
            logger.warning(message, case.id, case.modality, segmenter.modality)
        rows = object_table.rows(case.id, found.objects, image) if found.objects else []
        return sizes, (*flags, *found.flags), rows

    def _drawn(self, targets: Targets, image: Volume, prompt: Prompt | None, found: Segmentation) -> None:
        draw, names = self.draw, found.names
        targets.remove_trajectory()  # an older one may have more frames
        if draw.objects and targets.overlay and found.objects:
            draw.objects(image, found.objects, targets.overlay, name=", ".join(names.values()))
        elif draw.overlay and targets.overlay:
            initial = prompt.initial if prompt else None
            draw.overlay(image, found.labels, targets.overlay, names=names, initial=initial)
        if draw.trajectory and targets.trajectory and found.trajectory:
            draw.trajectory(image, found.trajectory, targets.trajectory, name=", ".join(names.values()))

    def _write(self, task: Task, prompt: Prompt | None, found: Segmentation) -> None:
        """Last of all: labels that are there are of a whole case, whatever stops the run."""
        write_beside(task.targets, found, task.case)
        labels, by = found.objects or found.labels, author(self.segmenter, prompt)
        for path in task.targets.labels:
            with self._dicom if path.suffix == ".dcm" else nullcontext():
                write_labels(path, labels, source=task.case, by=by)


def result_of(case: Case, status: Status, **facts: Any) -> CaseResult:
    return CaseResult(id=case.id, source=source_of(case), status=status, **facts)


def _explain(error: Exception) -> tuple[str, str]:
    """Code and message of whatever went wrong with a case."""
    if isinstance(error, CaseError):
        return error.code, error.message
    if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
        return "OUT_OF_MEMORY", "the case does not fit into memory: crop it, or take a machine with more memory"
    if isinstance(error, OSError):  # what cannot be read is refused by a code of its own, so this is about writing
        return "WRITE_FAILED", f"{error}: free some space or check the permissions, then go on with --resume"
    return "INTERNAL", f"{type(error).__name__}: {error}; please report it with the log of --log-file"
