"""Left and right of masks on bodies of known shape, and of real kidneys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.io.nifti import read_nifti
from pipeline.io.orientation import canonical
from pipeline.numerics.sides import LEFT, RIGHT, left_and_right

SCANS = Path(__file__).resolve().parents[3] / "shared" / "data" / "kidney_ct" / "btcv"
SHAPE = (60, 40, 12)
PLANE = 34  # the middle of the body below


def box(x, y=slice(15, 25), s=slice(3, 9)):
    mask = np.zeros(SHAPE, bool)
    mask[x, y, s] = True
    return mask


def body():
    """Columns 15 to 53, and a patient's arm in slices without mask, which must not count."""
    image = np.full(SHAPE, -1000.0, np.float32)
    image[15:54, 5:35] = 40
    image[0:10, 5:35, :3] = 40
    return image


def sided(mask, image=None):
    return left_and_right(mask, body() if image is None else image, body_above=-120)


def test_each_part_lies_on_its_side_of_the_body_and_not_of_the_image():
    left, right = box(slice(22, 30)), box(slice(40, 48))
    found, distance = sided(left | right)
    assert np.array_equal(found, LEFT * left + RIGHT * right)  # by the image's middle, 29.5, the left one would be cut
    assert distance == PLANE - 29


def test_a_single_organ_has_its_side():
    assert set(np.unique(sided(box(slice(40, 48)))[0])) == {0, RIGHT}


def test_mirroring_the_patient_swaps_the_sides():
    mask = box(slice(20, 30)) | box(slice(40, 49), slice(20, 30))
    found, distance = sided(mask)
    mirrored, same = sided(mask[::-1], body()[::-1])
    swapped = np.array([0, RIGHT, LEFT], np.uint8)[mirrored[::-1]]
    assert np.array_equal(found, swapped) and distance == pytest.approx(same)


def test_two_that_touch_are_cut_at_the_plane_and_one_that_leans_over_is_not():
    bridge = box(slice(28, 42), slice(18, 20))
    joined, distance = sided(box(slice(22, 30)) | bridge | box(slice(40, 48)))
    columns = np.arange(SHAPE[0])[:, None, None]
    assert np.array_equal(joined == LEFT, (joined > 0) & (columns <= PLANE)) and (joined == RIGHT).any()
    assert distance == 0
    leaning, distance = sided(box(slice(33, 48)))  # two of fifteen columns beyond the plane
    assert set(np.unique(leaning)) == {0, RIGHT} and distance == 0


def test_nothing_and_no_body():
    found, distance = sided(np.zeros(SHAPE, bool))
    assert not found.any() and distance == np.inf
    air = np.full(SHAPE, -1000.0, np.float32)
    assert set(np.unique(sided(box(slice(20, 28)), air)[0])) == {0, LEFT}


@pytest.mark.skipif(not SCANS.is_dir(), reason="needs the real scans")
def test_the_true_kidneys_of_real_patients_are_all_told_apart():
    cases = sorted(SCANS.glob("*_ct.nii.gz"))
    assert len(cases) == 14
    for case in cases:
        image, labels = (
            canonical(read_nifti(file)).array
            for file in (case, case.with_name(case.name.replace("_ct.nii", "_label.nii")))
        )
        truth = np.where(labels <= 2, labels, 0)  # 1 left, 2 right
        found, distance = left_and_right(truth > 0, image, body_above=-120)
        assert np.array_equal(found, truth), case.name
        assert distance > 10  # pixels of about 2 mm or more: the nearest kidney is no close call
