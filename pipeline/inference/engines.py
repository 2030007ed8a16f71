"""Who carries the cases through their stages: threads of this process, or the machines of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from pipeline.inference.plan import Draw, Plan, Prompts
from pipeline.inference.stages import Outcome, Stages, Task

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)

AHEAD = 2  # images in memory beyond those that are read or written: one has the network, one waits for it
BREATH_S = 1.0  # Ctrl-C is not seen during a wait on every system: so often it is looked at
PATIENCE_S = 30.0  # what is being written when a run is stopped may take so long


class Line(Protocol):
    """An iterator over what became of the tasks, in the order in which they end.

    KeyboardInterrupt may leave `next` at any time and does not end the iteration.
    """

    def __iter__(self) -> Line: ...

    def __next__(self) -> Outcome: ...

    def stop(self) -> None:
        """Begin nothing any more; what is completed nevertheless still comes."""

    def close(self) -> None: ...


def line_of(
    segmenter: Segmenter, tasks: Iterable[Task], plan: Plan, *, prompts: Prompts | None = None, draw: Draw | None = None
) -> Line:
    """The engine of a plan at work. InputError: Ray is not installed."""
    if plan.engine == "ray":
        from pipeline.inference.ray_engine import Actors  # here: an optional package

        return Actors(segmenter, tasks, plan, prompts=prompts, draw=draw)
    return Threads(segmenter, tasks, plan, prompts=prompts, draw=draw)


class Threads:
    """A thread a case, as many as there may be images in memory."""

    def __init__(
        self,
        segmenter: Segmenter,
        tasks: Iterable[Task],
        plan: Plan,
        *,
        prompts: Prompts | None = None,
        draw: Draw | None = None,
    ) -> None:
        self._stages = Stages(segmenter, prompts=prompts, draw=draw, jobs=plan.jobs, timeout_s=plan.timeout_s)
        self._tasks, self._most = iter(tasks), plan.jobs + AHEAD
        self._landed: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
        self._flying, self._stopped = 0, False

    def __iter__(self) -> Threads:
        return self

    def __next__(self) -> Outcome:
        while True:
            self._start()
            if not self._flying:
                raise StopIteration
            landed = self._wait()
            self._flying -= 1
            if isinstance(landed, BaseException):
                raise landed
            if landed is not None:
                return landed

    def stop(self) -> None:
        self._stopped = True
        self._stages.stop()

    def close(self) -> None:
        self._stages.close()

    def _start(self) -> None:
        while self._flying < self._most and not self._stopped:
            task = next(self._tasks, None)
            if task is None:
                return
            # A daemon: one that hangs in a file server's file must not keep the process from its end.
            Thread(target=self._carry, args=(task,), name=task.case.id, daemon=True).start()
            self._flying += 1

    def _carry(self, task: Task) -> None:
        landed: Outcome | BaseException | None
        try:
            landed = self._stages(task)
        except (KeyboardInterrupt, SystemExit) as error:  # what is to end the run ends it from any thread
            landed = error
        self._landed.put(landed)

    def _wait(self) -> Outcome | BaseException | None:
        """StopIteration: the run was stopped, and nothing has come for too long."""
        since = monotonic()
        while not self._stopped or monotonic() - since < PATIENCE_S:
            with suppress(Empty):
                return self._landed.get(timeout=BREATH_S)
        logger.debug("%d cases are left behind", self._flying)
        raise StopIteration
