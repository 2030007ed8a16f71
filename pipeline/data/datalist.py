"""Which cases a run sees: a prepared dataset's dataset.json, its stored folds, and an inner part for early stopping."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.io.json_file import read_json

Part = Literal["train", "stop", "test", "all"]
REQUIRED = {"id", "patient", "fold", "image", "label"}


def cases(
    dataset_dir: str | Path, part: Part, *, fold: int | None = None, stop_patients: int = 1, seed: int = 0
) -> list[dict[str, Any]]:
    """The cases of one part of a prepared dataset, each {"id", "patient", "image", "label", ...} with full paths.

    part: "test" = the patients of `fold`; "train" and "stop" = the others, `stop_patients` of whom (drawn with `seed`,
        the same on every call) are kept from training and decide when to stop; "all" = everybody.
    fold: None trains on every patient but the stopping ones, and nobody is left to test on.
    """
    described = _read(Path(dataset_dir))
    everyone = described["cases"]
    if part == "all":
        return everyone
    if fold is not None and fold not in {case["fold"] for case in everyone}:
        raise InputError(
            f"fold {fold} is not among the folds of {dataset_dir}: {sorted({c['fold'] for c in everyone})}"
        )
    if part == "test":
        return [case for case in everyone if case["fold"] == fold]
    rest = [case for case in everyone if case["fold"] != fold]
    patients = sorted({case["patient"] for case in rest})
    if len(patients) <= stop_patients:
        raise InputError(
            f"{dataset_dir} has {len(patients)} patients outside fold {fold}, more than {stop_patients} are needed"
        )
    stopping = set(random.Random(seed).sample(patients, stop_patients))
    return [case for case in rest if (case["patient"] in stopping) == (part == "stop")]


def _read(folder: Path) -> dict[str, Any]:
    """dataset.json with the paths of its cases made full, checked so that training fails here and not in a worker."""
    described_in = folder / "dataset.json"
    if not described_in.is_file():
        raise InputError(f"{described_in} does not exist: make the dataset with `evoseg prepare ... -o {folder}`")
    described = read_json(described_in)
    listed = described.get("cases")
    if not listed:
        raise InputError(f"{described_in} lists no cases: prepare it again from a source that holds some")
    if not isinstance(listed, list) or not all(isinstance(case, dict) and case.keys() >= REQUIRED for case in listed):
        raise InputError(f"{described_in}: each case needs {', '.join(sorted(REQUIRED))}: run `evoseg prepare` again")
    for case in listed:
        for key in ("image", "label", "distance"):
            if key in case:
                case[key] = str(folder / case[key])
                if not Path(case[key]).is_file():
                    raise InputError(
                        f"{case[key]}, named in {described_in}, does not exist: run `evoseg prepare` again"
                    )
    return described


def images(folder: str | Path) -> list[dict[str, str]]:
    """The NIfTI files anywhere below `folder` as [{"image": path}], for a bundle's inference by MONAI's engine."""
    found = sorted(str(path) for path in Path(folder).rglob("*") if path.name.endswith((".nii", ".nii.gz")))
    if not found:
        raise InputError(
            f"{folder} holds no .nii or .nii.gz: give --dataset_dir, or use `evoseg segment` for other formats"
        )
    return [{"image": path} for path in found]
