"""A batch on every machine of a Ray cluster: a worker with one network on each, or on each of its GPUs.

evoseg is installed on every machine, and input and output lie under the same paths there (a shared file system); the
network travels with the batch. RAY_ADDRESS names the cluster, else the one of this machine is used or begun. A worker
that is lost is begun anew and its cases with it, each once; a case that loses its worker again is WORKER_LOST.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.inference.engines import AHEAD, BREATH_S, PATIENCE_S
from pipeline.inference.plan import Draw, Plan, Prompts
from pipeline.inference.stages import Outcome, Stages, Task, result_of

try:
    import ray
    from ray.exceptions import RayActorError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError:  # told by Actors, so that the module is read and documented where Ray is not
    ray = None

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)


class Worker:
    """What a machine does: `stages.Stages` with a network of its own."""

    def __init__(self, segmenter: Segmenter, plan: Plan, prompts: Prompts | None, draw: Draw | None) -> None:
        from pipeline.inference.devices import chosen_device  # here: it imports torch

        device = chosen_device("cpu" if plan.device == "cpu" else "auto")  # Ray shows a worker its own GPU only
        segmenter = replace(segmenter, network=segmenter.network.to(device), device=device)
        self._stages = Stages(segmenter, prompts=prompts, draw=draw, jobs=plan.jobs, timeout_s=plan.timeout_s)

    def carry(self, task: Task) -> Outcome | None:
        return self._stages(task)

    def stop(self) -> None:
        self._stages.stop()


class Actors:
    """engines.Line on a cluster: as many tasks at a worker as it may hold images. InputError: Ray is not installed."""

    def __init__(
        self,
        segmenter: Segmenter,
        tasks: Iterable[Task],
        plan: Plan,
        *,
        prompts: Prompts | None = None,
        draw: Draw | None = None,
    ) -> None:
        if ray is None:
            raise InputError("--engine ray needs Ray: pip install 'evoseg[ray]', or leave out --engine")
        if not ray.is_initialized():
            ray.init(log_to_driver=False, configure_logging=False)
        import torch

        on_cpu = replace(segmenter, network=segmenter.network.cpu(), device=torch.device("cpu"))
        given = [ray.put(each) for each in (on_cpu, plan, prompts, draw)]
        self._tasks, self._most, self._stopped = iter(tasks), plan.jobs + AHEAD, False
        # One more thread takes the order to stop.
        made = ray.remote(max_restarts=-1, max_task_retries=1, max_concurrency=self._most + 1)(Worker)
        self._workers = [made.options(**place).remote(*given) for place in _places(plan.device)]
        logger.info("%d workers on the cluster", len(self._workers))
        self._flying: dict[Any, tuple[Any, Task]] = {}

    def __iter__(self) -> Actors:
        return self

    def __next__(self) -> Outcome:
        while True:
            self._start()
            if not self._flying:
                raise StopIteration
            outcome = self._wait()
            if outcome is not None:
                return outcome

    def stop(self) -> None:
        self._stopped = True
        for worker in self._workers:
            worker.stop.remote()

    def close(self) -> None:
        for worker in self._workers:
            ray.kill(worker)

    def _start(self) -> None:
        while not self._stopped:
            held = [worker for worker, _ in self._flying.values()]
            worker = min(self._workers, key=held.count)
            if held.count(worker) >= self._most:
                return
            task = next(self._tasks, None)
            if task is None:
                return
            self._flying[worker.carry.remote(task)] = (worker, task)

    def _wait(self) -> Outcome | None:
        """StopIteration: the run was stopped, and nothing has come for too long."""
        since = monotonic()
        while not self._stopped or monotonic() - since < PATIENCE_S:
            landed, _ = ray.wait(list(self._flying), timeout=BREATH_S)
            if landed:
                _, task = self._flying.pop(landed[0])
                return _outcome(landed[0], task)
        logger.debug("%d cases are left behind", len(self._flying))
        raise StopIteration


def _outcome(reference: Any, task: Task) -> Outcome | None:
    try:
        return ray.get(reference)
    except RayActorError as error:
        message = "the worker that had it was lost twice: look for memory on that machine, then go on with --resume"
        logger.debug("%s", task.case.id, exc_info=error)
        return Outcome(result_of(task.case, "failed", code="WORKER_LOST", message=message))


def _places(device: str) -> list[dict[str, Any]]:
    """Where the workers go: one on each GPU of the cluster, or one with all cores on each machine if there is none.

    InputError: a cluster without machines, or without GPUs where `device` names one.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    with_gpu = [node for node in nodes if device != "cpu" and node["Resources"].get("GPU", 0) >= 1]
    if not nodes or (device.startswith("cuda") and not with_gpu):
        raise InputError(f"--engine ray --device {device}: the cluster has no machine with that; see `ray status`")
    places = []
    for node in with_gpu or nodes:
        number = int(node["Resources"]["GPU"]) if with_gpu else 1
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        cores = max(1, int(node["Resources"]["CPU"]) // number)
        places += [{"num_cpus": cores, "num_gpus": int(bool(with_gpu)), "scheduling_strategy": strategy}] * number
    return places
