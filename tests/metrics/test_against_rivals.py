"""The figures are those of MONAI (voxel) and of DeepMind's surface-distance (surfel), where these are installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pipeline.metrics.labels import compare_labels, evaluate_labels
from pipeline.metrics.surface import mean_average_distance, surface_dice

CASES = [((7, 16, 9), (3.0, 0.5, 2.0)), ((40, 50, 20), (0.7, 0.7, 5.0)), ((50, 64), (0.3, 0.8)), ((5, 8), (1.0, 1.0))]


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_voxel_surfaces_are_those_of_monai(way, random_maps, shape, spacing) -> None:
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    if way == "interpreted" and np.prod(shape) > 5000:
        pytest.skip("too many voxels for plain Python")
    prediction, reference = random_maps(5, shape)
    ours = {(row.label, row.metric): row.value for row in evaluate_labels(prediction, reference, spacing)}
    one_hot = [torch.from_numpy(np.stack([each == k for k in range(4)])[None]) for each in (prediction, reference)]
    theirs = {
        "dice": monai.compute_dice(*one_hot, include_background=False),
        "iou": monai.compute_iou(*one_hot, include_background=False),
        "hd": monai.compute_hausdorff_distance(*one_hot, spacing=spacing),
        "hd95": monai.compute_hausdorff_distance(*one_hot, spacing=spacing, percentile=95),
        "assd": monai.compute_average_surface_distance(*one_hot, spacing=spacing, symmetric=True),
        "nsd": monai.compute_surface_dice(*one_hot, [1.0] * 3, spacing=spacing),
    }
    for metric, values in theirs.items():
        for label, value in zip((1, 2, 3), values[0].tolist(), strict=True):
            assert ours[label, metric] == pytest.approx(value, abs=2e-5), (label, metric)


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_surfels_are_those_of_surface_distance(way, random_maps, shape, spacing, monkeypatch) -> None:
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # the rival asks for names that NumPy 2 has not
    rival = pytest.importorskip("surface_distance")
    if way == "interpreted" and np.prod(shape) > 5000:
        pytest.skip("too many voxels for plain Python")
    prediction, reference = random_maps(6, shape)
    surfaces = compare_labels(prediction, reference, spacing, surface="surfel").surfaces
    rows = evaluate_labels(prediction, reference, spacing, surface="surfel")
    ours = {(row.label, row.metric): row.value for row in rows}
    for label in (1, 2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            theirs = rival.compute_surface_distances(reference == label, prediction == label, spacing)
        for metric, percent in (("hd", 100), ("hd95", 95)):
            assert ours[label, metric] == pytest.approx(rival.compute_robust_hausdorff(theirs, percent), abs=1e-9)
        means = rival.compute_average_surface_distance(theirs)
        assert mean_average_distance(surfaces[label]) == pytest.approx(np.mean(means), abs=1e-9)
        for tolerance_mm in (0.0, 0.5, 1.0, 3.0):
            expected = rival.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
            assert surface_dice(surfaces[label], tolerance_mm) == pytest.approx(expected, abs=1e-9)
