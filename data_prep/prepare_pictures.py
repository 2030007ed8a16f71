"""From a folder of pictures to a dataset folder.

OUT/images/ID.png         grey or colour, 8 bit
OUT/labels/ID.png         0 and the labels' values, 8 bit; instance ids, 16 bit
OUT/dataset.json          labels, settings, folds, the split into train, stop and test, one entry per picture
OUT/provenance.json       where each picture came from, which one was refused and why
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_prep.folds import Split
from data_prep.picture_layout import Picture, PictureSet
from data_prep.picture_read import require_picture
from data_prep.picture_recipe import PictureExample, example
from data_prep.provenance import Provenance, fingerprints
from data_prep.recipe import Recipe
from data_prep.splits import Place, places
from data_prep.work import Prepared, Track, work_through
from pipeline.errors import InputError
from pipeline.io.image2d import write_image
from pipeline.io.json_file import write_json
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

KINDS = ("images", "labels")
ENDING = ".png"


def prepare_pictures(
    layout: str, dataset: PictureSet, out: Path, *, source: Path, recipe: Recipe, split: Split, track: Track
) -> Prepared:
    """Prepare every picture of the dataset into `out`.

    recipe: its `size` and, for masks with grey levels, its `threshold`; InputError when it asks for what these pictures
    do not have, or for more folds than patients.
    """
    _require_for_pictures(recipe, dataset)
    places(dataset, {}, split)  # refuses too many folds before anything is written
    arguments: dict[str, Any] = {"layout": layout, "channels": list(dataset.channels), "size": recipe.size}
    if recipe.threshold is not None:
        arguments["threshold"] = recipe.threshold
    provenance = Provenance(out, source.resolve().name, arguments, split.as_json(), kinds=KINDS, ending=ENDING)
    provenance.forget_all_but({picture.id for picture in dataset.pictures})
    prepared = work_through(
        dataset.pictures,
        lambda picture: _prepare_picture(dataset, picture, recipe, provenance),
        provenance=provenance,
        root=dataset.root,
        track=track,
    )
    pixels = {id: case["pixels"] for id, case in provenance.cases.items()}
    described = _described(dataset, provenance.cases, places(dataset, pixels, split), size=recipe.size, split=split)
    write_json(out / "dataset.json", described)
    return prepared


def _require_for_pictures(recipe: Recipe, dataset: PictureSet) -> None:
    for flag, value in (("--window", recipe.window), ("--spacing", recipe.spacing_mm), ("--label", recipe.labels)):
        if value is not None:
            raise InputError(f"{flag} is for volumes: of these settings a dataset of pictures takes --size only")
    if recipe.threshold is not None and not dataset.grey_masks:
        raise InputError(f"--threshold is for masks with grey levels, those of {dataset.name} have none: leave it out")


def _prepare_picture(dataset: PictureSet, picture: Picture, recipe: Recipe, provenance: Provenance) -> bool:
    """Write the two files of a picture; False when they are there already, made from the same source files."""
    require_picture(picture)
    sources = fingerprints(dataset.root, (picture.image, *picture.masks))
    if provenance.is_current(picture.id, sources):
        return False
    made = example(dataset, picture, recipe.size, threshold=recipe.threshold)
    with whole_file(provenance.file("images", picture.id)) as part:
        Image.fromarray(made.image).save(part, format="PNG")
    write_image(provenance.file("labels", picture.id), Volume(made.label, np.eye(3)))
    provenance.record(picture.id, sources, _facts(dataset, made))
    return True


def _facts(dataset: PictureSet, made: PictureExample) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "pixels": made.pixels,
        "source_shape": list(made.source_shape),
        "foreground": round(float((made.label > 0).mean()), 6),
    }
    if dataset.instances:
        facts["instances"] = int((np.unique(made.label) > 0).sum())
    return facts


def _described(
    dataset: PictureSet,
    cases: Mapping[str, Mapping[str, Any]],
    placed: Mapping[str, Place],
    *,
    size: int | None,
    split: Split,
) -> dict[str, Any]:
    """The content of dataset.json."""
    pictures = [picture for picture in sorted(dataset.pictures, key=lambda p: p.id) if picture.id in cases]
    return {
        "name": dataset.name,
        "modality": "grey" if len(dataset.channels) == 1 else "RGB",
        "channels": list(dataset.channels),
        "labels": {"0": "background", **{str(value): name for value, name in dataset.labels.items()}},
        "instances": dataset.instances,
        "size": size,
        "seed": split.seed,
        "folds": len({place.fold for place in placed.values()}),
        "split": dataset.protocol,
        "aside": list(dataset.aside),
        "cases": [_entry(picture, placed[picture.id], cases[picture.id]) for picture in pictures],
    }


def _entry(picture: Picture, place: Place, facts: Mapping[str, Any]) -> dict[str, Any]:
    told = {"class": picture.category, "split": place.part, "subset": picture.subset}
    return {
        "id": picture.id,
        "patient": place.patient,
        "fold": place.fold,
        **{key: value for key, value in told.items() if value},
        **{kind[:-1]: f"{kind}/{picture.id}{ENDING}" for kind in KINDS},
        **{key: facts[key] for key in ("source_shape", "foreground", "instances") if key in facts},
    }
