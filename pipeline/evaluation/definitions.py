"""What every figure in the tables means, in the words that stand beside them."""

from __future__ import annotations

from collections.abc import Mapping

# P, R: the voxels of a label in prediction and reference; d: distances from the surface points of one to the other.
_LABELS: Mapping[str, str] = {
    "dice": "2 |P n R| / (|P| + |R|)",
    "iou": "|P n R| / |P u R|",
    "precision": "|P n R| / |P|",
    "recall": "|P n R| / |R|",
    "accuracy": "share of all voxels that are in both or in neither",
    "volume_difference": "volume of P minus volume of R",
    "hd": "Hausdorff distance, max d over both directions",
    "hd95": "the larger of the 95th percentiles of d of the two directions",
    "hd95_pooled": "95th percentile of d of both directions together",
    "assd": "mean of d over the points of both surfaces",
    "masd": "mean of the two directed means of d",
    "nsd": "normalised surface distance: share of both surfaces with d within the tolerance",
    "boundary_f1": "harmonic mean of the shares of either surface with d within the tolerance",
}
_INSTANCES: Mapping[str, str] = {
    "ap": "mean over IoU thresholds 0.50, 0.55 ... 0.95 of TP / (TP + FP + FN) (Data Science Bowl 2018)",
    "ap50": "TP / (TP + FP + FN), matched at IoU > 0.5",
    "ap75": "TP / (TP + FP + FN), matched at IoU > 0.75",
    "pq": "panoptic quality: sum of IoU of the matched / (TP + FP/2 + FN/2), IoU > 0.5",
    "sq": "mean IoU of the matched objects; none without a match",
    "rq": "F1 of objects matched at IoU > 0.5",
    "aji": "aggregated Jaccard index (Kumar 2017)",
    "object_f1": "F1 of objects, GlaS contest: a match covers more than half of the reference's object",
    "object_dice": "Dice of objects weighted by area, GlaS contest",
    "object_hausdorff": "Hausdorff distance of objects weighted by area, GlaS contest",
    "count_error": "objects predicted minus objects in the reference",
}
_SALIENCY: Mapping[str, str] = {
    "weighted_f_beta": "weighted F-beta (Margolin 2014), beta^2 = 1",
    "adaptive_f_beta": "F-beta of {map >= min(2 mean, 1)} (Achanta 2009), beta^2 = 0.3",
    "mae": "mean absolute difference of map and mask over all pixels",
}
DEFINITIONS: Mapping[str, Mapping[str, str]] = {"labels": _LABELS, "instances": _INSTANCES, "saliency": _SALIENCY}

# What is computed once from the sums over all cases, not averaged over them.
POOLED: Mapping[str, str] = {
    "iou": "IoU of the voxels of all cases together (instances: of all objects as one; saliency: at the adaptive "
    "threshold)",
    "dice": "Dice of the same",
    "ap50": "as ap50, of the objects of all cases together",
    "pq": "as pq, of the objects of all cases together",
    "object_f1": "as object_f1, of the objects of all cases together",
    "adaptive_f_beta": "as adaptive_f_beta, of the pixels of all cases together",
}
_MISSING: Mapping[str, str] = {
    "diagonal": "the diagonal of the image",
    "inf": "infinite",
    "nan": "left out (nan)",
}


def policy(kind: str, missing: str | None) -> str:
    """The sentence about empty maps. kind: a key of DEFINITIONS; missing: what stands for distances, None: none do."""
    one_sided = "Missed (in the reference only) and false alarm (in the prediction only): shares are 0"
    if missing is not None:
        one_sided += f", distances {_MISSING[missing]}"
    always = {"labels": "", "instances": " but the count's error", "saliency": " but the mean absolute difference"}
    return f"{one_sided}. Both empty: no score{always[kind]}; n says how many have one."
