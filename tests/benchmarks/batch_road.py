"""CPU seconds a case of `evoseg segment` on a batch of large scans, beside its network's, and how much of it is hidden.

    python tests/benchmarks/batch_road.py [--cases 20] [--bundle NAME] [--md FILE]

The scans are synthetic: int16 .nii.gz, 131 slices of 512 x 512, 0.78 x 0.78 x 3 mm, the smooth tissue with noise of
12 HU in air of clinical_io.py, rolled by some rows from scan to scan. A network finds little in that, and what is empty
is exported for nothing: two discs of kidneys' size are put into its answer on every slice, more than any patient has.
The command runs as it is typed, with pictures and report, on the CPU, in a process of its own; torch has one thread
there, so that the CPU seconds of the network are those of its thread, from its first layer to its last. All is counted
from the moment when the bundle is loaded to the last line of the log, the imports that come later included; loading:
bundle_road.py. Not hidden is the wall time during which the network was not at work. Bar: 3 CPU s a case beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

BUNDLE = "kidney_ct_regression_segmentation"
SLICES, BAR_S = 131, 3.0


def write_scans(folder: Path, cases: int) -> None:
    from pipeline.io.nifti import write_nifti
    from pipeline.io.volume import Volume
    from tests.benchmarks.clinical_io import affine, scan

    stack = scan()[:SLICES].T  # x, y, z
    for k in range(cases):
        write_nifti(folder / f"scan_{k:02d}.nii.gz", Volume(np.roll(stack, 5 * k, axis=1), affine()))


class Watch:
    """The seconds of a network's thread, and when it was there: (CPU, wall)."""

    def __init__(self, network: Any) -> None:
        self.network, self.started = np.zeros(2), np.zeros(2)
        network.register_forward_pre_hook(lambda *_: setattr(self, "started", self.now(time.thread_time)))
        network.register_forward_hook(self._done)
        self.begun = self.now(time.process_time)

    def _done(self, network: Any, images: Any, answer: Any) -> None:
        self.network += self.now(time.thread_time) - self.started
        x, y = (np.linspace(-1, 1, n) for n in answer.shape[-2:])
        for centre in (-0.4, 0.4):
            rows, columns = np.nonzero(np.hypot(x[:, None] - centre, y) < 0.12)
            answer[..., rows, columns] = 1.0

    @staticmethod
    def now(cpu: Any) -> np.ndarray:
        return np.array([cpu(), time.perf_counter()])


def run_job(scans: Path, out: Path, bundle: str) -> None:
    """Prints the CPU and wall seconds of all and of the network."""
    from pipeline.cli.app import app
    from pipeline.inference.segmenter import Segmenter

    load, watches = Segmenter.from_bundle, []

    def loaded(*given: Any, **options: Any) -> Segmenter:
        segmenter = load(*given, **options)
        watches.append(Watch(segmenter.network))
        return segmenter

    Segmenter.from_bundle = loaded
    try:
        app(["segment", str(scans), "-o", str(out), "--bundle", bundle, "--device", "cpu"])
    except SystemExit as ended:
        assert not ended.code, ended.code
    (watch,) = watches
    whole = Watch.now(time.process_time) - watch.begun
    sys.stdout.write(json.dumps([*whole, *watch.network]) + "\n")


def table(cases: int, figures: list[float]) -> list[str]:
    whole, wall, network, network_wall = (value / cases for value in figures)
    rows = {
        "all": (whole, wall),
        "network": (network, network_wall),
        f"the rest (bar: {BAR_S:g} CPU s), and what of it was not hidden": (whole - network, wall - network_wall),
    }
    lines = [f"| {cases} scans, a case | CPU s | wall s |", "|---|---|---|"]
    return lines + [f"| {name} | {cpu:.2f} | {seconds:.2f} |" for name, (cpu, seconds) in rows.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--bundle", default=BUNDLE)
    parser.add_argument("--md", type=Path)
    parser.add_argument("--job", nargs=2, type=Path)
    asked = parser.parse_args()
    if asked.job:
        run_job(*asked.job, asked.bundle)
        return
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    with tempfile.TemporaryDirectory() as folder:
        scans, out = Path(folder, "scans"), Path(folder, "out")
        write_scans(scans, asked.cases)
        command = [sys.executable, __file__, "--job", str(scans), str(out), "--bundle", asked.bundle]
        ran = subprocess.run(command, env={**os.environ, **one_thread}, stdout=subprocess.PIPE, text=True, check=True)
    lines = table(asked.cases, json.loads(ran.stdout.splitlines()[-1]))
    lines.append(f"\n{os.cpu_count()} cores, load average at the end {os.getloadavg()[0]:.1f}")
    sys.stdout.write("\n".join(lines) + "\n")
    if asked.md:
        asked.md.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
