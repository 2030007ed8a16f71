"""The tools that evaluation.py compares: each takes two label maps and the spacing, and gives the same measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TOLERANCE_MM = 2.0
METRICS = ("dice", "hd", "hd95", "assd", "nsd")

Found = dict[tuple[int, str], float]
Tool = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], Found]


def ours(surface: str) -> Tool:
    def evaluate(prediction, reference, spacing_mm) -> Found:
        from pipeline.metrics.labels import evaluate_labels

        metrics = (*METRICS, "masd") if surface == "surfel" else METRICS
        rows = evaluate_labels(
            prediction, reference, spacing_mm, [1, 2], surface=surface, tolerance_mm=TOLERANCE_MM, metrics=metrics,
            missing="inf",
        )  # fmt: skip
        return {(row.label, row.metric): row.value for row in rows}

    return evaluate


def without_numba(surface: str) -> Tool:
    def evaluate(prediction, reference, spacing_mm) -> Found:
        from pipeline.metrics import maps, points

        compiled = maps.compiled
        maps.compiled = points.compiled = lambda _: None
        try:
            return ours(surface)(prediction, reference, spacing_mm)
        finally:
            maps.compiled = points.compiled = compiled

    return evaluate


def monai(prediction, reference, spacing_mm) -> Found:
    import monai.metrics as rival
    import torch

    torch.set_num_threads(1)
    one_hot = [
        torch.from_numpy(np.stack([each == label for label in range(3)])[None]).float()
        for each in (prediction, reference)
    ]
    found = {
        "dice": rival.compute_dice(*one_hot, include_background=False),
        "hd": rival.compute_hausdorff_distance(*one_hot, spacing=spacing_mm),
        "hd95": rival.compute_hausdorff_distance(*one_hot, spacing=spacing_mm, percentile=95),
        "assd": rival.compute_average_surface_distance(*one_hot, spacing=spacing_mm, symmetric=True),
        "nsd": rival.compute_surface_dice(*one_hot, [TOLERANCE_MM] * 2, spacing=spacing_mm),
    }
    return {(k + 1, metric): float(value) for metric, row in found.items() for k, value in enumerate(row[0])}


def surface_distance(prediction, reference, spacing_mm) -> Found:
    np.Inf, np.NaN = np.inf, np.nan  # it asks for the names of NumPy 1
    import surface_distance as rival

    found: Found = {}
    for label in (1, 2):
        masks = reference == label, prediction == label
        distances = rival.compute_surface_distances(*masks, spacing_mm)
        found[label, "dice"] = rival.compute_dice_coefficient(*masks)
        found[label, "hd"] = rival.compute_robust_hausdorff(distances, 100)
        found[label, "hd95"] = rival.compute_robust_hausdorff(distances, 95)
        found[label, "masd"] = float(np.mean(rival.compute_average_surface_distance(distances)))
        found[label, "nsd"] = rival.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM)
    return found


TOOLS: dict[str, Tool] = {
    "voxel": ours("voxel"),
    "voxel, no numba": without_numba("voxel"),
    "monai": monai,
    "surfel": ours("surfel"),
    "surfel, no numba": without_numba("surfel"),
    "surface-distance": surface_distance,
}
