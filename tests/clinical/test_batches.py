"""Batches that survive the night: fifty kills, two hundred cases in flat memory, a cluster of two workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.inference.batches import tiny_bundle, write_broken, write_scans
from tests.inference.killed import contents, exit_status, start

pytestmark = pytest.mark.clinical

KILLS = 50
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


def words(folder: Path, bundle: Path, *more: str) -> list[str]:
    return [str(folder), "--bundle", str(bundle), "--device", "cpu", "--jobs", "2", "--no-report", *more]


def test_fifty_runs_killed_at_random_moments_are_resumed_to_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    write_scans(tmp_path / "in", 12)
    given = words(tmp_path / "in", bundle)
    exit_status([*given, "-o", str(tmp_path / "warm")])  # the server of processes is there from now on
    since = monotonic()
    assert exit_status([*given, "-o", str(tmp_path / "undisturbed")]) == 0
    lasts, undisturbed = monotonic() - since, contents(tmp_path / "undisturbed")
    chance, statuses = random.Random(0), []
    for k in range(KILLS):
        out = tmp_path / f"killed_{k}"
        process = start([*given, "-o", str(out)])
        process.join(chance.uniform(0.3, 1) * lasts)
        process.kill()
        process.join()
        statuses.append(process.exitcode)
        assert exit_status([*given, "-o", str(out), "--resume"]) == 0
        assert contents(out) == undisturbed, f"the kill of number {k} shows"
    assert statuses.count(-signal.SIGKILL) > KILLS / 2  # the others had ended before


def test_two_hundred_cases_need_no_more_memory_than_twenty(
    bundle: Path, tmp_path: Path, write_series: Callable[..., list[Path]]
) -> None:
    peaks = {}
    for number in (20, 200):
        folder, out = tmp_path / f"in_{number}", tmp_path / f"out_{number}"
        codes = write_broken(folder, write_series) if number == 200 else {}
        write_scans(folder, number - len(codes), shape=(160, 160, 60))
        peaks[number], status = peak_mb([*words(folder, bundle), "-o", str(out)])
        rows = (out / "cases.csv").read_text().splitlines()[1:]
        assert status == (1 if codes else 0)
        assert sum(",ok," in row for row in rows) == number - len(codes)
        assert sum(",failed," in row for row in rows) == len(codes)
    assert peaks[200] < 1.1 * peaks[20], peaks


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines with one core each, on this one."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # workers stand behind all else on a machine by default
    machine = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    try:
        cluster.add_node(**machine)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    finally:
        cluster.shutdown()


def test_a_cluster_of_two_gives_the_same_bytes_and_outlives_the_loss_of_a_worker(
    cluster: Any, bundle: Path, tmp_path: Path
) -> None:
    write_scans(tmp_path / "in", 12)
    (tmp_path / "in/bad.nii.gz").write_bytes(b"no scan")
    given, out = words(tmp_path / "in", bundle), tmp_path / "cluster"
    assert exit_status([*given, "-o", str(tmp_path / "alone")]) == 1
    command = [sys.executable, "-c", "from pipeline.cli.app import app; app()", "segment", *given, "-o", str(out)]
    process = subprocess.Popen([*command, "--engine", "ray"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob("*.nii.gz")):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    os.kill(workers(cluster)[0], signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == 1, said
    assert "2 workers on the cluster" in said
    assert contents(out) == contents(tmp_path / "alone")


def workers(cluster: Any) -> list[int]:
    """The processes of its workers."""
    parents = {each.process.pid for node in cluster.list_all_nodes() for each in node.all_processes["raylet"]}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in parents and (path / "cmdline").read_bytes().startswith(b"ray::Worker"):
                found.append(int(path.name))
    return found


def peak_mb(given: list[str]) -> tuple[float, int]:
    """The peak memory of `evoseg segment` in a process of its own, and its exit status."""
    command = [sys.executable, "-c", "from pipeline.cli.app import app; app()", "segment", *given]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    return used.ru_maxrss / 1000, os.waitstatus_to_exitcode(status)
