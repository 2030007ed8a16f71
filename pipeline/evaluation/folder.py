"""Every pair of a folder scored, one process a core; what is finished is kept, so that a stopped run can go on."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.context import BaseContext

from pipeline.errors import CaseError, InputError
from pipeline.evaluation.journal import Journal
from pipeline.evaluation.measures import CaseScores, LabelMeasure, Measure, Row
from pipeline.evaluation.pairs import Pair, paths_of, read_pair
from pipeline.metrics.jit import compile_all
from pipeline.metrics.overlap import Overlap

logger = logging.getLogger(__name__)

Outcome = CaseScores | CaseError

AHEAD = 2  # cases handed out beyond those in work: no worker waits, and no list of them is long
# What workers need, loaded once by the process that they are copies of; a name that is not installed is passed over.
_PRELOADED = ["numba", "scipy.spatial", "nibabel.nifti1", "pipeline.evaluation.measures", "pipeline.metrics.labels"]
# glibc hands every large array back to the system and fetches the next one page by page, which takes a third of a
# worker's time; so it keeps what it has.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


@dataclass(frozen=True)
class Scorer:
    """From a pair to its scores, or why it has none."""

    measure: Measure
    resample: bool = False

    def __call__(self, pair: Pair) -> Outcome:
        try:
            prediction, reference, resampled = read_pair(pair, resample=self.resample)
            return replace(self.measure(pair, prediction, reference), resampled=resampled)
        except CaseError as error:
            return error
        except MemoryError:
            return CaseError("OUT_OF_MEMORY", f"{pair.id} does not fit into memory: take fewer --jobs")


@dataclass(frozen=True)
class Evaluation:
    """What a folder came to.

    cases: id -> scores, for the pairs that could be compared; all have the same labels, those that occur in neither map
        of a case with status both_empty. failed: id -> why the others could not. unmatched: ids of predictions without
        a reference, which are left out.
    """

    cases: Mapping[str, CaseScores]
    failed: Mapping[str, CaseError]
    unmatched: Sequence[str]


def evaluate_folder(
    pairs: Sequence[Pair],
    scorer: Scorer,
    *,
    jobs: int = 1,
    journal: Journal | None = None,
    unmatched: Sequence[str] = (),
    report: Callable[[str, Outcome], None] = lambda case, outcome: None,
) -> Evaluation:
    """Score every pair; one that cannot be read or compared is in `failed`, the others go on.

    jobs: processes; 1 works in this one.  journal: gives what an earlier run finished and takes what this one does.
    report: called with each case and its outcome, in the order in which they end.
    InputError: a process was killed.
    """
    outcomes: dict[str, Outcome] = {}
    rest = []
    for pair in pairs:
        kept = journal.finished(pair) if journal else None
        if kept is None:
            rest.append(pair)
        else:
            outcomes[pair.id] = kept
            report(pair.id, kept)
    with closing(_scored(sorted(rest, key=_size, reverse=True), scorer, min(jobs, len(rest)))) as scored:
        for pair, outcome in scored:
            outcomes[pair.id] = outcome
            if journal and isinstance(outcome, CaseScores):
                journal.add(pair, outcome)
            report(pair.id, outcome)
    cases = {case: each for case, each in sorted(outcomes.items()) if isinstance(each, CaseScores)}
    failed = {case: each for case, each in sorted(outcomes.items()) if isinstance(each, CaseError)}
    if isinstance(scorer.measure, LabelMeasure) and scorer.measure.names and cases:
        _warn_of_absent(scorer.measure.names, cases)
    return Evaluation(_with_all_labels(cases, scorer.measure), failed, unmatched)


def _scored(pairs: Sequence[Pair], scorer: Scorer, jobs: int) -> Generator[tuple[Pair, Outcome]]:
    if jobs <= 1:
        for pair in pairs:
            yield pair, scorer(pair)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=_context(), initializer=_ignore_ctrl_c)
    coming, work = iter(pairs), dict[Future[Outcome], Pair]()
    try:
        with _environment(_KEEP_MEMORY):
            pool.submit(compile_all).result()  # by one worker, before there are others
        while True:
            work |= {pool.submit(scorer, pair): pair for pair in islice(coming, jobs + AHEAD - len(work))}
            if not work:
                return
            for future in wait(work, return_when=FIRST_COMPLETED).done:
                yield work.pop(future), future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {jobs} processes was killed, most likely for want of memory: take fewer --jobs (--resume goes on)"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> BaseContext:
    """No copies of this process, whose threads and locks a copy would not survive."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """For processes that are started meanwhile; what is set already stays."""
    own = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def _ignore_ctrl_c() -> None:
    """It reaches every process of the terminal; the first one stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _size(pair: Pair) -> int:
    """Bytes on disk: large cases first, so that no process works alone on one at the end."""
    return sum(path.stat().st_size for path in paths_of(pair) if os.access(path, os.R_OK))


def _warn_of_absent(names: Mapping[int, str], cases: Mapping[str, CaseScores]) -> None:
    """A label that somebody named and that no map has may be a slip, and all that its tables show is empty."""
    occurs = {
        name for case in cases.values() for name, counts in case.counts.items() if counts.prediction or counts.reference
    }
    absent, held = (
        ", ".join(f"{label} ({name})" for label, name in names.items() if (name in occurs) is there)
        for there in (False, True)
    )
    if absent:
        message = "no map that was compared holds the label %s, they hold %s: such a label has no scores, see --labels"
        logger.warning(message, absent, held or "none that is named")


def _with_all_labels(cases: Mapping[str, CaseScores], measure: Measure) -> dict[str, CaseScores]:
    """Every label in every case, also where nobody has named them: what neither map of a case holds is told as such."""
    if not isinstance(measure, LabelMeasure) or measure.names is not None:
        return dict(cases)
    units = {row.metric: row.unit for case in cases.values() for row in case.rows}
    labels = sorted({label for case in cases.values() for label in case.counts}, key=int)

    def complete(case: CaseScores) -> CaseScores:
        there = case.by_label()
        empty = {label: [Row(label, m, float("nan"), u, "both_empty") for m, u in units.items()] for label in labels}
        rows = [row for label in labels for row in there.get(label, empty[label])]
        return replace(case, rows=rows, counts={each: case.counts.get(each, Overlap(0, 0, 0)) for each in labels})

    return {name: complete(case) for name, case in cases.items()}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
