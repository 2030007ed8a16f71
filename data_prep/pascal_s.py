"""PASCAL-S, salient objects in 850 photographs of PASCAL VOC (Li et al., The Secrets of Salient Object Segmentation,
CVPR 2014).

Official (salObj): datasets/imgs/pascal/1.jpg with datasets/masks/pascal/1.png, whose grey levels are the share of the
people asked who chose a region: `--threshold` decides (Valle et al. 2019 take 0 in their table 2 and 0.5 in table 3).
"""

from __future__ import annotations

from pathlib import Path

from data_prep.picture_layout import COLOUR, PictureSet, folder_with, from_row, index_rows, paired
from data_prep.picture_read import clear_cut


def find(source: Path) -> PictureSet:
    """Every picture of `source`, all to be tested on; InputError when it is laid out otherwise."""
    rows = index_rows(source)
    root = source if rows is not None else folder_with(source, "imgs/pascal", "masks/pascal")
    return PictureSet(
        name="PASCAL-S",
        root=root,
        channels=COLOUR,
        labels={1: "salient object"},
        read_label=clear_cut,
        pictures=paired(root / "imgs/pascal", root / "masks/pascal", part="test")
        if rows is None
        else tuple(from_row(source, row, part="test") for row in rows),
        grey_masks=True,
        protocol="a test set, as in the papers",
    )
