"""Label noise: the share that was asked for, where it lies, what it leaves alone, and that an image keeps its own."""

import math

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scipy import ndimage

from pipeline.data.label_noise import LabelNoised, boundary_jitter, missed_objects, window_noise, wrong_share

NAMED = {"windows": {"classes": 3, "window": 2, "share": 0.1}, "jitter": {"amplitude": 1.5}, "missed": {"share": 0.4}}
NOISES = {
    "windows": lambda label, rng, **more: window_noise(label, rng, **NAMED["windows"], **more),
    "jitter": lambda label, rng, **more: boundary_jitter(label, rng, **NAMED["jitter"], **more),
    "missed": lambda label, rng, **more: missed_objects(label, rng, **NAMED["missed"], **more),
}
EACH = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)


def rng(seed=0):
    return np.random.default_rng(seed)


def cells(rows=6, columns=6, size=20):
    """A grid of discs of class 1, each with a nucleus of class 2."""
    y, x = np.indices((rows * size, columns * size)) % size - size // 2
    away = np.hypot(y, x)
    return (away < 0.35 * size).astype(np.int64) + (away < 0.15 * size)


@pytest.mark.parametrize(("window", "classes"), [(2, 3), (3, 2), (5, 4)])  # those of the paper: cells, nuclei, streets
def test_windows_of_random_classes_make_the_expected_share_of_a_tenth_wrong(window, classes):
    label = rng().integers(0, classes, (256, 256))
    noisy = window_noise(label, rng(1), classes=classes, window=window, share=0.1)
    expected = 0.1 * (1 - 1 / classes)
    spread = math.sqrt(0.1 * label.size) * window / label.size  # at most: windows are wrong or right as a whole
    assert abs(wrong_share(noisy, label) - expected) < 3 * spread


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("shape", "window"), [((97, 64), 3), ((40, 30, 22), 2)])
def test_windows_of_other_classes_make_the_share_wrong_that_was_asked_for(share, shape, window):
    label = rng().integers(0, 4, shape)
    noisy = window_noise(label, rng(1), classes=4, window=window, share=share, other_class=True)
    assert abs(wrong_share(noisy, label) * label.size - share * label.size) <= window ** len(shape) / 2


def test_the_noise_on_one_class_consists_of_whole_windows_that_are_of_one_class():
    label = np.zeros((60, 60), np.int64)
    noisy = window_noise(label, rng(5), classes=50, window=5, share=0.05, other_class=True)
    assert noisy.dtype == label.dtype and not label.any()
    count = round(0.05 * 3600 / 25)
    corner = [first for first in np.ndindex(5, 5) if _in_windows(noisy, first)]
    assert len(corner) >= 1 and (noisy > 0).sum() == 25 * count


