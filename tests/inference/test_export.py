"""label_volume: labels lie on the image's own grid, whatever its orientation, memory order and number type."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from pipeline.inference.export import label_volume, probabilities_beside, whole_logits
from pipeline.inference.slices import AxialSliceInferer
from pipeline.io.volume import Volume

INFERER = AxialSliceInferer(size=24, air=-1.0, batch_size=4)
CPU = torch.device("cpu")


def scaled(sample):
    return {"image": (sample["image"] / 100).clamp(-1, 1)}


def right_half_of_what_is_bright(images):
    """A "network" that knows its left from its right: bright pixels with R beyond the middle."""
    ramp = torch.linspace(-1, 1, images.shape[-2]).view(1, 1, -1, 1)
    return torch.minimum(images, ramp)


def labelled(image, intensity=scaled, *, everywhere=False):
    road = {"intensity": intensity, "device": CPU, "everywhere": everywhere}
    return label_volume(image, INFERER.parts(image, right_half_of_what_is_bright, **road))


def ras_scan():
    """A bright block on both sides of the middle, in RAS+ order."""
    scan = np.full((24, 24, 6), -100, dtype=np.int16)
    scan[4:20, 8:14, 1:4] = 100
    return scan


@pytest.fixture(scope="module")
def expected():
    labels = ras_scan() > 0
    labels[:12] = False
    return labels


ORIENTATIONS = list(product(permutations(range(3)), product((False, True), repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_labels_are_the_same_in_the_patient_for_all_48_orientations(axes, flips, expected):
    scan, truth, affine = ras_scan().transpose(axes), expected.transpose(axes), np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = -1 if flip else 1
        if flip:
            scan, truth = np.flip(scan, axis), np.flip(truth, axis)
    labels = labelled(Volume(scan, affine))
    np.testing.assert_array_equal(labels.array, truth)
    assert labels.affine is affine and labels.array.dtype == np.uint8


@pytest.mark.parametrize("layout", ["C", "F", "strided", "big-endian", "uint16", "float64"])
def test_memory_order_and_number_type_do_not_matter(layout, expected):
    scan = ras_scan()
    scan = {
        "C": np.ascontiguousarray(scan),
        "F": np.asfortranarray(scan),
        "strided": np.repeat(scan, 2, axis=2)[:, :, ::2],
        "big-endian": scan.astype(">i2"),
        "uint16": (scan + 100).astype(np.uint16),
        "float64": scan.astype(np.float64),
    }[layout]
    shift = (lambda s: scaled({"image": s["image"] - 100})) if layout == "uint16" else scaled
    labels = labelled(Volume(scan, np.eye(4)), shift)
    np.testing.assert_array_equal(labels.array, expected)


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS[::7])
def test_what_is_kept_of_every_place_lies_where_the_labels_lie(axes, flips):
    scan = np.random.default_rng(0).integers(-100, 100, (9, 7, 5)).astype(np.int16).transpose(axes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = -1 if flip else 1
    image = Volume(scan, affine)
    labels, chances = labelled(image).array, np.full((*scan.shape, 1), 7, np.uint16)
    road = {"intensity": scaled, "device": CPU, "everywhere": True}
    parts = INFERER.parts(image, right_half_of_what_is_bright, **road)
    logits = whole_logits(image, probabilities_beside(parts, chances)).numpy()
    np.testing.assert_array_equal(logits[0] > 0, labels)
    np.testing.assert_array_equal(chances[..., 0], np.round(65535 / (1 + np.exp(-logits[0].astype(np.float64)))))
    assert labels.any()


def test_probabilities_of_labels_are_what_softmax_gives_them_without_the_background():
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    chances = np.zeros((4, 5, 2), np.uint16)
    image = Volume(np.zeros((4, 5)), np.eye(3))
    labels = label_volume(image, probabilities_beside([((slice(None), slice(None)), logits)], chances))
    np.testing.assert_allclose(chances / 65535, logits.softmax(dim=0)[1:].movedim(0, -1), atol=1e-5)
    background = 65535 - chances.sum(axis=-1, dtype=np.int64)
    np.testing.assert_array_equal(labels.array, np.argmax([background, chances[..., 0], chances[..., 1]], axis=0))
