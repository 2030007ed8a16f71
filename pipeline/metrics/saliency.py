"""Scores of a probability map against a binary reference: weighted F-beta, adaptive F-beta, mean absolute error.

With G the reference's pixels, D the map and E = |D - G|, weighted F-beta (Margolin 2014) is

    E_t   E inside G; outside G the E of the nearest pixel of G                                            (1)
    E_A   E_t * K,   K a 7 x 7 Gaussian of sigma 5, zeros beyond the image                                 (2)
    E_w   min(E, E_A) inside G: an error among right neighbours counts less                                (3)
          E (2 - 2^(-d/5)) outside G, d pixels from it: a false alarm far away counts more
    TP = |G| - sum_G E_w,   FP = sum_outside E_w,   R = TP / |G|,   P = TP / (TP + FP)                      (4)
    F  = (1 + beta^2) P R / (beta^2 P + R)                                                                 (5)

Where two pixels of G are equally near, (1) takes either: flipping both images moves the score by up to 1e-4, more on
images of less than 100 pixels.
Adaptive F-beta (Achanta 2009) is (5) of the binary map {D >= min(2 mean D, 1)} with beta^2 = 0.3.

The reference is `reference > threshold`. A map that is 0 everywhere against a reference that is not is a miss and has
the score 0: not that of its adaptive threshold 0, which calls every pixel foreground, nor the little that zeros beyond
the image's edge leave in (2). A map against an empty reference is a false alarm: 0. Both empty: nan, as in `overlap`.

References: Margolin, Zelnik-Manor, Tal, How to evaluate foreground maps?, CVPR 2014; Achanta, Hemami, Estrada,
Süsstrunk, Frequency-tuned salient region detection, CVPR 2009. Values are used as given: no stretching to 0..1 first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, distance_transform_edt

from pipeline.metrics.overlap import Overlap

RADIUS = 3
SIGMA = 5.0
HALF_DISTANCE = 5.0  # pixels from the reference at which half of the extra weight of a false alarm is reached
EPSILON = np.finfo(float).eps


def weighted_f_beta(
    prediction: NDArray, reference: NDArray, *, beta_squared: float = 1.0, threshold: float = 0.5
) -> float:
    """Weighted F-beta, equations (1) to (5), of a map (H, W) in 0..1 against a reference (H, W) in 0..1.

    beta_squared: 1 as published; 0.3 in some copies of the published code.
    Raises ValueError for another shape, values outside 0..1 or nan.
    """
    prediction, inside = _checked(prediction, reference, threshold)
    if inside.ndim != 2:
        raise ValueError(f"maps of shape {inside.shape} are not (H, W): weighted F-beta is defined on images")
    found, present = bool(prediction.any()), bool(inside.any())
    if not (found and present):
        return 0.0 if found or present else float("nan")
    window = _window(inside | (prediction > 0), inside)
    prediction, inside = prediction[window], inside[window]
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    rows, columns = (np.arange(length, dtype=nearest.dtype) for length in inside.shape)
    squared_distance = (nearest[0] - rows[:, None]) ** 2 + (nearest[1] - columns) ** 2
    size = int(np.count_nonzero(inside))
    true_positives = size - _error_inside(prediction, nearest, squared_distance)
    false_positives = _error_outside(prediction, squared_distance)
    recall = true_positives / size
    precision = true_positives / (EPSILON + true_positives + false_positives)
    return float((1 + beta_squared) * recall * precision / (EPSILON + recall + beta_squared * precision))


def adaptive_overlap(prediction: NDArray, reference: NDArray, *, threshold: float = 0.5) -> Overlap:
    """Pixel counts of {prediction >= min(2 mean, 1)} against {reference > threshold}; both of one shape, in 0..1.

    The counts of the images of a set add up to those of the set. An empty map (all 0) has no foreground.
    """
    prediction, inside = _checked(prediction, reference, threshold)
    found = prediction >= min(2 * prediction.mean(), 1.0)
    if not prediction.any():
        found[...] = False
    counts = (np.count_nonzero(mask) for mask in (found & inside, found, inside))
    return Overlap(*map(int, counts))


def f_beta(counts: Overlap, *, beta_squared: float = 0.3, paper_variant: bool = False) -> float:
    """F-beta, equation (5), of an image's counts or (pooled) of the sum of a set's; 0 for one empty side, nan for both.

    paper_variant: F1 (1 + beta^2) / beta^2, which Valle et al. 2019 print. It is no F-beta and exceeds 1; for their
    table only.
    """
    if paper_variant:
        return counts.dice * (1 + beta_squared) / beta_squared
    weight = beta_squared * counts.reference + counts.prediction
    return (1 + beta_squared) * counts.shared / weight if weight else float("nan")


def mean_absolute_error(prediction: NDArray, reference: NDArray, *, threshold: float = 0.5) -> float:
    """Mean of |prediction - {reference > threshold}| over all pixels; both of one shape, in 0..1, empty or not."""
    prediction, inside = _checked(prediction, reference, threshold)
    return float(np.abs(prediction - inside).mean())


def _checked(
    prediction: NDArray, reference: NDArray, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    prediction, reference = np.asarray(prediction), np.asarray(reference)
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape} and reference of shape {reference.shape} differ")
    if not prediction.size:
        raise ValueError(f"prediction and reference of shape {prediction.shape} hold no pixel")
    for name, values in (("prediction", prediction), ("reference", reference)):
        lowest, highest = values.min(), values.max()
        if not (lowest >= 0 and highest <= 1):  # also false for nan
            raise ValueError(f"{name} runs from {lowest} to {highest}, it must lie in 0..1: scale it (8 bits: / 255)")
    return prediction.astype(np.float64), reference > threshold


def _window(visible: NDArray[np.bool_], inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The part of the image that (1) to (4) look at: what is visible, and RADIUS pixels around the reference."""
    window = []
    for axis in (0, 1):
        seen, core = (np.flatnonzero(mask.any(axis=1 - axis)) for mask in (visible, inside))
        window.append(slice(max(min(seen[0], core[0] - RADIUS), 0), max(seen[-1], core[-1] + RADIUS) + 1))
    return tuple(window)


def _error_inside(prediction: NDArray, nearest: NDArray, squared_distance: NDArray) -> float:
    """Sum of E_w over the reference, equations (1) to (3); `nearest` (2, H, W) are the pixels of (1)."""
    inside = squared_distance == 0
    window = _window(inside, inside)
    error = 1 - prediction
    # Only pixels that the kernel reaches from the reference matter to (3): those get their neighbour's error.
    band = ~inside & (squared_distance <= 2 * RADIUS**2)
    carried = error.copy()
    carried[band] = error[nearest[0][band], nearest[1][band]]
    carried = carried[window]
    kernel = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
    for axis in (0, 1):
        carried = correlate1d(carried, kernel / kernel.sum(), axis=axis, mode="constant")
    core = inside[window]
    return float(np.minimum(error[window][core], carried[core]).sum())


def _error_outside(prediction: NDArray, squared_distance: NDArray) -> float:
    """Sum of E_w beside the reference, equation (3); pixels without an error need no distance."""
    wrong = (squared_distance > 0) & (prediction > 0)
    distance = np.sqrt(squared_distance[wrong])
    return float(prediction[wrong] @ (2 - np.exp2(-distance / HALF_DISTANCE)))
