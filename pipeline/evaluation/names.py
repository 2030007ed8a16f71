"""What lies beside label maps and says what they hold: the names of labels, the patients of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.io.json_file import read_json

FILES = ("dataset.json", "run.json")  # of `evoseg prepare`, nnU-Net and the Decathlon; of `evoseg segment`


def label_names(*roots: Path) -> dict[int, str] | None:
    """Label -> name, background left out, by the files beside the maps; None where there are none.

    InputError: two files that disagree.
    """
    names: dict[int, str] = {}
    for path in _described_in(roots):
        for label, name in _labels(read_json(path), path).items():
            if names.get(label, name) != name or (label not in names and name in names.values()):
                raise InputError(f"{path} says label {label} is {name}, other files say {names}: name them by --labels")
            names[label] = name
    return dict(sorted(names.items())) or None


def patients(*roots: Path) -> dict[str, str]:
    """Case -> patient, by a dataset.json beside the maps; empty where there is none, or it names no patients."""
    found: dict[str, str] = {}
    for path in _described_in(roots):
        cases = read_json(path).get("cases")
        for case in cases if isinstance(cases, list) else ():
            if isinstance(case, Mapping) and "id" in case and "patient" in case:
                found[str(case["id"])] = str(case["patient"])
    return found


def _described_in(roots: Sequence[Path]) -> list[Path]:
    """The files that there are, in the folders of the maps or above (a dataset's labels lie in labels/)."""
    folders = [root if root.is_dir() else root.parent for root in roots]
    candidates = [place / name for folder in folders for place in (folder, folder.resolve().parent) for name in FILES]
    return list({path.resolve(): path for path in candidates if path.is_file()}.values())


def _labels(described: Mapping[str, Any], path: Path) -> dict[int, str]:
    """{"1": "kidney"} and {"kidney": 1} alike; a file that names no labels says nothing."""
    labels = described.get("labels", {})
    names: dict[int, str] = {}
    for key, value in labels.items() if isinstance(labels, Mapping) else ():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if not (str(number).isdecimal() and isinstance(name, str)):
            raise InputError(
                f"{path} names labels as {key}: {value}, which is no number and name: say them by --labels"
            )
        if int(number) > 0:
            names[int(number)] = name
    return names
