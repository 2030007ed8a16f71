"""The scores of label maps follow their published definitions, whatever the numbering; every empty case is decided."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, label
from scipy.spatial.distance import cdist

from pipeline.metrics.instances import (
    IOU_THRESHOLDS,
    Detections,
    aggregated_jaccard,
    average_precision,
    detections,
    glas_detections,
    object_dice,
    object_hausdorff,
    object_pairs,
)

NONE = np.zeros((6, 8), int)
# Row 0: object 1 of 6 pixels, of which object 5 finds 4 and object 3 the other 2; row 3: 2 is found as 7, which is
# 1 pixel wider; row 5: 4 is missed and 9 is a false alarm.
REFERENCE = np.array(
    [[1, 1, 1, 1, 1, 1, 0, 0], [0] * 8, [0] * 8, [2, 2, 2, 2, 0, 0, 0, 0], [0] * 8, [4, 4, 0, 0, 0, 0, 0, 0]]
)
PREDICTION = np.array(
    [[5, 5, 5, 5, 3, 3, 0, 0], [0] * 8, [0] * 8, [7, 7, 7, 7, 7, 0, 0, 0], [0] * 8, [0, 0, 0, 0, 0, 0, 0, 9]]
)
SCORES: dict[str, Callable] = {
    "AP": average_precision,
    "PQ": lambda objects: detections(objects).panoptic_quality,
    "AJI": aggregated_jaccard,
    "GlaS F1": lambda objects: glas_detections(objects).f1,
    "object Dice": object_dice,
    "object Hausdorff": object_hausdorff,
}
every_score = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)


def blobs(seed: int, shape: tuple[int, int] = (90, 110)) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, reference): objects split, merged, moved, missed and invented; labels with gaps."""
    random = np.random.default_rng(seed)
    field, noise = gaussian_filter(random.normal(size=shape), 4), gaussian_filter(random.normal(size=shape), 3)
    maps = [label(each > 0.02)[0] for each in (np.roll(field, 1, 1) + 0.5 * noise, field)]
    return tuple(np.where(each > 0, each * step + 2, 0) for each, step in zip(maps, (3, 7), strict=True))


def masks(labels: np.ndarray) -> list[np.ndarray]:
    return [labels == each for each in np.unique(labels) if each]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def data_science_bowl(prediction: np.ndarray, reference: np.ndarray, threshold: float) -> float:
    hits = np.array([[iou(r, p) > threshold for p in masks(prediction)] for r in masks(reference)])
    true, false, missed = hits.any(1).sum(), (~hits.any(0)).sum(), (~hits.any(1)).sum()
    return true / (true + false + missed)


def panoptic(prediction: np.ndarray, reference: np.ndarray) -> float:
    matched = [iou(r, p) for r in masks(reference) for p in masks(prediction) if iou(r, p) > 0.5]
    unmatched = len(masks(prediction)) + len(masks(reference)) - 2 * len(matched)
    return sum(matched) / (len(matched) + unmatched / 2)


