"""GlaS, glands of the colon (Sirinukunwattana et al., Gland segmentation in colon histology images, MedIA 35, 2017).

Official: the folder Warwick_QU_Dataset... with train_1.bmp, testA_1.bmp, testB_1.bmp, ..., the gland ids in
train_1_anno.bmp, and Grade.csv (name, patient ID, grade). The challenge divided by picture: 11 of the 12 patients of
its test parts are in the training part too. Folds are by patient.
"""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.picture_layout import (
    COLOUR,
    Part,
    Picture,
    PictureSet,
    folder_with,
    from_row,
    index_rows,
    paired,
    read_rows,
)
from data_prep.picture_read import instances_by_value
from pipeline.errors import InputError

PARTS: dict[str, Part] = {"train": "train", "testA": "test", "testB": "test"}
GRADES = "Grade.csv"


def find(source: Path) -> PictureSet:
    """Every picture with its patient; InputError when `source` is laid out otherwise."""
    rows = index_rows(source, ["class", "split", "patient_id"])
    if rows is None:
        root = folder_with(source, GRADES, "*_anno.bmp")
        pictures = _official(root)
    else:
        root, pictures = source, tuple(_indexed(source, row) for row in rows)
    return PictureSet(
        name="GlaS",
        root=root,
        channels=COLOUR,
        labels={1: "gland"},
        read_label=instances_by_value,
        pictures=pictures,
        protocol="MICCAI 2015: train 85, test A 60 and B 20; by picture: 11 of the 12 test patients are in train too",
        instances=True,
    )


def _indexed(source: Path, row: dict[str, str]) -> Picture:
    part, patient = PARTS.get(row["split"]), f"patient_{row['patient_id']}"
    return from_row(source, row, patient=patient, category=row["class"], part=part, subset=row["split"])


def _official(root: Path) -> tuple[Picture, ...]:
    rows = read_rows(root / GRADES, ("name", "patient ID", "grade (GlaS)"))
    told = {row["name"]: row for row in rows}
    pictures = []
    for found in paired(root, root, "{id}_anno.bmp"):
        id = found.id
        if id.endswith("_anno"):
            continue
        if id not in told:
            raise InputError(f"{root / GRADES} has no row for {id}: without its patient it cannot be put into a fold")
        subset = re.sub(r"_\d+$", "", id)
        pictures.append(
            Picture(
                id=id,
                image=root / f"{id}.bmp",
                masks=found.masks,
                patient=f"patient_{told[id]['patient ID']}",
                category=told[id]["grade (GlaS)"],
                part=PARTS.get(subset),
                subset=subset,
            )
        )
    return tuple(pictures)
