"""Skin lesions in dermoscopy: ISIC 2018 task 1 (arXiv 1902.03368) and ISBI 2016 part 1 (arXiv 1605.01397).

Official 2018: ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg with
ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png; Validation and Test, where they are, likewise.
Official 2016: ISBI2016_ISIC_Part1_Training_Data with ISBI2016_ISIC_Part1_Training_GroundTruth; Test likewise.
index.csv: `split_2016` marks the pictures of the 2016 challenge; the others stand in no part.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.picture_layout import COLOUR, Part, Picture, PictureSet, folder_with, from_row, index_rows, paired
from data_prep.picture_read import union
from pipeline.errors import InputError

OF_2016 = ("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth", "{id}_Segmentation.png")
OF_2018 = ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth", "{id}_segmentation.png")
SUBSETS: dict[str, Part] = {"Training": "train", "Validation": "stop", "Test": "test"}


def find(source: Path) -> PictureSet:
    """Every picture of `source`; InputError when it is laid out otherwise, or holds both challenges."""
    rows = index_rows(source, ["class", "split_2016"])
    if rows is None:
        root, pictures = _official(source)
    else:
        root, pictures = source, tuple(_indexed(source, row) for row in rows)
    return PictureSet(
        name="ISIC 2018",
        root=root,
        channels=COLOUR,
        labels={1: "lesion"},
        read_label=union,
        pictures=pictures,
        protocol="the challenge's parts (ISBI 2016: 900 / 379); where its test part is absent, one in five is drawn",
    )


def _indexed(source: Path, row: dict[str, str]) -> Picture:
    subset = row["split_2016"]
    part = subset if subset in SUBSETS.values() else None
    return from_row(source, row, category=row["class"], part=part, subset=subset and f"2016 {subset}")


def _official(source: Path) -> tuple[Path, tuple[Picture, ...]]:
    root = folder_with(source, "IS*_Training_*", "IS*_Training_GroundTruth")
    layouts = [layout for layout in (OF_2016, OF_2018) if (root / layout[0].format("Training")).is_dir()]
    if len(layouts) != 1:
        raise InputError(f"{root} must hold the folders of one challenge, ISIC 2018 or ISBI 2016: move the others away")
    images, masks, mask_name = layouts[0]
    has_test = (root / images.format("Test")).is_dir() and (root / masks.format("Test")).is_dir()
    pictures = [
        picture
        for subset, part in SUBSETS.items()
        if (root / masks.format(subset)).is_dir()
        for picture in paired(
            root / images.format(subset),
            root / masks.format(subset),
            mask_name,
            part=part if has_test else None,
            subset=subset,
        )
    ]
    return root, tuple(pictures)