def _in_windows(noisy, first, window=5):
    """Whether `noisy` is constant on each cell of the grid that starts at `first`, and 0 outside all of them."""
    last = [start + (size - start) // window * window for start, size in zip(first, noisy.shape, strict=True)]
    inside = noisy[first[0] : last[0], first[1] : last[1]]
    blocks = inside.reshape(inside.shape[0] // window, window, inside.shape[1] // window, window)
    return (blocks == blocks[:, :1, :, :1]).all() and noisy.astype(bool).sum() == inside.astype(bool).sum()


def test_every_pixel_and_every_class_has_its_turn():
    label, hit, drawn = np.zeros((9, 8), np.int64), np.zeros((9, 8), int), np.zeros(3, int)
    for seed in range(400):
        noisy = window_noise(label, rng(seed), classes=3, window=2, share=0.3)
        hit += noisy > 0
        drawn += np.bincount(noisy.ravel(), minlength=3)
    assert hit.min() > 0
    assert abs(drawn[1] / drawn[2] - 1) < 0.2
    assert abs(drawn[1:].sum() / drawn.sum() - round(0.3 * 72 / 4) * 4 / 72 * 2 / 3) < 0.01


def test_a_straight_boundary_wanders_by_the_amplitude():
    label = np.zeros((1200, 64), np.int64)
    label[:, 32:] = 1
    wander = boundary_jitter(label, rng(), amplitude=3.0, smoothness=8.0).sum(1) - 32
    assert wander.std() == pytest.approx(3.0, rel=0.25)  # 1200 rows are some 60 independent draws
    slope = 3.0 / 8.0 / math.sqrt(math.pi)  # mean size of d', which is normal with the deviation 3 / (8 sqrt 2)
    assert np.abs(np.diff(wander)).mean() == pytest.approx(slope, rel=0.25)
    assert np.abs(wander).mean() == pytest.approx(0.8 * 3.0, rel=0.25)


def test_jitter_moves_boundaries_and_makes_no_new_class_nor_noise_inside():
    label = cells()
    noisy = boundary_jitter(label, rng(), amplitude=1.0, smoothness=6.0)
    assert set(np.unique(noisy)) == {0, 1, 2} and noisy.dtype == label.dtype
    edges = np.logical_or(*(np.abs(np.gradient(label.astype(float), axis=axis)) > 0 for axis in (0, 1)))
    far = ndimage.distance_transform_edt(~edges) > 6  # six times the amplitude
    assert (noisy == label)[far].all() and 0.01 < wrong_share(noisy, label) < 0.3


def test_no_amplitude_changes_nothing():
    label = cells()
    assert np.array_equal(boundary_jitter(label, rng(), amplitude=0.0), label)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_objects_that_was_asked_for_is_missed_whole(share):
    label = cells()
    left = missed_objects(label, rng(), share=share)
    objects = ndimage.label(label)[0]
    survivors = {n for n in range(1, 37) if (left == label)[objects == n].all()}
    assert len(survivors) == 36 - 36 * share
    assert not left[~np.isin(objects, sorted(survivors))].any()


def test_a_single_object_is_missed_in_its_share_of_the_images():
    label = cells(1, 1)
    missed = [not missed_objects(label, rng(seed), share=0.3).any() for seed in range(500)]
    assert abs(np.mean(missed) - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 500)


def test_an_image_without_objects_has_none_to_miss():
    nothing = np.zeros((5, 6, 7), np.int64)
    assert np.array_equal(missed_objects(nothing, rng(), share=0.9), nothing)


@EACH
def test_ignored_pixels_stay_ignored_and_do_not_spread(noise):
    label = cells()
    label[30:60] = 255
    noisy = noise(label, rng(), ignore=255)
    assert np.array_equal(noisy == 255, label == 255)
    assert wrong_share(noisy, label, ignore=255) > 0


def test_the_share_of_wrong_pixels_counts_those_that_have_a_label():
    label, noisy = np.array([[0, 1], [1, 255]]), np.array([[1, 1], [1, 0]])
    assert wrong_share(noisy, label, ignore=255) == pytest.approx(1 / 3)
    assert math.isnan(wrong_share(noisy, np.full((2, 2), 255), ignore=255))


def sample(name="a", label=None):
    return {"id": name, "label": torch.from_numpy(cells() if label is None else label)[None].float(), "image": 1}


@EACH
def test_an_image_keeps_its_noise_and_others_have_other_noise(noise):
    noised = LabelNoised("label", noise, seed=1)
    first, other, again = (noised(sample(name))["label"] for name in ("a", "b", "a"))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, LabelNoised("label", noise, seed=2)(sample("a"))["label"])
    assert torch.equal(first, LabelNoised("label", noise, seed=1)(sample("a"))["label"])


@EACH
def test_the_sample_and_its_label_are_left_as_they_were_and_types_are_kept(noise):
    given = sample()
    out = LabelNoised("label", noise)(given)
    assert torch.equal(given["label"], sample()["label"]) and out["image"] == 1
    assert out["label"].dtype == torch.float32 and out["label"].shape == given["label"].shape
    assert wrong_share(out["label"].numpy(), given["label"].numpy()) > 0


def test_a_tensor_keeps_its_place_in_the_patient():
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0]))
    given = sample() | {"label": MetaTensor(sample()["label"], affine=affine)}
    out = LabelNoised("label", NOISES["windows"])(given)["label"]
    assert torch.equal(out.affine, given["label"].affine)


def config(chosen):
    noises = {
        name: {"_target_": f"pipeline.data.label_noise.{function}", "_mode_": "callable", **NAMED[name]}
        for name, function in (("windows", "window_noise"), ("jitter", "boundary_jitter"), ("missed", "missed_objects"))
    }
    noised = {
        "_target_": "pipeline.data.label_noise.LabelNoised",
        "keys": "label",
        "noise": "$@noises[@label_noise]",
        "seed": "@seed",
    }
    return ConfigParser({"label_noise": chosen, "seed": 3, "noises": {"none": None, **noises}, "noised": noised})


@pytest.mark.parametrize("chosen", NOISES)
def test_a_config_chooses_the_noise_by_name(chosen):
    out = config(chosen).get_parsed_content("noised")(sample())
    assert torch.equal(out["label"], LabelNoised("label", NOISES[chosen], seed=3)(sample())["label"])


def test_a_config_can_choose_clean_labels():
    given = sample()
    assert config("none").get_parsed_content("noised")(given)["label"] is given["label"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": 1}, "classes is 1: with fewer than 2 there is no wrong one"),
        ({"classes": 2}, r"label holds \[2\], not only 0 to 1: instance ids are no classes"),
        ({"share": 1.1}, "share is 1.1, it must be a share of the area"),
        ({"share": 1.0}, r"share 1.0 of \(120, 120\) is 3600 windows of 2, at most 3481 surely fit"),
        ({"window": 0}, "window is 0: windows of 1 to 120 pixels fit"),
        ({"window": 121}, "window is 121"),
    ],
)
def test_windows_that_make_no_sense_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        window_noise(cells(), rng(), **NAMED["windows"] | changed)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: boundary_jitter(cells(), rng(), amplitude=-1.0), "amplitude -1.0 must not be negative"),
        (lambda: boundary_jitter(cells(), rng(), amplitude=1.0, smoothness=0.0), "smoothness 0.0 must be positive"),
        (lambda: missed_objects(cells(), rng(), share=-0.1), "share is -0.1, it must be a share of the objects"),
        (
            lambda: LabelNoised("label", NOISES["jitter"])({"label": None, "image": None}),
            r"no 'id' .* \['image', 'label'\]",
        ),
        (
            lambda: LabelNoised("label", NOISES["jitter"])(sample() | {"label": torch.zeros(2, 4, 4)}),
            r"label \(2, 4, 4\) must be \(1, \*spatial\) of class indices",
        ),
    ],
)
def test_noise_without_a_meaning_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
