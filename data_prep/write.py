"""What a dataset folder holds: three volumes per case and dataset.json. Every file appears whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from data_prep.folds import Split
from data_prep.grid import values_in
from data_prep.layout import Dataset
from data_prep.recipe import INT16, Example, Recipe
from pipeline.io.json_file import write_json
from pipeline.io.nifti import write_nifti
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

KINDS = ("images", "labels", "distances")
ENDING = ".nii.gz"
STEPS_PER_PIXEL = 32  # distances are stored to 1/32 pixel, up to +-1023 pixels; farther ones are stored as that


def write_example(example: Example, out: Path, id: str) -> None:
    """Write the image, the label (uint8) and the distance of a case."""
    write_nifti(out / "images" / f"{id}{ENDING}", example.image)
    write_nifti(out / "labels" / f"{id}{ENDING}", example.label)
    write_distance(out / "distances" / f"{id}{ENDING}", example.distance)


def write_distance(path: Path, distance: Volume) -> None:
    """Write a distance in pixels as int16 with scl_slope 1/32: half the size of float32, and any reader gets pixels."""
    steps = np.rint(distance.array * STEPS_PER_PIXEL).clip(INT16.min, INT16.max).astype(np.int16)
    image = nib.Nifti1Image(steps, distance.affine)
    image.header.set_slope_inter(1 / STEPS_PER_PIXEL, 0)
    image.set_sform(distance.affine, code=1)
    image.set_qform(distance.affine, code=1)
    with whole_file(path) as temporary:
        temporary.write_bytes(igzip.compress(image.to_bytes(), 1, mtime=0))  # equal input, equal bytes


def facts(example: Example) -> dict[str, Any]:
    """What dataset.json says of a case and only its voxels know."""
    return {
        "slices": example.label.spatial_shape[2],
        "slices_with_foreground": int(example.label.array.any(axis=(0, 1)).sum()),
        "values": values_in(example.label.array),
    }


def write_dataset(
    out: Path,
    dataset: Dataset,
    *,
    recipe: Recipe,
    split: Split,
    cases: Mapping[str, Mapping[str, Any]],
    assignment: Mapping[str, tuple[str, int]],
) -> None:
    """Write dataset.json. cases: id -> `facts`; assignment: id -> (patient, fold)."""
    settings = recipe.as_json()
    entries = [
        {
            "id": id,
            "patient": assignment[id][0],
            **{kind[:-1]: f"{kind}/{id}{ENDING}" for kind in KINDS},
            "fold": assignment[id][1],
            "slices": case["slices"],
            "slices_with_foreground": case["slices_with_foreground"],
        }
        for id, case in sorted(cases.items())
    ]
    content = {
        "name": dataset.name,
        "modality": dataset.modality,
        "channels": list(dataset.channels),
        "labels": {str(value): name for value, name in _label_names(dataset, recipe, cases).items()},
        **{name: settings[name] for name in ("window", "size", "spacing")},
        "seed": split.seed,
        "folds": split.folds,
        "cases": entries,
    }
    write_json(out / "dataset.json", content)


def _label_names(dataset: Dataset, recipe: Recipe, cases: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """Output value -> name: as --label says, else as the dataset does, else label_V for every value met."""
    if recipe.labels is not None:
        return dict(enumerate(["background", *recipe.labels]))
    if dataset.labels is not None:
        return {0: "background", **dataset.labels}
    met = sorted({value for case in cases.values() for value in case["values"]})
    return {0: "background", **{value: f"label_{value}" for value in met}}
