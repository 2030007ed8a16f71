"""How the benchmarks of single functions take time: process CPU seconds, the least of some rounds."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """CPU seconds of the fastest of the rounds, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times[1:])
