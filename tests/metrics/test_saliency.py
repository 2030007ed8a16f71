"""The scores of probability maps follow their published definitions, and every empty case is the one promised."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import convolve, distance_transform_edt, gaussian_filter

from pipeline.metrics.overlap import Overlap
from pipeline.metrics.saliency import adaptive_overlap, f_beta, mean_absolute_error, weighted_f_beta

EMPTY = np.zeros((12, 12))


def square(size: int = 40) -> np.ndarray:
    image = np.zeros((size, size))
    image[12:24, 10:30] = 1
    return image


def random_pair(seed: int, shape: tuple[int, int] = (48, 61)) -> tuple[np.ndarray, np.ndarray]:
    """A soft map and a reference of several blobs, some of which touch the edge."""
    random = np.random.default_rng(seed)
    field, noise = (gaussian_filter(random.normal(size=shape), width) for width in (4, 2))
    return 1 / (1 + np.exp(-40 * (field + 0.3 * noise))), (field > 0.02).astype(float)


def margolin(prediction: np.ndarray, reference: np.ndarray, beta_squared: float = 1.0) -> float:
    """The published script, line by line, on whole arrays and with the two-dimensional kernel."""
    inside = reference > 0.5
    distance, nearest = distance_transform_edt(~inside, return_indices=True)
    error = np.abs(prediction - inside)
    carried = np.where(inside, error, error[tuple(nearest)])
    y, x = np.mgrid[-3:4, -3:4]
    kernel = np.exp(-(x * x + y * y) / (2 * 5**2))
    averaged = convolve(carried, kernel / kernel.sum(), mode="constant")
    smaller = np.where(inside & (averaged < error), averaged, error)
    weighted = smaller * np.where(inside, 1, 2 - np.exp(np.log(0.5) / 5 * distance))
    true_positives, false_positives = inside.sum() - weighted[inside].sum(), weighted[~inside].sum()
    recall = 1 - weighted[inside].mean()
    precision = true_positives / (true_positives + false_positives)
    return (1 + beta_squared) * recall * precision / (recall + beta_squared * precision)


def test_weighted_f_of_the_reference_itself_is_one() -> None:
    assert weighted_f_beta(square(), square()) == pytest.approx(1)


@pytest.mark.parametrize("beta_squared", [1.0, 0.3])
def test_weighted_f_of_one_false_alarm_is_the_hand_derived_number(beta_squared) -> None:
    prediction = square()
    prediction[12, 35] = 0.5  # the reference's nearest pixel is (12, 29): 6 pixels away
    false_alarm = 0.5 * (2 - 0.5 ** (6 / 5))
    precision = 240 / (240 + false_alarm)  # 12 x 20 pixels, all found: recall 1
    expected = (1 + beta_squared) * precision / (beta_squared * precision + 1)
    assert weighted_f_beta(prediction, square(), beta_squared=beta_squared) == pytest.approx(expected, abs=1e-12)


def test_weighted_f_forgives_a_hole_among_right_neighbours() -> None:
    prediction = square()
    prediction[18, 20] = 0  # 5 or more pixels from the square's border: its neighbours are all right
    # its error 1 becomes its own share of the kernel
    centre = 1 / np.exp(-(np.arange(-3, 4) ** 2) / 50).sum() ** 2
    recall = (240 - centre) / 240
    assert weighted_f_beta(prediction, square()) == pytest.approx(2 * recall / (recall + 1), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("beta_squared", [1.0, 0.3])
def test_weighted_f_is_the_published_script(seed, beta_squared) -> None:
    prediction, reference = random_pair(seed)
    sparse = np.where(prediction > 0.6, prediction, 0)  # leaves most of the image out of the window
    for each in (prediction, sparse):
        expected = margolin(each, reference, beta_squared)
        assert weighted_f_beta(each, reference, beta_squared=beta_squared) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose, np.rot90])
@pytest.mark.parametrize("seed", range(3))
def test_weighted_f_is_the_same_for_turned_images_but_for_ties(turn: Callable, seed) -> None:
    prediction, reference = random_pair(seed, (200, 160))
    turned = weighted_f_beta(turn(prediction), turn(reference))
    assert turned == pytest.approx(weighted_f_beta(prediction, reference), abs=1e-4)


def test_weighted_f_does_not_stretch_the_map() -> None:
    # an error of 1/2 at every pixel is 1/2 on average too: recall 1/2, precision 1
    assert weighted_f_beta(0.5 * square(), square()) == pytest.approx(2 * 0.5 / 1.5)


def test_weighted_f_of_a_full_reference_is_defined() -> None:
    assert weighted_f_beta(np.ones((9, 9)), np.ones((9, 9))) == pytest.approx(1)


def test_weighted_f_is_for_images() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\) are not \(H, W\)"):
        weighted_f_beta(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)))


def test_the_adaptive_threshold_is_twice_the_mean() -> None:
    prediction = np.array([[0.0, 0.2, 0.4], [0.1, 0.3, 0.2]])  # mean 0.2: the threshold is 0.4
    reference = np.array([[0, 0, 1], [0, 1, 0]])
    counts = adaptive_overlap(prediction, reference)
    assert counts == Overlap(shared=1, prediction=1, reference=2)
    assert f_beta(counts) == pytest.approx(1.3 * 1 * 0.5 / (0.3 * 1 + 0.5))


def test_the_adaptive_threshold_stops_at_one() -> None:
    counts = adaptive_overlap(np.array([[1.0, 0.9, 0.8]]), np.array([[1, 1, 0]]))
    assert counts == Overlap(shared=1, prediction=1, reference=2)


def test_f_of_a_set_pools_the_counts() -> None:
    one, two = Overlap(shared=1, prediction=2, reference=1), Overlap(shared=8, prediction=8, reference=16)
    precision, recall = 9 / 10, 9 / 17
    expected = 1.3 * precision * recall / (0.3 * precision + recall)
    assert f_beta(one + two) == pytest.approx(expected)
    assert f_beta(one + two) != pytest.approx((f_beta(one) + f_beta(two)) / 2)


def test_the_printed_variant_is_f1_by_a_constant_and_exceeds_one() -> None:
    counts = Overlap(shared=3, prediction=4, reference=5)
    assert f_beta(counts, paper_variant=True) == pytest.approx(2 * 3 / (4 + 5) * 1.3 / 0.3)
    assert f_beta(Overlap(1, 1, 1), paper_variant=True) > 4


def test_the_threshold_of_the_reference_is_an_argument() -> None:
    prediction, reference = np.array([[1.0, 1, 0, 0]]), np.array([[1.0, 0.4, 0, 0]])
    assert f_beta(adaptive_overlap(prediction, reference, threshold=0)) == 1
    assert f_beta(adaptive_overlap(prediction, reference)) == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))
    assert weighted_f_beta(prediction, reference, threshold=0) == pytest.approx(1)
    assert weighted_f_beta(prediction, reference) < 0.9
    assert mean_absolute_error(prediction, reference, threshold=0) == 0
    assert mean_absolute_error(prediction, reference) == 0.25


@pytest.mark.parametrize("score", [weighted_f_beta, lambda *pair: f_beta(adaptive_overlap(*pair))])
def test_empty_maps_score_as_promised(score: Callable) -> None:
    edge = EMPTY.copy()
    edge[:4, :4] = 1  # at the image's edge the published weighted F of an empty map is above 0
    assert score(EMPTY, edge) == 0
    assert score(edge, EMPTY) == 0
    assert math.isnan(score(EMPTY, EMPTY))


def test_an_empty_map_is_a_miss_and_not_everything() -> None:
    assert adaptive_overlap(EMPTY, np.eye(12)).status == "missed"
    assert math.isnan(f_beta(Overlap(0, 0, 0), paper_variant=True))


def test_the_mean_absolute_error_is_that_of_the_soft_map() -> None:
    error = mean_absolute_error(np.array([[0.25, 1.0], [0.5, 0.0]]), np.array([[0, 1], [1, 0]]))
    assert error == (0.25 + 0 + 0.5 + 0) / 4


@pytest.mark.parametrize("score", [weighted_f_beta, adaptive_overlap, mean_absolute_error])
def test_bad_maps_are_refused_by_name(score: Callable) -> None:
    with pytest.raises(ValueError, match=r"prediction of shape \(2, 3\) and reference of shape \(3, 2\)"):
        score(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"reference runs from 0 to 255.*0\.\.1"):
        score(np.zeros((2, 2)), np.array([[0, 255], [0, 0]]))
    with pytest.raises(ValueError, match="prediction runs from nan"):
        score(np.array([[np.nan, 0]]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="no pixel"):
        score(np.zeros((0, 2)), np.zeros((0, 2)))


def test_weighted_f_agrees_with_pysodmetrics_where_it_is_installed() -> None:
    metrics = pytest.importorskip("py_sod_metrics")
    for seed in range(4):
        prediction, reference = random_pair(seed)
        theirs = metrics.WeightedFmeasure()
        theirs.step(prediction, reference > 0.5, normalize=False)
        assert weighted_f_beta(prediction, reference) == pytest.approx(theirs.get_results()["wfm"], abs=1e-4)