def kumar(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Algorithm 1 of Kumar et al. 2017, as in the authors' final code."""
    shared, union, used = 0, 0, set()
    found = masks(prediction)
    for r in masks(reference):
        scores = [iou(r, p) for p in found]
        if max(scores) == 0:
            union += r.sum()
            continue
        best = int(np.argmax(scores))
        shared, union = shared + (r & found[best]).sum(), union + (r | found[best]).sum()
        used.add(best)
    return shared / (union + sum(p.sum() for k, p in enumerate(found) if k not in used))


def hausdorff(a: np.ndarray, b: np.ndarray) -> float:
    distance = cdist(np.argwhere(a), np.argwhere(b))
    return max(distance.min(0).max(), distance.min(1).max())


def glas_object(prediction: np.ndarray, reference: np.ndarray, *, dice: bool) -> float:
    """ObjectDice and ObjectHausdorff of the contest's evaluation code: each object of one map with one of the other."""
    total = 0.0
    for own, other in ((prediction, reference), (reference, prediction)):
        for a in masks(own):
            meets = other[a][other[a] > 0]
            b = other == np.bincount(meets).argmax() if meets.size else np.zeros(a.shape, bool)
            if dice:
                score = 2 * (a & b).sum() / (a.sum() + b.sum())
            else:
                score = hausdorff(a, b) if meets.size else min(hausdorff(a, c) for c in masks(other))
            total += a.sum() / (own > 0).sum() * score / 2
    return total


def glas_f1(prediction: np.ndarray, reference: np.ndarray) -> float:
    true = 0
    for p in masks(prediction):
        meets = reference[p][reference[p] > 0]
        if meets.size:
            r = reference == np.bincount(meets).argmax()
            true += (p & r).sum() / r.sum() > 0.5
    precision, recall = true / len(masks(prediction)), true / len(masks(reference))
    return 2 * precision * recall / (precision + recall)


TRANSCRIPTIONS: dict[str, Callable] = {
    "AP": lambda p, r: np.mean([data_science_bowl(p, r, threshold) for threshold in IOU_THRESHOLDS]),
    "PQ": panoptic,
    "AJI": kumar,
    "GlaS F1": glas_f1,
    "object Dice": lambda p, r: glas_object(p, r, dice=True),
    "object Hausdorff": lambda p, r: glas_object(p, r, dice=False),
}


def test_pairs_and_areas_are_counted() -> None:
    objects = object_pairs(PREDICTION, REFERENCE)
    assert objects.prediction_areas.tolist() == [2, 4, 5, 1]  # labels 3, 5, 7, 9
    assert objects.reference_areas.tolist() == [6, 4, 2]  # labels 1, 2, 4
    assert objects.pairs.T.tolist() == [[0, 0], [1, 0], [2, 1]]
    assert objects.shared.tolist() == [2, 4, 4]
    assert objects.iou.tolist() == [2 / 6, 4 / 6, 4 / 5]
    assert (objects.count_error, objects.status) == (4 - 3, "ok")


def test_detections_are_the_hand_counted_ones() -> None:
    objects = object_pairs(PREDICTION, REFERENCE)
    assert detections(objects) == Detections(2, 2, 1, 4 / 6 + 4 / 5)
    assert detections(objects, iou=0.7) == Detections(1, 3, 2, 4 / 5)
    found = detections(objects)
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert found.segmentation_quality == pytest.approx((4 / 6 + 4 / 5) / 2)
    assert found.panoptic_quality == pytest.approx(found.segmentation_quality * found.f1)
    assert found.f1 == 2 / (2 + 2 / 2 + 1 / 2)


def test_an_iou_on_the_threshold_is_no_match() -> None:
    objects = object_pairs(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]]))  # two halves: IoU 0.5 each
    assert detections(objects) == Detections(0, 2, 1, 0.0)
    tenths = object_pairs(np.array([[1] * 7 + [0] * 3]), np.array([[1] * 10]))
    assert detections(tenths, iou=0.65).matched == 1
    assert detections(tenths, iou=0.7).matched == 0


def test_the_average_precision_is_the_mean_over_ten_thresholds() -> None:
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    # IoU 2/3 passes four thresholds (to 0.65), 4/5 six (to 0.75; 0.8 is not above 0.8)
    expected = (4 * 2 / (2 + 2 + 1) + 2 * 1 / (1 + 3 + 2)) / 10
    assert average_precision(object_pairs(PREDICTION, REFERENCE)) == pytest.approx(expected, abs=1e-15)


def test_aji_counts_a_chosen_object_once_per_choice_and_the_unused_once() -> None:
    # chosen: 1 - 5 (4 of 6) and 2 - 7 (4 of 5); 4 meets nothing (2); 3 and 9 are unused (2 + 1)
    assert aggregated_jaccard(object_pairs(PREDICTION, REFERENCE)) == (4 + 4) / (6 + 5 + 2 + 2 + 1)
    # one object over two of 2 pixels with a gap between: chosen twice, used once
    merged = object_pairs(np.array([[1, 1, 1, 1, 1]]), np.array([[1, 1, 0, 2, 2]]))
    assert aggregated_jaccard(merged) == (2 + 2) / (5 + 5)


def test_aji_chooses_by_iou_and_not_by_pixels() -> None:
    reference, prediction = np.zeros((2, 13), int), np.zeros((2, 13), int)
    reference[0, :4], prediction[0, 0], prediction[0, 1:] = 1, 1, 2
    # IoU 1/4 of the single pixel beats 3/13 of the strip of 12, which shares more and stays unused
    assert aggregated_jaccard(object_pairs(prediction, reference)) == 1 / (4 + 12)


