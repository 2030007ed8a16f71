"""What is done to a case: bounded in memory, in time where that can be kept, on the CPU where the GPU is too small."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import CaseError
from pipeline.inference import stages
from pipeline.inference.batch import segment_folder
from pipeline.inference.clock import Clock
from pipeline.inference.fallback import CPU_FALLBACK, SMALLER_BATCHES, Fallback, copied_to_cpu
from pipeline.inference.plan import Plan
from pipeline.inference.records import CaseResult
from pipeline.inference.segmenter import Segmentation
from pipeline.io.discover import Case, find_cases
from pipeline.io.volume import Volume
from tests.inference.fakes import AFFINE, Bright, Layer, write_scan


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    for name in "abcdefgh":
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    return find_cases(tmp_path / "in")


def codes(results: list[CaseResult]) -> dict[str, str]:
    return {result.id: result.code for result in results}


@pytest.mark.parametrize("jobs", [1, 3])
def test_there_are_at_most_two_images_more_than_jobs_in_memory(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    read, held, most = stages.read_case, WeakSet[Volume](), list[int]()
    full, told = Event(), list[str]()

    def noted(case: Case) -> Volume:
        image = read(case)
        held.add(image)
        most.append(len(held))
        if len(most) == jobs + 2:
            full.set()
        return image

    monkeypatch.setattr(stages, "read_case", noted)
    network = Layer(lambda device: full.wait(60) and None)  # nothing ends before as many are there as may be
    plan = Plan(jobs=jobs)
    segment_folder(cases, Bright(network), tmp_path / "out", plan, report=lambda result: told.append(result.id))
    assert full.is_set()
    assert max(most) == jobs + 2
    assert told == [case.id for case in cases]  # whatever the order in which they end


def test_the_network_stays_on_one_thread(cases: list[Case], tmp_path: Path) -> None:
    threads: set[str] = set()
    network = Layer(lambda device: threads.add(threading.current_thread().name))
    segment_folder(cases, Bright(network), tmp_path / "out", Plan(jobs=4))
    assert len(threads) == 1


def test_a_file_that_is_never_read_is_left_behind_and_the_others_are_done(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, never = stages.read_case, Event()
    monkeypatch.setattr(stages, "read_case", lambda case: never.wait() if case.id == "b" else read(case))
    results = segment_folder(cases, Bright(), tmp_path / "out", Plan(jobs=1, timeout_s=3))
    assert codes(results) == {case.id: "TIMEOUT" if case.id == "b" else "" for case in cases}
    assert not (tmp_path / "out/b.nii.gz").exists()
    never.set()


def test_a_network_that_takes_too_long_is_stopped_before_its_next_layer(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[bool] = []
    clock = Clock.seconds
    monkeypatch.setattr(Clock, "seconds", property(lambda self: 1e6 if late else clock.fget(self)))
    seen: list[str] = []
    network = nn.Sequential(Layer(lambda device: late.append(True)), Layer(seen.append))
    (result,) = segment_folder(cases[:1], Bright(network), tmp_path / "out", Plan(timeout_s=1e5))
    assert (result.code, seen) == ("TIMEOUT", [])
    assert "100000 s" in result.message
    assert not network[0]._forward_pre_hooks


class Small:
    """A GPU that has room for the n-th try; machines without a GPU have no such thing."""

    def __init__(self, room_at: int, *, named: bool = False) -> None:
        self.tries, self.room_at, self.named = 0, room_at, named

    def __call__(self, segmenter: Bright, image: Volume) -> None:
        if str(segmenter.device) == "cpu":
            return
        self.tries += 1
        if self.tries >= self.room_at:
            return
        error = torch.OutOfMemoryError("CUDA out of memory")
        if self.named:
            raise CaseError("OUT_OF_MEMORY", "the GPU is too small") from error
        raise error


@dataclass(frozen=True, eq=False)
class OnGpu(Bright):
    """Takes `at_once` slices of a case at once, which may be halved."""

    device: Any = field(default_factory=lambda: torch.device("cuda"))
    room: Callable[[OnGpu, Volume], None] = lambda segmenter, image: None
    at_once: int = 1

    def __call__(self, image: Volume, prompt: object = None, *, trajectory: bool = False) -> Segmentation:
        self.room(self, image)
        return super().__call__(image, prompt, trajectory=trajectory)

    def smaller(self) -> OnGpu | None:
        return replace(self, at_once=self.at_once // 2) if self.at_once > 1 else None


def on_gpu(room: Callable[[OnGpu, Volume], None], **facts: Any) -> OnGpu:
    return OnGpu(room=room, **facts)


@pytest.mark.parametrize("named", [False, True])
def test_what_the_gpu_has_no_room_for_is_done_on_the_cpu_and_flagged(
    cases: list[Case], tmp_path: Path, caplog: pytest.LogCaptureFixture, named: bool
) -> None:
    small = Small(3, named=named)  # for the first case it is tried twice, for the others there is room
    results = segment_folder(cases[:3], on_gpu(small), tmp_path / "out", Plan(jobs=1))
    assert [result.status for result in results] == ["ok"] * 3
    assert sum(CPU_FALLBACK in result.flags for result in results) == 1
    assert small.tries == 4
    assert "done on the CPU" in caplog.text
    assert CPU_FALLBACK in (tmp_path / "out/cases.csv").read_text()


def test_an_emptied_cache_may_be_enough(cases: list[Case], tmp_path: Path) -> None:
    (result,) = segment_folder(cases[:1], on_gpu(Small(2)), tmp_path / "out")
    assert (result.status, CPU_FALLBACK in result.flags) == ("ok", False)


def test_a_gpu_that_is_too_small_has_less_at_once_from_then_on_and_every_case_says_so(
    cases: list[Case], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    def room(segmenter: OnGpu, image: Volume) -> None:
        tried.append(segmenter.at_once)
        if segmenter.at_once > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    results = segment_folder(cases[:3], on_gpu(room, at_once=8), tmp_path / "out", Plan(jobs=1))
    assert tried == [8, 8, 4, 2, 2, 2]  # the second time with the cache emptied
    assert [(result.status, result.flags.count(SMALLER_BATCHES)) for result in results] == [("ok", 1)] * 3
    assert not any(CPU_FALLBACK in result.flags for result in results)
    assert caplog.text.count("less of each at once") == 2


def test_what_even_the_smallest_batch_has_no_room_for_is_done_on_the_cpu_and_the_next_case_is_not(
    cases: list[Case], tmp_path: Path
) -> None:
    small = Small(5)  # twice with two slices, once with one; the next case once in vain
    results = segment_folder(cases[:2], on_gpu(small, at_once=2), tmp_path / "out", Plan(jobs=1))
    fell = [[flag for flag in result.flags if flag in (CPU_FALLBACK, SMALLER_BATCHES)] for result in results]
    assert sorted(fell) == [[CPU_FALLBACK], [SMALLER_BATCHES]]
    assert small.tries == 5


def test_each_case_is_checked_by_its_own_clock_on_the_cpu_too() -> None:
    network = nn.Sequential(Layer(lambda device: stopped.set()), Layer())  # stopped while its first layer is at work
    fallback, image = Fallback(on_gpu(Small(99), network=network)), Volume(np.zeros((2, 2, 2)), AFFINE)
    for _ in range(2):
        stopped = Event()
        with pytest.raises(CancelledError):
            fallback(image, around=Clock(None, stopped).checked_by)
    assert fallback(image, around=Clock(None, Event()).checked_by).flags == (CPU_FALLBACK,)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_what_the_cpu_has_no_room_for_is_out_of_memory(cases: list[Case], tmp_path: Path, error: Exception) -> None:
    def full(device: str) -> None:
        raise error

    (result,) = segment_folder(cases[:1], Bright(Layer(full)), tmp_path / "out")
    assert result.code == "OUT_OF_MEMORY"


def test_other_errors_of_a_gpu_are_not_tried_again() -> None:
    def broken(device: str) -> None:
        raise CaseError("STEP_LIMIT", "too many steps")

    with pytest.raises(CaseError, match="too many steps"):
        Fallback(on_gpu(lambda *_: None, network=Layer(broken)))(Volume(torch.zeros(2, 2, 2).numpy(), AFFINE))


def test_a_network_is_copied_to_the_cpu_with_all_that_it_has() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    network[1].weight = network[0].bias  # shared
    copied = copied_to_cpu(network)
    for name, value in network.state_dict().items():
        assert torch.equal(copied.state_dict()[name], value)
        assert copied.state_dict()[name].data_ptr() != value.data_ptr()
    assert copied[1].weight is copied[0].bias
