"""How long a case has been worked on, and whether it is to be gone on with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import CaseError

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

T = TypeVar("T")


def attempt(work: Callable[[], T], name: str) -> T | Exception:
    """What comes of it. The one broad except: a case may fail in any way, the others go on."""
    try:
        return work()
    except Exception as error:
        logger.debug("%s", name, exc_info=error)
        return error


class Clock:
    """Runs while a case is worked on, not while it waits for its turn.

    limit_s: seconds that it may run; None: any. stopped: set when nothing shall be begun any more.
    """

    def __init__(self, limit_s: float | None, stopped: Event) -> None:
        self.limit_s, self.stopped = limit_s, stopped
        self._spent_s, self._since = 0.0, 0.0

    @property
    def seconds(self) -> float:
        return self._spent_s + (time.perf_counter() - self._since if self._since else 0.0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """As `may_go_on` raises, at the beginning."""
        self.may_go_on()
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._spent_s, self._since = self.seconds, 0.0

    def may_go_on(self) -> None:
        """CancelledError when the run is being stopped; else as `check`."""
        if self.stopped.is_set():
            raise CancelledError
        self.check()

    def check(self) -> None:
        """CaseError TIMEOUT when the time is over."""
        if self.limit_s is not None and self.seconds > self.limit_s:
            raise self._timeout()

    def limited(self, work: Callable[[], T]) -> T:
        """work(), which is left behind where it does not end in time: no thread can be killed. CaseError: TIMEOUT."""
        if self.limit_s is None:
            return work()
        answers: SimpleQueue[T | Exception] = SimpleQueue()
        Thread(target=lambda: answers.put(attempt(work, "in time")), daemon=True).start()
        try:
            answer = answers.get(timeout=max(self.limit_s - self.seconds, 0))
        except Empty:
            raise self._timeout() from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def checked_by(self, network: nn.Module) -> Iterator[None]:
        """`may_go_on` before every layer of the network: as often as anything in it can be interrupted."""
        hooks = [part.register_forward_pre_hook(lambda *_: self.may_go_on()) for part in network.modules()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _timeout(self) -> CaseError:
        return CaseError("TIMEOUT", f"not done in {self.limit_s:g} s: look at the scan, or raise --timeout-per-case")
