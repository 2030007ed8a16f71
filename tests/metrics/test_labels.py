"""Every measure of two label maps is the one of its definition, whichever way it is computed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pipeline.metrics.labels import METRICS, compare_labels, evaluate_labels
from pipeline.metrics.surfel import contour_lengths, surfel_areas

SPACING = (3.0, 0.5, 2.0)


def scores(prediction, reference, spacing_mm, labels=(1,), **options) -> dict[str, float]:
    rows = evaluate_labels(prediction, reference, spacing_mm, labels, **options)
    assert {row.label for row in rows} == set(labels)
    return {row.metric: row.value for row in rows if row.label == labels[0]}


def one_voxel(shape, *at: tuple[int, ...]):
    mask = np.zeros(shape, np.uint8)
    for place in at:
        mask[place] = 1
    return mask


def surface_by_hand(mask, spacing_mm, surface):
    """Points in mm and their weights, straight from the definition."""
    padded = np.pad(mask, 1)
    found, weights = [], []
    around = list(itertools.product((-1, 0), repeat=mask.ndim))
    areas = None
    if surface == "surfel":
        areas = surfel_areas(spacing_mm) if mask.ndim == 3 else contour_lengths(spacing_mm)[::17]
    for place in np.ndindex(*padded.shape):
        if surface == "voxel":
            faces = [step for k in range(mask.ndim) for step in (np.eye(mask.ndim, dtype=int)[k],)]
            near = [tuple(np.add(place, sign * step)) for step in faces for sign in (-1, 1)]
            if padded[place] and not all(padded[other] for other in near):
                found.append(place)
                weights.append(1.0)
        elif min(place) > 0:
            inside = [padded[tuple(np.add(place, step))] for step in around]
            if 0 < sum(inside) < len(inside):
                found.append(place)
                weights.append(areas[int("".join(str(int(each)) for each in inside), 2)])
    return np.array(found) * spacing_mm, np.array(weights)


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
@pytest.mark.parametrize(("shape", "spacing"), [((7, 5, 9), SPACING), ((4, 6, 10), (0.7, 0.7, 5)), ((9, 11), (2, 0.3))])
def test_distances_are_those_to_the_nearest_of_all_points(way, random_maps, surface, shape, spacing) -> None:
    for seed in range(2):
        prediction, reference = random_maps(seed, shape)
        compared = compare_labels(prediction, reference, spacing, surface=surface)
        assert set(compared.surfaces) == {1, 2, 3}
        for label, surfaces in compared.surfaces.items():
            predicted, weights_pred = surface_by_hand(prediction == label, spacing, surface)
            referred, weights_ref = surface_by_hand(reference == label, spacing, surface)
            apart = np.linalg.norm(predicted[:, None] - referred, axis=-1)
            assert surfaces.distances_pred_to_ref_mm == pytest.approx(apart.min(axis=1), abs=1e-12)
            assert surfaces.distances_ref_to_pred_mm == pytest.approx(apart.min(axis=0), abs=1e-12)
            if surface == "surfel":
                assert surfaces.weights_pred == pytest.approx(weights_pred)
                assert surfaces.weights_ref == pytest.approx(weights_ref)


def test_two_voxels_two_millimetres_apart(way) -> None:
    prediction, reference = one_voxel((3, 9, 4), (1, 2, 1)), one_voxel((3, 9, 4), (1, 6, 1))
    found = scores(prediction, reference, SPACING, tolerance_mm=1.9)
    for metric in ("hd", "hd95", "hd95_pooled", "assd", "masd"):
        assert found[metric] == 4 * SPACING[1] == 2
    for metric in ("dice", "iou", "precision", "recall", "nsd", "boundary_f1", "volume_difference"):
        assert found[metric] == 0
    assert found["accuracy"] == (3 * 9 * 4 - 2) / (3 * 9 * 4)
    touching = scores(prediction, reference, SPACING, tolerance_mm=2)
    assert touching["nsd"] == touching["boundary_f1"] == 1


def test_a_cube_moved_along_each_axis(way) -> None:
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[3:8, 3:8, 3:8] = 1
    for axis, spacing in enumerate(SPACING):
        found = scores(np.roll(reference, 1, axis), reference, SPACING)
        assert found["dice"] == 4 / 5
        assert found["iou"] == 4 / 6
        assert found["hd"] == spacing
        # Of 5^3 - 3^3 = 98 surface voxels the front face's 25 and the back face's inner 9 are one step off, the others
        # slide along the surface.
        found = scores(np.roll(reference, 1, axis), reference, (1, 1, 1), tolerance_mm=0.9)
        assert found["assd"] == found["masd"] == pytest.approx((25 + 9) / 98)
        assert found["nsd"] == pytest.approx(1 - (25 + 9) / 98)


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
def test_balls_of_two_sizes_are_the_difference_of_their_radii_apart(surface) -> None:
    radius = np.linalg.norm(np.indices((31, 31, 31)) - 15, axis=0)
    found = scores(radius <= 10, radius <= 13, (1, 1, 1), surface=surface)
    for metric in ("hd", "assd", "masd"):  # points of a grid lie up to a voxel off the sphere
        assert found[metric] == pytest.approx(3, abs=1), metric
    compared = compare_labels(radius <= 10, radius <= 13, (1, 1, 1), surface="surfel").surfaces[1]
    areas = [4 * math.pi * each**2 for each in (10, 13)]
    assert [compared.weights_pred.sum(), compared.weights_ref.sum()] == pytest.approx(areas, rel=0.15)


def test_the_edge_of_the_map_is_surface(way) -> None:
    full = np.ones((3, 4, 5), np.uint8)
    surfaces = compare_labels(full, full, SPACING).surfaces[1]
    assert len(surfaces.distances_ref_to_pred_mm) == 3 * 4 * 5 - 1 * 2 * 3
    assert hd_and_dice(full, full) == (0, 1)
    image = compare_labels(full[0], full[0], SPACING[1:]).surfaces[1]
    assert len(image.distances_ref_to_pred_mm) == 4 * 5 - 2 * 3
    surfels = compare_labels(full, full, SPACING, surface="surfel").surfaces[1]
    z, y, x = (n * step for n, step in zip(full.shape, SPACING, strict=True))
    box = 2 * (z * y + z * x + y * x)
    assert 0.8 * box < surfels.weights_ref.sum() < box  # its edges and corners are cut off


def hd_and_dice(prediction, reference) -> tuple[float, float]:
    found = scores(prediction, reference, SPACING)
    return found["hd"], found["dice"]


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
def test_a_single_voxel_in_a_map_of_one(way, surface) -> None:
    found = scores(np.ones((1, 1, 1), np.uint8), np.ones((1, 1, 1), np.uint8), SPACING, surface=surface)
    assert (found["dice"], found["hd"], found["nsd"]) == (1, 0, 1)


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
def test_the_arguments_can_be_exchanged(way, random_maps, surface) -> None:
    prediction, reference = random_maps(1, (7, 8, 9))
    there = scores(prediction, reference, SPACING, (1, 2, 3), surface=surface)
    back = scores(reference, prediction, SPACING, (1, 2, 3), surface=surface)
    for metric in set(METRICS) - {"precision", "recall", "volume_difference"}:
        assert there[metric] == pytest.approx(back[metric], rel=1e-12), metric
    assert (there["precision"], there["recall"]) == (back["recall"], back["precision"])
    assert there["volume_difference"] == -back["volume_difference"] != 0


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
def test_flips_turns_and_the_order_of_memory_do_not_matter(way, random_maps, surface) -> None:
    prediction, reference = random_maps(2, (7, 8, 9))
    expected = scores(prediction, reference, SPACING, (1, 2, 3), surface=surface)
    turned = [np.moveaxis(each, 0, 2) for each in (prediction, reference)]
    variants = {
        "flipped": (prediction[::-1, :, ::-1], reference[::-1, :, ::-1], SPACING),
        "Fortran": (np.asfortranarray(prediction), np.asfortranarray(reference), SPACING),
        "mixed": (np.asfortranarray(prediction), reference, SPACING),
        "turned": (*turned, (*SPACING[1:], SPACING[0])),
        "16 bits": (prediction.astype(np.int16), reference.astype(">u2"), SPACING),
    }
    for name, arguments in variants.items():
        assert scores(*arguments, (1, 2, 3), surface=surface) == pytest.approx(expected, rel=1e-12), name


def test_millimetres_scale_with_the_spacing(way, random_maps) -> None:
    prediction, reference = random_maps(3, (7, 8, 9))
    once = scores(prediction, reference, SPACING, (1, 2, 3), tolerance_mm=1)
    twice = scores(prediction, reference, [2 * each for each in SPACING], (1, 2, 3), tolerance_mm=2)
    for metric in ("hd", "hd95", "hd95_pooled", "assd", "masd"):
        assert twice[metric] == pytest.approx(2 * once[metric])
    assert twice["nsd"] == once["nsd"]
    assert twice["volume_difference"] == pytest.approx(8 * once["volume_difference"])


def test_volumes_are_millilitres_and_areas_square_millimetres(way) -> None:
    prediction, reference = one_voxel((2, 3, 4), (0, 0, 0), (1, 1, 1)), one_voxel((2, 3, 4), (0, 0, 0))
    (row,) = evaluate_labels(prediction, reference, SPACING, metrics=["volume_difference"])
    assert (row.value, row.unit) == (pytest.approx(3 * 0.5 * 2 / 1000), "ml")
    (row,) = evaluate_labels(prediction.max(axis=0), reference[0], SPACING[1:], metrics=["volume_difference"])
    assert (row.value, row.unit) == (0.5 * 2, "mm2")


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
def test_a_miss_and_a_false_alarm_count_and_nothing_at_all_does_not(way, surface) -> None:
    prediction, reference = one_voxel((3, 4, 5), (0, 0, 0)), np.full((3, 4, 5), 0, np.uint8)
    reference[2, 3, 4] = 2
    rows = evaluate_labels(prediction, reference, SPACING, [1, 2, 3], surface=surface)
    status = {row.label: row.status for row in rows}
    assert status == {1: "false_alarm", 2: "missed", 3: "both_empty"}
    diagonal = math.hypot(3 * 3.0, 4 * 0.5, 5 * 2.0)
    for row in rows:
        if row.label == 3:
            assert math.isnan(row.value), row
        elif row.unit == "mm":
            assert row.value == pytest.approx(diagonal), row
        elif row.metric not in ("accuracy", "volume_difference"):
            assert row.value == 0, row
    for missing, value in (("inf", math.inf), ("nan", math.nan)):
        found = scores(prediction, reference, SPACING, [1, 2], missing=missing)
        assert found["hd95"] == pytest.approx(value, nan_ok=True)
        assert found["nsd"] == 0


def test_two_empty_maps_have_no_labels_and_those_named_are_empty(way) -> None:
    empty = np.zeros((3, 4, 5), np.uint8)
    assert evaluate_labels(empty, empty, SPACING) == []
    assert {row.status for row in evaluate_labels(empty, empty, SPACING, [1])} == {"both_empty"}


def test_labels_beyond_eight_bits_are_compared(way, random_maps) -> None:
    prediction, reference = random_maps(4, (5, 6, 7))
    expected = scores(prediction, reference, SPACING, (1, 2, 3))
    far = np.array([0, 1000, 2000, 4095])
    assert scores(far[prediction], far[reference], SPACING, (1000, 2000, 4095)) == expected
    with pytest.raises(ValueError, match="419 different labels"):
        evaluate_labels(np.arange(420).reshape(4, 105), np.arange(420).reshape(4, 105), (1, 1))


MAP = np.ones((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MAP, MAP[:, :2], SPACING), r"prediction of shape \(2, 3, 4\).*reference of shape \(2, 2, 4\)"),
        ((MAP, MAP, (1, 1)), r"spacing_mm \(1, 1\).*\(2, 3, 4\)"),
        ((MAP, MAP, (1, 0, 1)), r"spacing_mm \(1, 0, 1\)"),
        ((MAP, MAP, (1, math.nan, 1)), "spacing_mm"),
        ((MAP / 2, MAP, SPACING), "float64.*must be integers"),
        ((MAP, MAP.astype(int) - 2, SPACING), "from -1 to -1"),
        ((MAP[0, 0], MAP[0, 0], (1,)), "neither 2-D nor 3-D"),
        ((MAP, 3 * MAP, SPACING, [1, 2]), r"the reference holds labels \[3\].*\[1, 2\]"),
        ((5 * MAP, MAP, SPACING, [1]), r"the prediction holds labels \[5\]"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_labels(*arguments)


def test_unknown_words_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"hd96: there are dice, .*hd95"):
        evaluate_labels(MAP, MAP, SPACING, metrics=["hd96"])
    with pytest.raises(ValueError, match=r'"mesh".*"voxel" and "surfel"'):
        evaluate_labels(MAP, MAP, SPACING, surface="mesh")
    with pytest.raises(ValueError, match="tolerance"):
        evaluate_labels(MAP, MAP, SPACING, tolerance_mm=-1)
