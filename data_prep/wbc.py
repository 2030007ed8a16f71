"""White blood cells, dataset 1 (Zheng et al., Fast and robust segmentation of WBC images, Micron 107, 2018).

Official: the repository's folder "Dataset 1" with 001.bmp and its mask 001.png: 255 nucleus, 128 cytoplasm. The ids are
d1_001, ... 112 and 139 are one picture with two masks.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from data_prep.picture_layout import COLOUR, Picture, PictureSet, folder_with, from_row, index_rows
from data_prep.picture_read import classes_by_value

FOLDER = "Dataset 1"


def find(source: Path) -> PictureSet:
    """Every picture of dataset 1; InputError when `source` is laid out otherwise."""
    rows = index_rows(source, ["class", "dataset"])
    root = source if rows is not None else folder_with(source, FOLDER)
    return PictureSet(
        name="WBC",
        root=root,
        channels=COLOUR,
        labels={1: "cytoplasm", 2: "nucleus"},
        read_label=partial(classes_by_value, values={128: 1, 255: 2}),
        pictures=_official(root / FOLDER)
        if rows is None
        else tuple(from_row(source, row, category=row["class"]) for row in rows if row["dataset"] == "1"),
        protocol="drawn at random, one in ten for testing (paper: 270 / 30)",
        test_share=0.1,
    )


def _official(folder: Path) -> tuple[Picture, ...]:
    numbers = sorted({path.stem for path in folder.iterdir() if path.stem.isdigit()})
    return tuple(
        Picture(id=f"d1_{number}", image=folder / f"{number}.bmp", masks=(folder / f"{number}.png",))
        for number in numbers
    )
