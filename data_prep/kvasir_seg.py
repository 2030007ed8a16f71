"""Kvasir-SEG, polyps in colonoscopy (Jha et al., Kvasir-SEG: a segmented polyp dataset, arXiv 1911.07069).

Official: Kvasir-SEG/images/ID.jpg with masks/ID.jpg, whose JPEG noise a threshold of 128 removes.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.picture_layout import COLOUR, PictureSet, folder_with, from_row, index_rows, paired
from data_prep.picture_read import union


def find(source: Path) -> PictureSet:
    """Every picture of `source`; InputError when it is laid out otherwise."""
    rows = index_rows(source)
    root = source if rows is not None else folder_with(source, "images", "masks")
    return PictureSet(
        name="Kvasir-SEG",
        root=root,
        channels=COLOUR,
        labels={1: "polyp"},
        read_label=union,
        pictures=paired(root / "images", root / "masks", "{id}.jpg")
        if rows is None
        else tuple(from_row(source, row) for row in rows),
        protocol="drawn at random, one in five for testing (paper: 800 / 200); no patients known",
    )
