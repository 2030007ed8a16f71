"""Which cases a run sees: a prepared dataset's stored folds or stored split, and an inner part for early stopping."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.io.json_file import read_json

Part = Literal["train", "stop", "test", "all"]
REQUIRED = {"id", "patient", "fold", "image", "label"}


def cases(
    dataset_dir: str | Path,
    part: Part,
    *,
    fold: int | Literal["split"] | None = None,
    stop_patients: float = 1,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The cases of one part of a prepared dataset, each {"id", "patient", "image", "label", ...} with full paths.

    part: "test" = the patients of `fold`; "train" and "stop" = the others, `stop_patients` of whom (drawn with `seed`,
        the same on every call) are kept from training and decide when to stop; "all" = everybody.
    fold: "split" takes the parts that the dataset stores, and draws the stopping patients only if it stores none; cases
        in none of its parts are in "all" alone. None trains on every patient but the stopping ones, and nobody is left
        to test on.
    stop_patients: their number or, below 1, their share of the patients outside the test part, one at least.
    classes: the values of "class" to take; None takes all but those that the dataset sets aside (normal breasts, which
        have nothing to segment: name them to report false alarms).
    InputError: a fold, split or class that the dataset does not have, or too few patients.
    """
    described = _read(Path(dataset_dir))
    everyone = _of_classes(described, classes, dataset_dir)
    if part == "all":
        return everyone
    rest, test = _divided(everyone, fold, dataset_dir)
    if part == "test":
        return test
    if fold == "split" and any(case["split"] == "stop" for case in rest):
        return [case for case in rest if case["split"] == part]
    patients = sorted({case["patient"] for case in rest})
    stopping = max(1, round(stop_patients * len(patients))) if 0 < stop_patients < 1 else round(stop_patients)
    if len(patients) <= stopping:
        raise InputError(
            f"{dataset_dir} has {len(patients)} patients outside fold {fold}, more than {stopping} are needed"
        )
    drawn = set(random.Random(seed).sample(patients, stopping))
    return [case for case in rest if (case["patient"] in drawn) == (part == "stop")]


def balanced(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases in their order, those of rare kinds several times, one behind the other: each of a kind of n cases

        round(sqrt(N / n)) times, N the cases of the most frequent kind.

    A kind is one "class" and one "source_shape": pictures of one size come from one microscope, mostly. So rare kinds
    count for the square root of their number, and each repetition is augmented in its own way.
    """
    kinds = [(case.get("class"), *case.get("source_shape", ())) for case in listed]
    counts = Counter(kinds)
    most = max(counts.values(), default=0)
    return [
        case for case, kind in zip(listed, kinds, strict=True) for _ in range(round(math.sqrt(most / counts[kind])))
    ]


def _of_classes(described: dict[str, Any], classes: Sequence[str] | None, folder: str | Path) -> list[dict[str, Any]]:
    listed = described["cases"]
    if classes is None:
        aside = described.get("aside", [])
        return [case for case in listed if case.get("class") not in aside]
    known = {case["class"] for case in listed if "class" in case}
    if isinstance(classes, str) or not set(classes) <= known:
        raise InputError(f"classes {classes!r}: give a list of those of {folder}: {sorted(known)}")
    return [case for case in listed if case.get("class") in classes]


def _divided(
    everyone: list[dict[str, Any]], fold: int | Literal["split"] | None, folder: str | Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training with stopping cases, and test cases."""
    if fold == "split":
        placed = [case for case in everyone if "split" in case]
        if not placed:
            raise InputError(f"{folder} stores no split into train and test: give the number of a fold")
        return [c for c in placed if c["split"] != "test"], [c for c in placed if c["split"] == "test"]
    folds = sorted({case["fold"] for case in everyone})
    if fold is not None and fold not in folds:
        raise InputError(f"fold {fold} is not among the folds of {folder}: {folds}")
    return [c for c in everyone if c["fold"] != fold], [c for c in everyone if c["fold"] == fold]


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
