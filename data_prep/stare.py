"""STARE, vessels of the retina (Hoover et al., Locating blood vessels in retinal images, IEEE TMI 19(3), 2000).

Official: stare-images/im0001.ppm.gz with the first observer's labels-ah/im0001.ah.ppm.gz, packed or not, in folders of
these names. The twenty pictures are divided into the five folds that the paper's authors used; fold 0 is its test set.
"""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.picture_layout import COLOUR, Part, Picture, PictureSet, folder_with, from_row, index_rows
from data_prep.picture_read import union

IMAGES, LABELS = "stare-images", "labels-ah"
FOLDS = (
    ("im0004", "im0077", "im0139", "im0235"),
    ("im0001", "im0082", "im0236", "im0291"),
    ("im0003", "im0005", "im0162", "im0239"),
    ("im0163", "im0240", "im0319", "im0324"),
    ("im0002", "im0044", "im0081", "im0255"),
)
FOLD_OF = {id: fold for fold, ids in enumerate(FOLDS) for id in ids}


def find(source: Path) -> PictureSet:
    """The twenty labelled pictures; InputError when `source` is laid out otherwise."""
    rows = index_rows(source, ["repo_test_fold"])
    if rows is None:
        root = folder_with(source, IMAGES, LABELS)
        pictures = tuple(_official(root, id) for id in sorted(FOLD_OF))
    else:
        root, pictures = source, tuple(_placed(source, row) for row in rows)
    return PictureSet(
        name="STARE",
        root=root,
        channels=COLOUR,
        labels={1: "vessel"},
        read_label=union,
        pictures=pictures,
        protocol="the five folds of four that the paper's authors used; fold 0 is the test part (16 / 4)",
    )


def _official(root: Path, id: str) -> Picture:
    image = _packed_or_not(root / IMAGES / f"{id}.ppm")
    mask = _packed_or_not(root / LABELS / f"{id}.ah.ppm")
    return Picture(id=id, image=image, masks=(mask,), fold=FOLD_OF[id], part=_part(FOLD_OF[id]))


def _placed(source: Path, row: dict[str, str]) -> Picture:
    given = row["repo_test_fold"]
    fold = int(given) - 1 if re.fullmatch("[1-9]", given) else FOLD_OF[row["id"]]
    return from_row(source, row, fold=fold, part=_part(fold))


def _part(fold: int) -> Part:
    return "test" if fold == 0 else "train"


def _packed_or_not(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")
