"""label_volume: labels lie on the image's own grid, whatever its orientation, memory order and number type."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from pipeline.inference.export import label_volume
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
