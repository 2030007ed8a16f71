"""BUSI, breast ultrasound (Al-Dhabyani et al., Dataset of breast ultrasound images, Data in Brief 28, 2020).

Official: Dataset_BUSI_with_GT/{benign,malignant,normal}/"benign (1).png" with "benign (1)_mask.png" and, where there
are several lesions, "benign (1)_mask_1.png", ...: their union is the label. The ids are benign_1, ...
Normal breasts are prepared with their empty masks but set aside: they teach no lesion and have no Dice, and serve to
report false alarms. benign (433) is malignant (145), pixel for pixel.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from data_prep.picture_layout import GREY, Picture, PictureSet, folder_with, from_row, index_rows
from data_prep.picture_read import union

CATEGORIES = ("benign", "malignant", "normal")
FILE = re.compile(r"(benign|malignant|normal) \((\d+)\)(_mask(?:_\d+)?)?\.png", re.IGNORECASE)


def find(source: Path) -> PictureSet:
    """Every picture, normal ones with the category "normal"; InputError when `source` is laid out otherwise."""
    rows = index_rows(source, ["class"])
    if rows is None:
        root = folder_with(source, *CATEGORIES)
        pictures = _official(root)
    else:
        root, pictures = source, tuple(from_row(source, row, category=row["class"]) for row in rows)
    return PictureSet(
        name="BUSI",
        root=root,
        channels=GREY,
        labels={1: "lesion"},
        read_label=union,
        pictures=pictures,
        protocol="drawn at random from the lesions, as many for testing as in the paper (129 of 647)",
        test_share=129 / 647,
        aside=("normal",),
    )


def _official(root: Path) -> tuple[Picture, ...]:
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for category in CATEGORIES for path in (root / category).iterdir()):
        match = FILE.fullmatch(path.name)
        if match is None:
            continue
        id = f"{match[1].lower()}_{match[2]}"
        if match[3]:
            masks[id].append(path)
        else:
            images[id] = path
    return tuple(
        Picture(
            id=id,
            image=images.get(id, _expected(root, id, "")),
            masks=tuple(masks.get(id, [_expected(root, id, "_mask")])),
            category=id.split("_")[0],
        )
        for id in sorted(images.keys() | masks)
    )


def _expected(root: Path, id: str, ending: str) -> Path:
    category, number = id.split("_")
    return root / category / f"{category} ({number}){ending}.png"
