"""CPU seconds and memory of one scan on its way through a bundle (read, network, export, write), beside MONAI's.

    python tests/benchmarks/volume_road.py SCAN.nii.gz [BUNDLE]

The rival is the bundle's own inference.yaml run by MONAI's engine: the same network and the same slices, but MONAI's
reading, orientation, scaling, inversion and saving. One thread, process CPU seconds, least of three runs; memory is the
growth of the process's peak over what it holds with the model loaded, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

RUNS = 3
DEFAULT_BUNDLE = "kidney_ct_regression_segmentation"


class Stopwatch:
    """CPU seconds by stage; the network's are taken by hooks and subtracted from the stage around it."""

    def __init__(self, network) -> None:
        self.seconds = {"network": 0.0}
        network.register_forward_pre_hook(lambda *_: setattr(self, "started", time.process_time()))
        network.register_forward_hook(self._network_done)

    def _network_done(self, *_: object) -> None:
        self.seconds["network"] += time.process_time() - self.started

    def run(self, stage: str, work: Callable):
        start, network = time.process_time(), self.seconds["network"]
        result = work()
        self.seconds[stage] = time.process_time() - start - (self.seconds["network"] - network)
        return result


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def ours(scan: Path, bundle: str) -> dict[str, float]:
    from pipeline.inference.segmenter import Segmenter
    from pipeline.io.discover import find_cases, read_case
    from pipeline.io.write import write_labels

    segmenter = Segmenter.from_bundle(bundle, device="cpu")
    watch, before = Stopwatch(segmenter.network), peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        (case,) = watch.run("find", lambda: find_cases(scan))
        image = watch.run("read", lambda: read_case(case))
        held = peak_mb()
        found = watch.run("export", lambda: segmenter(image))
        watch.run("write", lambda: write_labels(Path(folder) / "labels.nii.gz", found.labels, source=case))
    return watch.seconds | {"memory_mb": peak_mb() - before, "memory_beyond_scan_mb": peak_mb() - held}


def monai(scan: Path, bundle: str) -> dict[str, float]:
    from monai.bundle import ConfigParser

    from pipeline.data.roots import bundle as find_bundle

    with tempfile.TemporaryDirectory() as folder:
        parser = ConfigParser()
        parser.read_config(str(Path(find_bundle(bundle)) / "configs" / "inference.yaml"))
        parser.config["dataset_dir"], parser.config["output_dir"] = str(scan.parent), folder
        parser.config["device"] = "cpu"
        parser.config["dataset"]["data"] = [{"image": str(scan)}]
        parser.parse(True)
        network = parser.get_parsed_content("network")
        watch, before = Stopwatch(network), peak_mb()
        evaluator = parser.get_parsed_content("evaluator")
        watch.run("all but network", evaluator.run)
    return watch.seconds | {"memory_mb": peak_mb() - before}


def measured(work: Callable, scan: Path, bundle: str, answers) -> None:
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    answers.put(work(scan, bundle))


def in_own_process(work: Callable, scan: Path, bundle: str) -> dict[str, float]:
    """The least of RUNS runs of each figure, each run in a fresh process."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    runs = []
    for _ in range(RUNS):
        process = context.Process(target=measured, args=(work, scan, bundle, answers))
        process.start()
        runs.append(answers.get(timeout=600))
        process.join()
    return {name: min(run[name] for run in runs) for name in runs[0]}


def main(scan: Path, bundle: str = DEFAULT_BUNDLE) -> None:
    for work in (ours, monai):
        figures = in_own_process(work, scan, bundle)
        if work is ours:
            figures["all but network"] = sum(figures[stage] for stage in ("find", "read", "export", "write"))
        for name, value in figures.items():
            unit = "MB" if name.startswith("memory") else "CPU s"
            sys.stdout.write(f"{work.__name__:6} {name:24} {value:8.2f} {unit}\n")


if __name__ == "__main__":
    DEMO = Path(__file__).parents[1] / "data" / "demo" / "trunk.nii.gz"
    main(*([Path(sys.argv[1]), *sys.argv[2:]] if sys.argv[1:] else [DEMO]))