def test_glas_matches_an_object_that_covers_more_than_half() -> None:
    objects = object_pairs(PREDICTION, REFERENCE)
    assert glas_detections(objects) == Detections(2, 2, 1, 4 / 6 + 4 / 5)
    half = object_pairs(np.array([[1, 1, 0, 0]]), np.array([[1, 1, 1, 1]]))
    assert glas_detections(half).matched == 0
    wide = object_pairs(np.array([[1, 1, 1, 1, 1, 1]]), np.array([[1, 1, 0, 0, 0, 0]]))  # IoU 1/3: matched all the same
    assert glas_detections(wide).f1 == 1


def test_object_dice_is_the_area_weighted_mean_of_both_directions() -> None:
    forward = (2 * (2 * 2 / (2 + 6)) + 4 * (2 * 4 / (4 + 6)) + 5 * (2 * 4 / (5 + 4)) + 1 * 0) / 12
    backward = (6 * (2 * 4 / (6 + 4)) + 4 * (2 * 4 / (4 + 5)) + 2 * 0) / 12
    assert object_dice(object_pairs(PREDICTION, REFERENCE)) == pytest.approx((forward + backward) / 2, abs=1e-15)


def test_object_hausdorff_takes_the_nearest_object_where_none_is_shared() -> None:
    # in columns: 3 (4-5) to 1 (0-5) 4, 5 (0-3) to 1 2, 7 to 2 1; without overlap 9 at (5, 7): to 2 is
    # max(sqrt(4 + 16), sqrt(4 + 49)), to 4 is 7, to 1 is sqrt(25 + 49): 7. And 4 (5, 0-1): to 7 sqrt(4 + 9), to 5 more.
    forward = (2 * 4 + 4 * 2 + 5 * 1 + 1 * 7) / 12
    backward = (6 * 2 + 4 * 1 + 2 * math.sqrt(4 + 9)) / 12
    assert object_hausdorff(object_pairs(PREDICTION, REFERENCE)) == pytest.approx((forward + backward) / 2, abs=1e-12)


def test_object_hausdorff_keeps_the_least_distance_of_several() -> None:
    prediction, reference = np.zeros((2, 6, 6), int)
    prediction[0, 0], reference[4, 4], reference[5, 5] = 1, 1, 2
    forward, backward = 4 * math.sqrt(2), (4 + 5) / 2 * math.sqrt(2)
    assert object_hausdorff(object_pairs(prediction, reference)) == pytest.approx((forward + backward) / 2)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_the_published_definitions(name, seed) -> None:
    prediction, reference = blobs(seed)
    assert SCORES[name](object_pairs(prediction, reference)) == pytest.approx(
        TRANSCRIPTIONS[name](prediction, reference), abs=1e-12
    )


@every_score
def test_numbering_and_orientation_do_not_matter(score: Callable) -> None:
    prediction, reference = blobs(7)
    expected = score(object_pairs(prediction, reference))
    random = np.random.default_rng(0)
    for turn in (np.flipud, np.fliplr, np.transpose, np.asfortranarray):
        maps = []
        for labels in (prediction, reference):
            numbers = np.concatenate([[0], random.permutation(60000)[: labels.max()] + 1])
            maps.append(turn(numbers[labels].astype(np.uint16)))
        assert score(object_pairs(*maps)) == pytest.approx(expected, abs=1e-12)


