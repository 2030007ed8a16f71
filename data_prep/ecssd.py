"""ECSSD, salient objects in photographs (Shi et al., Hierarchical Image Saliency Detection on Extended CSSD, 2016).

Official: images/0001.jpg with ground_truth_mask/0001.png.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.picture_layout import COLOUR, PictureSet, folder_with, from_row, index_rows, paired
from data_prep.picture_read import clear_cut


def find(source: Path) -> PictureSet:
    """Every picture of `source`; InputError when it is laid out otherwise."""
    rows = index_rows(source)
    root = source if rows is not None else folder_with(source, "images", "ground_truth_mask")
    return PictureSet(
        name="ECSSD",
        root=root,
        channels=COLOUR,
        labels={1: "salient object"},
        read_label=clear_cut,
        pictures=paired(root / "images", root / "ground_truth_mask")
        if rows is None
        else tuple(from_row(source, row) for row in rows),
        grey_masks=True,
        protocol="drawn at random, one in five for testing; in the papers ECSSD is a test set only",
    )
