"""A folder of cases in, their labels out: one bad case never stops the others, and a killed run can be resumed.

Reading, the network and writing overlap (stages.py, engines.py); at most Plan.jobs + 2 images are in memory at once,
whatever the number of cases.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CaseError
from pipeline.inference.engines import Line, line_of
from pipeline.inference.plan import Draw, Plan, Prompts
from pipeline.inference.recording import Record
from pipeline.inference.records import CaseResult, RecordFiles
from pipeline.inference.stages import Outcome, Task, result_of
from pipeline.inference.targets import Beside, Targets, refuse_existing, source_of, targets_below
from pipeline.io.discover import Case
from pipeline.io.folder_lock import held
from pipeline.io.table import as_read
from pipeline.io.versions import versions
from pipeline.io.whole_file import remove_parts
from pipeline.io.write import read_back

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)

INTERRUPTED = "the run was interrupted; --resume goes on with it"


def segment_folder(
    cases: Sequence[Case],
    segmenter: Segmenter,
    out: Path,
    plan: Plan | None = None,
    *,
    prompts: Prompts | None = None,
    report: Callable[[CaseResult], None] = lambda result: None,
    draw: Draw | None = None,
) -> list[CaseResult]:
    """Segment every case into `out`/<id>.<suffix> and keep a record there (records.py).

    cases: of a plan with a shard all cases; only its share is done.
    prompts: what each case begins with; None: nothing.
    report: called with each result in the order of `cases`, those of an earlier run first.
    draw: writes `out`/overlays/<id>.png of each case and files below `out`/trajectory/<id>/ of each volume.
    Where the bundle numbers objects, `out`/objects.csv has a row for each.
    Returns the results in the order of `cases`. Raises InputError before anything is written: results are there and
    neither resume nor overwrite is asked for, another run is at work in `out`, an id leads out of it, two cases would
    share a file, it cannot be written to. On KeyboardInterrupt what is being written is completed and the record too
    (what is left is `skipped`) before it goes to the caller.
    """
    plan, draw = plan or Plan(), draw or Draw()
    read = {case.id: (*case.files, *(prompts.files(case) if prompts else ())) for case in cases}
    kind: dict[str, Any] = {"spatial_dims": segmenter.spatial_dims, "objects": segmenter.numbers_objects}
    beside = Beside(names=segmenter.names, per_label=plan.per_label, probabilities=plan.probabilities)
    targets = targets_below(out, cases, read, formats=plan.formats, beside=beside, **kind)
    cases = plan.shard.share(cases) if plan.shard else cases
    files = RecordFiles(out, plan.shard)
    with _held(files):
        _refuse_to_replace(out, plan, [targets[case.id] for case in cases])
        settings, facts = _settings(segmenter, plan, draw), _facts(segmenter, plan)
        record = Record(files, settings, facts, resume=plan.resume, objects=segmenter.numbers_objects)
        done = {c.id for c in cases if _finished(c, read[c.id], record.results.get(c.id), targets[c.id])}
        tasks = [Task(case, targets[case.id]) for case in cases if case.id not in done]
        with closing(line_of(segmenter, tasks, plan, prompts=prompts, draw=draw)) as line:
            record.begin(keep=done, without={task.case.id for task in tasks})
            if not plan.shard:  # others may be writing
                remove_parts(out)
            for case in cases:
                if case.id in done:
                    report(record.results[case.id])
            _Run(record, tasks, report, stop=plan.on_error == "stop").carry_out(line)
        if plan.engine == "ray" and not plan.shard:
            remove_parts(out)  # of workers that were lost
    return [record.results[case.id] for case in cases]


@contextmanager
def _held(files: RecordFiles) -> Iterator[None]:
    """No other run writes this record meanwhile, nor those that it takes over; shards work side by side."""
    with ExitStack() as locks:
        for each in (files, *files.shards()):
            locks.enter_context(held(each.out, each.shard.suffix if each.shard else ""))
        yield


def refuse_earlier_run(out: Path, plan: Plan) -> None:
    """Raise InputError where `out` holds an earlier run and `plan` does not say what to do with it."""
    if not (plan.resume or plan.overwrite):
        refuse_existing(path for each in _records(out, plan) for path in (each.cases, each.run))


def _records(out: Path, plan: Plan) -> list[RecordFiles]:
    """Of the whole run and of what this plan may take over."""
    own = RecordFiles(out, plan.shard)
    return [RecordFiles(out), own, *own.shards()]


def _refuse_to_replace(out: Path, plan: Plan, targets: Iterable[Targets]) -> None:
    refuse_earlier_run(out, plan)
    if not (plan.overwrite or (plan.resume and any(each.exist() for each in _records(out, plan)))):
        # No run of ours has written them
        refuse_existing(path for each in targets for path in (*each.paths, each.objects) if path)


class _Run:
    """The tasks of a batch, from the first line of the record to its last."""

    def __init__(
        self, record: Record, tasks: Sequence[Task], report: Callable[[CaseResult], None], *, stop: bool
    ) -> None:
        self.record, self.report, self.stop = record, report, stop
        self.tasks = {task.case.id: task for task in tasks}
        self._untold = deque(self.tasks)

    def carry_out(self, line: Line) -> None:
        left = INTERRUPTED
        try:
            for outcome in line:
                result = self._add(outcome)
                if result.status == "failed" and self.stop:
                    left = f"{result.id} failed, and the run was to stop then (--on-error stop)"
                    line.stop()
        except KeyboardInterrupt:
            line.stop()
            for outcome in line:
                self._add(outcome)
            raise
        finally:
            self._close(left)

    def _add(self, outcome: Outcome) -> CaseResult:
        results, case = self.record.results, outcome.result.id
        if not self.record.add(outcome):
            self.tasks[case].targets.remove()
        while self._untold and self._untold[0] in results:
            self.report(results[self._untold.popleft()])
        return results[case]

    def _close(self, left: str) -> None:
        for case in self._untold:
            if case in self.record.results:
                self.report(self.record.results[case])
        missing = [task.case for case, task in self.tasks.items() if case not in self.record.results]
        skipped = (result_of(case, "skipped", message=f"not tried: {left}") for case in missing)
        self.record.close(skipped, ended=_now())


def _settings(segmenter: Segmenter, plan: Plan, draw: Draw) -> dict[str, Any]:
    """What the results depend on."""
    return {
        "bundle": segmenter.name,
        "bundle_version": segmenter.version,
        "weights_sha256": segmenter.weights_sha256,
        "formats": list(plan.formats),
        "trajectory": draw.trajectory is not None,
        **plan.settings,
    }


def _facts(segmenter: Segmenter, plan: Plan) -> dict[str, Any]:
    return {
        "software": versions("evoseg", "torch", "monai", "numpy"),
        "weights_licence": segmenter.licence,
        "labels": {str(label): name for label, name in segmenter.names.items()},
        "arguments": dict(plan.arguments),
        "device": str(segmenter.device),
        "started": _now(),
    }


def _finished(case: Case, read: Iterable[Path], result: CaseResult | None, targets: Targets) -> bool:
    """Whether an earlier result is of the same, unchanged files, and its labels can be read to their end."""
    if result is None or result.status != "ok" or not all(path.is_file() for path in targets.results):
        return False
    before, now = (as_read(str(Path(source).resolve())) for source in (result.source, source_of(case)))
    if before != now:
        logger.warning("%s is segmented again: the result there was made from %s", case.id, result.source)
        return False
    made = min(path.stat().st_mtime for path in targets.results)
    if any(path.exists() and path.stat().st_mtime > made for path in read):  # slices may have arrived meanwhile
        logger.warning("%s is segmented again: its input has changed since", case.id)
        return False
    try:
        for path in targets.results:
            read_back(path)
    except CaseError as error:
        logger.warning("%s is segmented again: the result there is broken: %s", case.id, error.message)
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
