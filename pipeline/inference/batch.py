"""A folder of cases in, their labels out: one bad case never stops the others, and a killed run can be resumed.

One case is segmented at a time while the next one is being read; the memory needed does not grow with their number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CaseError, InputError
from pipeline.inference import object_table, quality, records
from pipeline.inference.authorship import author
from pipeline.inference.plan import Draw, Plan, Prompts
from pipeline.inference.records import CaseResult, Status
from pipeline.inference.targets import Targets, refuse_existing, source_of, targets_below
from pipeline.io.discover import Case, read_case
from pipeline.io.versions import versions
from pipeline.io.volume import Volume
from pipeline.io.write import check_writable, read_back, write_labels

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Prompt, Segmentation, Segmenter

logger = logging.getLogger(__name__)


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
    """Segment every case into `out`/<id>.<suffix> and keep cases.csv and run.json there up to date.

    prompts: what each case begins with; None: nothing.
    report: called with each result as soon as it is known, those of an earlier run first.
    draw: writes `out`/overlays/<id>.png and files below `out`/trajectory/<id>/ for each volume; overlays of pictures
    too where the bundle numbers objects, of which `out`/objects.csv has a row each.
    Returns the results in the order of `cases`. Raises InputError before anything is written: results are there and
    neither resume nor overwrite is asked for, an id leads out of `out`, two cases would share a file, `out` cannot be
    written to. On KeyboardInterrupt the record is completed (what is left is `skipped`) before it goes to the caller.
    """
    plan, draw = plan or Plan(), draw or Draw()
    read = {case.id: (*case.files, *(prompts.files(case) if prompts else ())) for case in cases}
    kind: dict[str, Any] = {"spatial_dims": segmenter.spatial_dims, "objects": segmenter.numbers_objects}
    targets = targets_below(out, cases, read, formats=plan.formats, **kind)
    refuse_earlier_run(out, plan)
    if not (plan.overwrite or (plan.resume and (out / records.CASES_FILE).exists())):
        # No run of ours has written them
        refuse_existing(path for each in targets.values() for path in (*each.paths, each.objects) if path)
    record = _Record(out, segmenter, plan, draw)
    done = {c.id for c in cases if _finished(c, read[c.id], record.results.get(c.id), targets[c.id])}
    waiting = [case for case in cases if case.id not in done]
    record.begin(without={case.id for case in waiting})
    if segmenter.numbers_objects:
        object_table.begin(out / object_table.OBJECTS_FILE, keep=done)
    for case in cases:
        if case.id in done:
            report(record.results[case.id])
    left = "the run was interrupted; --resume goes on with it"
    try:
        with closing(_read_ahead(waiting, prompts)) as readings:
            for case, reading in readings:
                result = segment_case(case, reading.result, segmenter, targets[case.id], draw)
                record.add(result)
                report(result)
                if result.status == "failed" and plan.on_error == "stop":
                    left = f"{case.id} failed, and the run was to stop then (--on-error stop)"
                    break
    finally:
        missing = [case for case in waiting if case.id not in record.results]
        record.close(_result(case, "skipped", message=f"not tried: {left}") for case in missing)
    return [record.results[case.id] for case in cases]


def refuse_earlier_run(out: Path, plan: Plan) -> None:
    """Raise InputError where `out` holds an earlier run and `plan` does not say what to do with it."""
    if not (plan.resume or plan.overwrite):
        refuse_existing([out / records.CASES_FILE, out / records.RUN_FILE])


def load(case: Case, prompts: Prompts | None) -> tuple[Volume, Prompt | None]:
    """The image of a case and what it begins with."""
    image = read_case(case)
    return image, prompts(case, image) if prompts else None


def segment_case(
    case: Case,
    loaded: Callable[[], tuple[Volume, Prompt | None]],
    segmenter: Segmenter,
    targets: Targets,
    draw: Draw,
) -> CaseResult:
    """Segment one case and write its files, all or none; whatever goes wrong becomes a result that says so."""
    start = time.perf_counter()
    try:
        image, prompt = loaded()
        for path in targets.labels:
            check_writable(path, case)
        found = segmenter(image, prompt, trajectory=draw.trajectory is not None)
        initial = prompt.initial if prompt else None
        sizes = quality.sizes(found.labels, found.names)
        if found.objects:
            sizes |= quality.count(found.objects, found.names)
        sizes |= quality.used(found.labels, found.names, found.centers, found.volumes)
        if initial:
            sizes |= quality.change(found.labels, initial)
        flags = quality.flags(
            image,
            found.labels,
            found.names,
            modality=segmenter.modality,
            field_of_view_mm=segmenter.field_of_view_mm,
            scanned=case.modality,
        )
        _warn(case, segmenter, flags)
        _draw(image, found, targets, draw, initial=initial)
        for path in targets.labels:  # last: whatever stops the run before, labels that are there are of a whole case
            write_labels(path, found.objects or found.labels, source=case, by=author(segmenter, prompt))
        if found.objects and targets.objects:
            object_table.add(targets.objects, case.id, found.objects, image)
    except Exception as error:  # the one broad except: a case may fail in any way, the others go on
        logger.debug("%s", case.id, exc_info=error)
        with suppress(OSError):
            targets.remove()  # no half of this result, and no older one that would stand for a case that failed
        code, message = _explain(error)
        return _result(case, "failed", code=code, message=message, seconds=time.perf_counter() - start)
    return _result(case, "ok", seconds=time.perf_counter() - start, sizes=sizes, flags=(*flags, *found.flags))


def _warn(case: Case, segmenter: Segmenter, flags: Sequence[str]) -> None:
    """Say at once what makes a whole batch worthless."""
    if any(flag.startswith(quality.MODALITY) for flag in flags):
        logger.warning("%s is %s, the bundle takes %s: do not rely on it", case.id, case.modality, segmenter.modality)


def _draw(image: Volume, found: Segmentation, targets: Targets, draw: Draw, *, initial: Volume | None) -> None:
    targets.remove_trajectory()  # an older one may have more frames
    if draw.objects and targets.overlay and found.objects:
        draw.objects(image, found.objects, targets.overlay, name=", ".join(found.names.values()))
    elif draw.overlay and targets.overlay:
        draw.overlay(image, found.labels, targets.overlay, names=found.names, initial=initial)
    if draw.trajectory and targets.trajectory and found.trajectory:
        draw.trajectory(image, found.trajectory, targets.trajectory, name=", ".join(found.names.values()))


class _Record:
    """The results so far, mirrored in cases.csv and run.json after every change."""

    def __init__(self, out: Path, segmenter: Segmenter, plan: Plan, draw: Draw) -> None:
        """Start with the results of an earlier run if they are to be kept and were made with the same settings."""
        settings = {
            "bundle": segmenter.name,
            "bundle_version": segmenter.version,
            "weights_sha256": segmenter.weights_sha256,
            "formats": list(plan.formats),
            "trajectory": draw.trajectory is not None,
            **plan.settings,
        }
        self.out = out
        self.results = {each.id: each for each in _earlier(out, settings)} if plan.resume else {}
        self.run = {
            "software": versions("evoseg", "torch", "monai", "numpy"),
            **settings,
            "labels": {str(label): name for label, name in segmenter.names.items()},
            "arguments": dict(plan.arguments),
            "device": str(segmenter.device),
            "started": _now(),
            "ended": None,
        }

    def begin(self, *, without: set[str]) -> None:
        """Begin the files, leaving out what an earlier run says of the cases `without`.

        InputError where that fails: hours of work would have nowhere to go.
        """
        self.results = {each: result for each, result in self.results.items() if each not in without}
        try:
            self._write()
        except CaseError as error:
            raise InputError(error.message) from error

    def add(self, result: CaseResult) -> None:
        self.results[result.id] = result
        self._update()

    def close(self, skipped: Iterator[CaseResult]) -> None:
        self.results |= {each.id: each for each in skipped}
        self.run["ended"] = _now()
        self._update()

    def _update(self) -> None:
        try:
            self._write()
        except CaseError as error:  # a disk that is full now may have room after the next case
            logger.error("%s", error.message)

    def _write(self) -> None:
        statuses = [result.status for result in self.results.values()]
        self.run["cases"] = {status: statuses.count(status) for status in ("ok", "failed", "skipped")}
        records.write_cases(self.out, list(self.results.values()))
        records.write_run(self.out, self.run)


def _earlier(out: Path, settings: Mapping[str, Any]) -> list[CaseResult]:
    results, before = records.read_cases(out), records.read_run(out)
    changed = [key for key, value in settings.items() if before.get(key) != value]
    if results and changed:
        logger.warning("Other %s than in the run before: every case is segmented again.", ", ".join(changed))
        return []
    return results


def _finished(case: Case, read: Iterable[Path], result: CaseResult | None, targets: Targets) -> bool:
    """Whether an earlier result is of the same, unchanged files, and its labels can be read to their end."""
    if result is None or result.status != "ok" or not all(path.is_file() for path in targets.labels):
        return False
    if Path(result.source).resolve() != Path(source_of(case)).resolve():
        logger.warning("%s is segmented again: the result there was made from %s", case.id, result.source)
        return False
    made = min(path.stat().st_mtime for path in targets.labels)
    if any(path.exists() and path.stat().st_mtime > made for path in read):  # slices may have arrived meanwhile
        logger.warning("%s is segmented again: its input has changed since", case.id)
        return False
    try:
        for path in targets.labels:
            read_back(path)
    except CaseError as error:
        logger.warning("%s is segmented again: the result there is broken: %s", case.id, error.message)
        return False
    return True


def _read_ahead(
    cases: Sequence[Case], prompts: Prompts | None
) -> Generator[tuple[Case, Future[tuple[Volume, Prompt | None]]], None, None]:
    """Each case with what is loaded of it; the next one is read while the caller works on this one, never more."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")
    try:
        coming: Future[tuple[Volume, Prompt | None]] | None = None
        for i, case in enumerate(cases):
            reading = coming or pool.submit(load, case, prompts)
            coming = pool.submit(load, cases[i + 1], prompts) if i + 1 < len(cases) else None
            yield case, reading
    finally:
        pool.shutdown(cancel_futures=True)


def _result(case: Case, status: Status, **facts: Any) -> CaseResult:
    return CaseResult(id=case.id, source=source_of(case), status=status, **facts)


def _explain(error: Exception) -> tuple[str, str]:
    """Code and message of whatever went wrong with a case."""
    if isinstance(error, CaseError):
        return error.code, error.message
    if isinstance(error, MemoryError):
        return "OUT_OF_MEMORY", "the case does not fit into memory: crop it, or take a machine with more memory"
    if isinstance(error, OSError):  # what cannot be read is refused by a code of its own, so this is about writing
        return "WRITE_FAILED", f"{error}: free some space or check the permissions, then go on with --resume"
    return "INTERNAL", f"{type(error).__name__}: {error}; please report it with the log of --log-file"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
