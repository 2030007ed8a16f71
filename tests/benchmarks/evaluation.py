"""CPU seconds and memory of all surface measures of a pair of label maps, beside those of MONAI and surface-distance.

    python tests/benchmarks/evaluation.py [LABELS] [--cases 4] [--runs 3] [--write]

LABELS: a folder of .nii.gz label maps (KiTS19; by default ../shared/data/kits19_labels beside the checkout). Each is
compared with itself after a seeded error (tests/benchmarks/perturb.py). Dice, HD, HD95, ASSD and NSD at 2 mm of every
label. One thread, process CPU seconds, the tools take turns in one process and the least of the runs counts; memory is
the growth of the peak (Linux) in a process of its own that holds the two maps. --write: into results/evaluation.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from surface_tools import TOOLS, Found, Tool

HERE = Path(__file__).resolve().parent
LABELS = HERE.parents[1] / ".." / "shared" / "data" / "kits19_labels"
RESULT = HERE / "results" / "evaluation.md"
MOST_SLICES_FOR_MONAI = 700  # beyond, its one-hot maps take over 8 GB
COMMAND = "python tests/benchmarks/evaluation.py"


def load(path: Path):
    from pipeline.io.discover import read_file
    from pipeline.io.pixels import as_labels

    volume = read_file(path)
    return as_labels(volume.array).astype(np.uint8, copy=False), volume.spacing_mm


def timed(tool: Tool, pair) -> tuple[float, Found]:
    start = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = tool(*pair)
    return time.process_time() - start, found


def memory_mb(name: str, files: tuple[Path, Path]) -> float:
    """Growth of the peak by one call, after a call on a crop that loads the libraries."""
    (prediction, spacing_mm), (reference, _) = load(files[0]), load(files[1])
    timed(TOOLS[name], (prediction[:9, :9, :9], reference[:9, :9, :9], spacing_mm))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = kilobytes("VmRSS")
    timed(TOOLS[name], (prediction, reference, spacing_mm))
    return (kilobytes("VmHWM") - before) / 1000


def kilobytes(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0])


def in_own_process(work: Callable, *arguments) -> float:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def reads_and_evaluates(files: list[tuple[Path, Path]]) -> float:
    from pipeline.metrics.jit import compile_all

    compile_all()
    start = time.process_time()
    for prediction, reference in files:
        (predicted, spacing_mm), (referred, _) = load(prediction), load(reference)
        TOOLS["voxel"](predicted, referred, spacing_mm)
    return time.process_time() - start


def first_calls() -> tuple[float, float]:
    """CPU seconds until the kernels are there: with nothing cached, and from the cache; numba's import included."""
    script = "import time; from pipeline.metrics.jit import compile_all; compile_all(); print(time.process_time())"
    with tempfile.TemporaryDirectory() as cache:
        environ = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(HERE.parents[1])}
        runs = [subprocess.run([sys.executable, "-c", script], env=environ, stdout=-1, check=True) for _ in range(2)]
    return float(runs[0].stdout), float(runs[1].stdout)


def perturbed_files(sources: list[Path], folder: Path) -> list[tuple[Path, Path, str]]:
    """Each map and the kind of its perturbed copy, which is written into `folder`: (prediction, reference, kind)."""
    import nibabel
    from perturb import KINDS, perturbed

    files = []
    for seed, source in enumerate(sources):
        image = nibabel.load(source)
        labels = np.asarray(image.dataobj).astype(np.uint8, copy=False)
        kind = KINDS[seed % len(KINDS)]
        changed = perturbed(labels, tuple(map(float, image.header.get_zooms())), kind, seed)
        nibabel.save(nibabel.Nifti1Image(changed, image.affine), folder / source.name)
        files.append((folder / source.name, source, kind))
    return files


def disagreement(ours_found: Found, theirs: Found) -> float:
    """The largest difference of what both computed; where a mask is empty only we go on (policy), so finite only."""
    common = [key for key in theirs.keys() & ours_found.keys() if np.isfinite(theirs[key])]
    return max((abs(ours_found[key] - theirs[key]) for key in common), default=0.0)


def bench_case(files: tuple[Path, Path], runs: int) -> dict[str, dict[str, float]]:
    """For each tool that took part: seconds, memory_mb, and how far its values are from those of its rival."""
    (prediction, spacing_mm), (reference, _) = load(files[0]), load(files[1])
    slices = prediction.shape[0]  # KiTS19 stores them along the first axis
    names = [name for name in TOOLS if name != "monai" or slices <= MOST_SLICES_FOR_MONAI]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, Found] = {}
    for name in names:  # what is loaded or compiled once is not the case's
        timed(TOOLS[name], (prediction[:9, :9, :9], reference[:9, :9, :9], spacing_mm))
    for run in range(runs):
        for name in names:
            if run and name == "monai" and seconds[name][0] > 10:
                continue  # the noise of a shared machine is small beside it
            took, found[name] = timed(TOOLS[name], (prediction, reference, spacing_mm))
            seconds[name].append(took)
    rivals = {"voxel": "monai", "surfel": "surface-distance"}
    result: dict[str, dict[str, float]] = {"case": {"slices": slices}}
    for name in names:
        rival = rivals.get(name.split(",")[0])
        apart = disagreement(found[name], found[rival]) if rival in found else float("nan")
        memory = in_own_process(memory_mb, name, files)
        result[name] = {"seconds": min(seconds[name]), "memory_mb": memory, "apart": apart}
    return result