@every_score
def test_volumes_are_scored_like_images(score: Callable) -> None:
    prediction, reference = blobs(3)
    expected = score(object_pairs(prediction, reference))
    assert score(object_pairs(prediction[:, None], reference[:, None])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_any_integer_type_counts_the_same(dtype) -> None:
    objects = object_pairs(PREDICTION.astype(dtype), REFERENCE.astype(dtype))
    assert objects.shared.tolist() == [2, 4, 4]
    assert aggregated_jaccard(objects) == 8 / 16


def test_labels_beyond_any_table_are_counted() -> None:
    huge = np.where(PREDICTION > 0, PREDICTION * 10**12, 0)
    assert object_pairs(huge, REFERENCE).shared.tolist() == [2, 4, 4]
    assert object_pairs(huge, REFERENCE).prediction_areas.tolist() == [2, 4, 5, 1]


def test_many_objects_need_no_square_table() -> None:
    labels = np.arange(1, 90001).reshape(300, 300)  # a table of their pairs would take 60 GB
    objects = object_pairs(labels, labels)
    assert aggregated_jaccard(objects) == average_precision(objects) == 1


@pytest.mark.parametrize(
    ("prediction", "reference", "status", "score", "distance"),
    [
        (NONE, REFERENCE, "missed", 0.0, 10.0),  # 6 x 8 pixels: the diagonal is 10
        (PREDICTION, NONE, "false_alarm", 0.0, 10.0),
        (NONE, NONE, "both_empty", math.nan, math.nan),
        (REFERENCE, REFERENCE, "ok", 1.0, 0.0),
    ],
)
def test_empty_maps_score_as_promised(prediction, reference, status, score, distance) -> None:
    objects = object_pairs(prediction, reference)
    assert objects.status == status
    for name, function in SCORES.items():
        expected = distance if name == "object Hausdorff" else score
        assert function(objects) == pytest.approx(expected, nan_ok=True), name


def test_maps_that_never_meet_score_zero_and_keep_their_distance() -> None:
    objects = object_pairs(np.array([[1, 0, 0, 0]]), np.array([[0, 0, 0, 1]]))
    assert [SCORES[name](objects) for name in SCORES] == [0, 0, 0, 0, 0, 3]
    assert math.isnan(detections(objects).segmentation_quality)


def test_the_distance_of_a_missed_image_is_the_callers_choice() -> None:
    missed = object_pairs(NONE, REFERENCE)
    assert object_hausdorff(missed, one_empty=math.inf) == math.inf
    assert math.isnan(object_hausdorff(missed, one_empty=math.nan))


def test_counts_of_a_set_add_up() -> None:
    objects, nothing = object_pairs(PREDICTION, REFERENCE), object_pairs(NONE, NONE)
    total = detections(objects) + detections(object_pairs(NONE, REFERENCE)) + detections(nothing)
    assert total == Detections(2, 2, 1 + 3, 4 / 6 + 4 / 5)
    assert total.average_precision == 2 / 8


def test_bad_maps_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"prediction of shape \(6, 8\) and reference of shape \(8, 6\)"):
        object_pairs(NONE, NONE.T)
    with pytest.raises(ValueError, match="reference is of type float64"):
        object_pairs(NONE, NONE.astype(float))
    with pytest.raises(ValueError, match="prediction is of type bool"):
        object_pairs(NONE.astype(bool), NONE)
    with pytest.raises(ValueError, match="prediction holds the label -3"):
        object_pairs(NONE - 3, NONE)
    with pytest.raises(ValueError, match="no pixel"):
        object_pairs(NONE[:0], NONE[:0])
    with pytest.raises(ValueError, match=r"iou is 0\.3"):
        detections(object_pairs(NONE, NONE), iou=0.3)


@pytest.mark.parametrize("dataset", ["dsb2018", "glas"])
def test_real_objects_lose_what_is_taken_from_them(shared_data: Path, dataset) -> None:
    with (shared_data / dataset / "index.csv").open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if int(row["n_instances"]) > 5)
    labels = np.array(Image.open(shared_data / dataset / row["mask"])).astype(np.int32)
    present = np.unique(labels)[1:]
    count = len(present)
    dropped = np.where(labels == present[0], 0, labels)
    found = detections(object_pairs(dropped, labels))
    assert (found.average_precision, found.segmentation_quality) == ((count - 1) / count, 1)
    merged = np.where(labels == present[0], present[1], labels)
    assert detections(object_pairs(merged, labels)).matched in (count - 1, count - 2)
    shifts = [object_pairs(np.roll(labels, step, axis=1), labels) for step in (0, 1, 2, 4)]
    for name, score in SCORES.items():
        values = [score(objects) for objects in shifts]
        assert values == sorted(values, reverse=name != "object Hausdorff"), name


def test_detections_agree_with_stardist_where_it_is_installed() -> None:
    matching = pytest.importorskip("stardist.matching").matching
    for seed in range(4):
        prediction, reference = blobs(seed)
        objects = object_pairs(prediction, reference)
        for threshold in IOU_THRESHOLDS:
            if np.isclose(objects.iou, threshold).any():
                continue  # they count an IoU on the threshold as a match
            ours, theirs = detections(objects, iou=threshold), matching(reference, prediction, thresh=threshold)
            assert (ours.matched, ours.false_positives, ours.false_negatives) == (theirs.tp, theirs.fp, theirs.fn)
            assert ours.average_precision == pytest.approx(theirs.accuracy, abs=1e-12)
            assert ours.panoptic_quality == pytest.approx(theirs.panoptic_quality, abs=1e-6)  # IoU in float32
