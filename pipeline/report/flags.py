"""What each flag of cases.csv means, in a sentence for the reader of a report."""

from __future__ import annotations

FLAGS = {
    "EMPTY": "nothing was found of this label",
    "TOUCHES_BORDER": "the label reaches the edge of the image: it is cut off there",
    "IMPLAUSIBLE_SIZE": "no whole one of these is as small or as large: a part of it, or something else",
    "FRAGMENTS": "the label lies in more parts than it has in a patient",
    "PARTS_LEFT_OUT": "small parts, more than a hundredth of the label, were left out (--all-parts keeps them)",
    "FIELD_OF_VIEW": "the scan is wider or narrower than those that the bundle was trained on",
    "FEW_SLICES": "an excerpt or a localizer",
    "SIDE_UNSURE": "a part lies near the plane between the body's left and right, or across it",
    "EMPTY_INITIAL": "there was no contour to refine: the result is the bundle's own",
    "GREY_PICTURE": "a picture without colours for a bundle that was trained on colours",
    "COLOURED_PICTURE": "a picture with colours for a bundle of grey pictures, which sees its luminance",
    "CENTER_ON_BACKGROUND": "a centre was given where the network sees no object",
    "STAR_CHANGED": "the star about its centre is far from what the network sees",
    "MODALITY": "the header names this modality, and the bundle takes another",
    "TILTED": "the gantry was tilted, and the network saw the slices as if they lay above one another",
    "SMALLER_BATCHES": "the GPU's memory was too small: it had less of the scan at once, for the same labels",
    "CPU_FALLBACK": "the GPU's memory was too small: the CPU has done this case",
    "HU_RANGE": "hardly Hounsfield units: almost no voxel has the value of air",
}


def meaning(flag: str) -> str:
    """Of EMPTY:kidney that of EMPTY; empty for a flag of a later version."""
    return FLAGS.get(flag.partition(":")[0], "")
