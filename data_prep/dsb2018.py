"""Nuclei, Data Science Bowl 2018, BBBC038 (Caicedo et al., Nucleus segmentation across imaging experiments, 2019).

Official: stage1_train/ID/images/ID.png with stage1_train/ID/masks/*.png, one nucleus each; stage1_test/ID likewise, or
with its labels in stage1_solution.csv (ImageId, EncodedPixels, Height, Width, a row a nucleus), without which the test
pictures are left out, which is logged. index.csv: masks that hold the ids themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.picture_layout import COLOUR, Part, Picture, PictureSet, folder_with, from_row, index_rows, read_rows
from data_prep.picture_read import instances_by_file, instances_by_value
from pipeline.errors import CaseError

logger = logging.getLogger(__name__)

PARTS: dict[str, Part] = {"stage1_train": "train", "stage1_test": "test"}
SOLUTION = "stage1_solution.csv"
Runs = dict[str, list[dict[str, str]]]  # ImageId -> its rows of the solution


def find(source: Path) -> PictureSet:
    """Every labelled picture; InputError when `source` is laid out otherwise."""
    rows = index_rows(source, ["class", "split"])
    if rows is None:
        root = folder_with(source, "stage1_train")
        runs = _solution(root / SOLUTION)
        pictures = _official(root, runs)
        read_label: Callable[[Picture], NDArray] = partial(_official_label, runs=runs)
    else:
        root, read_label = source, instances_by_value
        pictures = tuple(
            from_row(source, row, category=row["class"], part=PARTS.get(row["split"]), subset=row["split"])
            for row in rows
        )
    return PictureSet(
        name="Data Science Bowl 2018",
        root=root,
        channels=COLOUR,
        labels={1: "nucleus"},
        read_label=read_label,
        pictures=pictures,
        protocol="the competition's stage 1 (670 / 65); where its test part is absent, one in five is drawn",
        instances=True,
    )


def _official(root: Path, runs: Runs) -> tuple[Picture, ...]:
    pictures, unlabelled = [], 0
    for subset, part in PARTS.items():
        folders = sorted(path for path in (root / subset).glob("*") if path.is_dir())
        for folder in folders:
            masks = tuple(sorted((folder / "masks").glob("*.png")))
            if not masks and folder.name in runs:
                masks = (root / SOLUTION,)
            elif not masks and part == "test":
                unlabelled += 1
                continue
            image = folder / "images" / f"{folder.name}.png"
            expected = masks or (folder / "masks" / "*.png",)
            pictures.append(Picture(id=folder.name, image=image, masks=expected, part=part, subset=subset))
    if unlabelled:
        logger.info("Pictures of stage1_test, left out for want of masks or %s: %d", SOLUTION, unlabelled)
    has_test = any(picture.part == "test" for picture in pictures)
    return tuple(pictures) if has_test else tuple(_without_part(picture) for picture in pictures)


def _without_part(picture: Picture) -> Picture:
    return Picture(id=picture.id, image=picture.image, masks=picture.masks, subset=picture.subset)


def _solution(path: Path) -> Runs:
    runs: Runs = {}
    for row in read_rows(path, ("ImageId", "EncodedPixels", "Height", "Width")) if path.is_file() else []:
        runs.setdefault(row["ImageId"], []).append(row)
    return runs


def _official_label(picture: Picture, runs: Runs) -> NDArray[np.uint16]:
    if picture.masks[0].suffix != ".csv":
        return instances_by_file(picture)
    try:
        return _painted(runs[picture.id])
    except ValueError as error:  # no numbers, an odd count of them, runs beyond the picture
        raise CaseError("BAD_LABELS", f"{SOLUTION} is damaged at {picture.id} ({error}): fetch it again") from error


def _painted(rows: list[dict[str, str]]) -> NDArray[np.uint16]:
    """Runs are pairs (start, length), counted from 1 down the columns."""
    height, width = int(rows[0]["Height"]), int(rows[0]["Width"])
    ids = np.zeros(height * width, np.uint16)
    for id, row in enumerate(rows, start=1):
        pairs = np.array([int(number) for number in row["EncodedPixels"].split()]).reshape(-1, 2)
        for start, length in pairs:
            if not 1 <= start <= start + length - 1 <= ids.size:
                raise ValueError(f"the run {start} {length} leaves the {height} x {width} pixels")
            ids[start - 1 : start - 1 + length] = id
    return ids.reshape(width, height).T