def row(name: str, kind: str, result: dict[str, dict[str, float]]) -> str:
    cells = [name, str(result["case"]["slices"]), kind]
    for tool in TOOLS:
        of = result.get(tool)
        cells.append(f"{of['seconds']:.3f} s, {of['memory_mb']:.0f} MB" if of else "-")
    for tool, rival in (("voxel", "monai"), ("voxel, no numba", "monai"), ("surfel", "surface-distance")):
        faster = result[rival]["seconds"] / result[tool]["seconds"] if rival in result else float("nan")
        cells.append(f"{faster:.0f}" if faster > 20 else f"{faster:.1f}")
    cells += [f"{result[tool]['apart']:.1e}" for tool in ("voxel", "surfel")]
    return f"| {' | '.join(cells)} |"


def verdicts(results: list[dict[str, dict[str, float]]], whole: float) -> list[str]:
    """Every figure to reach, what was reached, and whether that is a win or a loss."""

    def faster(tool: str, rival: str) -> list[float]:
        return [each[rival]["seconds"] / each[tool]["seconds"] for each in results if rival in each]

    def most(tool: str, what: str, slices: int) -> float:
        return max((each[tool][what] for each in results if each["case"]["slices"] <= slices), default=float("nan"))

    voxel, plain, surfel = (
        faster("voxel", "monai"),
        faster("voxel, no numba", "monai"),
        faster("surfel", "surface-distance"),
    )
    first, again = first_calls()
    bars = [
        ("voxel, times faster than monai, median", statistics.median(voxel), 60, True),
        ("voxel, times faster than monai, least", min(voxel), 35, True),
        ("voxel without numba, times faster than monai, median", statistics.median(plain), 15, True),
        ("surfel, times faster than surface-distance, median", statistics.median(surfel), 6, True),
        ("surfel, times faster than surface-distance, least", min(surfel), 4.5, True),
        ("voxel, CPU s, most to 105 slices", most("voxel", "seconds", 105), 0.05, False),
        ("voxel, CPU s, most to 700 slices", most("voxel", "seconds", 700), 0.5, False),
        ("surfel, CPU s, most to 105 slices", most("surfel", "seconds", 105), 0.1, False),
        ("surfel, CPU s, most to 700 slices", most("surfel", "seconds", 700), 1.0, False),
        ("voxel, MB beside the maps, most", most("voxel", "memory_mb", 9999), 100, False),
        ("surfel, MB beside the maps, most", most("surfel", "memory_mb", 9999), 250, False),
        (
            "voxel, furthest from monai, mm",
            max(each["voxel"]["apart"] for each in results if "monai" in each),
            2e-5,
            False,
        ),
        ("surfel, furthest from surface-distance, mm", max(each["surfel"]["apart"] for each in results), 1e-9, False),
        (f"{len(results)} pairs read and evaluated, voxel, CPU s", whole, 4, False),
    ]
    lines = ["| figure | to reach | reached | |", "|---|---|---|---|"]
    for name, bar, reached, at_least in ((name, bar, reached, up) for name, reached, bar, up in bars):
        won = reached >= bar if at_least else reached <= bar
        sign = "at least" if at_least else "at most"
        lines.append(f"| {name} | {sign} {bar:g} | {reached:.3g} | {'win' if won else '**loss**'} |")
    lines.append(f"| kernels in a fresh environment, compiled, CPU s (numba's import included) | - | {first:.1f} | |")
    lines.append(f"| kernels from the cache, CPU s (numba's import included) | - | {again:.2f} | |")
    return lines


def versions() -> str:
    from importlib.metadata import version

    names = ("numpy", "scipy", "numba", "monai", "torch", "surface-distance")
    return ", ".join(f"{name} {version(name)}" for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path, default=LABELS)
    parser.add_argument("--cases", type=int, help="only so many, from small to large")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    sources = sorted(given.labels.glob("*.nii.gz"), key=lambda path: path.stat().st_size)
    if not sources:
        parser.error(f"{given.labels} holds no .nii.gz label maps")
    if given.cases:
        sources = sources[:: max(1, len(sources) // given.cases)][: given.cases]
    head = [
        "case",
        "slices",
        "error",
        *TOOLS,
        "voxel: times",
        "no numba: times",
        "surfel: times",
        "voxel: mm",
        "surfel: mm",
    ]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    machine = f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    results = []
    with tempfile.TemporaryDirectory() as folder:
        files = perturbed_files(sources, Path(folder))
        for prediction, reference, kind in files:
            results.append(bench_case((prediction, reference), given.runs))
            lines.append(row(reference.name.split("_seg")[0], kind, results[-1]))
            sys.stderr.write(lines[-1] + "\n")
        whole = in_own_process(reads_and_evaluates, [(each[0], each[1]) for each in files])
    lines += [
        "",
        *verdicts(results, whole),
    ]
    command, method = f"{COMMAND} --runs {given.runs} --write", (__doc__ or "").split("\n\n")[2].strip()
    text = "\n".join([f"`{command}`: {versions()}; {machine}", "", method, "", *lines])
    sys.stdout.write(text + "\n")
    if given.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(f"# Evaluation, measured\n\n{text}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
