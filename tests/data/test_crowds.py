"""Pictures of objects are resized to a median area, and filled with mirrored copies that hide nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.data.crowds import RandCopyPasted, RandObjectSized

KEYS = ["image", "label"]
AREA = 10 * 10


def picture(places: list[tuple[int, int]], shape: tuple[int, int] = (60, 80)) -> dict[str, torch.Tensor]:
    """Squares of 10 x 10 with numbers from 3 at `places`, each as bright as its number, on 0."""
    label = torch.zeros(1, *shape)
    for number, (row, column) in enumerate(places, start=3):
        label[0, row : row + 10, column : column + 10] = number
    return {"image": label.repeat(3, 1, 1), "label": label}


def areas(sample: dict[str, torch.Tensor]) -> dict[int, int]:
    numbers, counts = np.unique(np.asarray(sample["label"]), return_counts=True)
    return {int(number): int(count) for number, count in zip(numbers, counts, strict=True) if number}


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_median_object_has_the_area_that_was_drawn(factor: float) -> None:
    wanted = AREA * factor**2
    sized = RandObjectSized(KEYS, area=(wanted, wanted), prob=1.0)(picture([(10, 10), (30, 20), (40, 60)]))
    side = 10 * factor
    assert list(areas(sized)) == [3, 4, 5]
    assert all((side - 1) ** 2 <= area <= (side + 1) ** 2 for area in areas(sized).values())  # sides are whole pixels
    np.testing.assert_allclose(sized["label"].shape, (1, 60 * factor, 80 * factor), atol=1)
    inside = np.asarray(sized["image"])[:, int(15 * factor), int(15 * factor)]
    np.testing.assert_allclose(inside, 3)  # the image was resized with its label


def test_areas_are_spread_evenly_over_their_logarithms() -> None:
    sized = RandObjectSized(KEYS, area=(25.0, 400.0), prob=1.0).set_random_state(0)
    factors = [sized(picture([(10, 10)]))["label"].shape[1] / 60 for _ in range(200)]
    assert min(factors) == pytest.approx(0.5, abs=0.03) and max(factors) == pytest.approx(2, abs=0.05)
    # uniform from log 0.5 to log 2: standard deviation log 4 / sqrt 12 = 0.4, of a mean of 200 thus 0.028
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=3 * 0.028 + 0.01)


def test_no_side_is_shrunk_below_a_crops_and_no_zoom_goes_beyond_its_bounds() -> None:
    sample = picture([(10, 10)])
    assert RandObjectSized(KEYS, area=(1, 1), side=48, prob=1.0)(sample)["label"].shape == (1, 48, 64)
    assert RandObjectSized(KEYS, area=(1, 1), side=90, prob=1.0)(sample)["label"].shape == (1, 60, 80)
    assert RandObjectSized(KEYS, area=(1e6, 1e6), zoom=(0.4, 1.5), prob=1.0)(sample)["label"].shape == (1, 90, 120)


def test_a_picture_without_objects_stays_as_it_is() -> None:
    empty = picture([])
    for transform in (RandObjectSized(KEYS, area=(9, 9), prob=1.0), RandCopyPasted(KEYS, prob=1.0)):
        sample = transform(empty)
        assert all(torch.equal(torch.as_tensor(sample[key]), empty[key]) for key in KEYS)


def test_what_is_pasted_is_a_mirror_image_and_hides_nothing() -> None:
    places = [(2, 3), (20, 8), (45, 30), (12, 60)]
    before = picture(places)
    pastes = RandCopyPasted(KEYS, prob=1.0, overlap=0.0, blur=1e-3).set_random_state(0)
    pasted = 0
    for _ in range(20):
        after = pastes(before)
        found = areas(after)
        assert all(found[number] == AREA for number in (3, 4, 5, 6))  # nothing is hidden
        assert set(found.values()) == {AREA}  # nothing is pasted in part
        pasted += len(found) - len(places)
        new = after["label"][0] > 6
        mirrored = [before["label"].flip(axes)[:, new] for axes in ([1], [2], [1, 2])]
        assert any(torch.equal(after["label"][:, new] - 6, numbers) for numbers in mirrored)
        assert (after["image"][:, new] == after["label"][:, new] - 6).all()  # as bright as its number was
        assert torch.equal(after["image"][:, ~new], before["image"][:, ~new])
    # each of four with a chance of a half, where the mirror image does not fall on another object
    assert 20 < pasted < 80


def test_of_two_that_overlap_neither_hides_more_than_its_share_of_the_other() -> None:
    before = picture([(5, 31)])  # columns 31 to 40; mirrored by the columns 39 to 48: 2 of 10 are shared
    shares: dict[float, set[float]] = {0.1: set(), 0.3: set()}
    for overlap, hidden in shares.items():
        pastes = RandCopyPasted(KEYS, prob=1.0, overlap=overlap, blur=1e-3).set_random_state(1)
        hidden |= {1 - areas(pastes(before))[3] / AREA for _ in range(40)}
    assert shares[0.1] == {0.0} and max(shares[0.3]) == pytest.approx(0.2)


def test_the_same_seed_gives_the_same_picture() -> None:
    before = picture([(2, 3), (20, 8), (45, 30), (12, 60)])
    first, second = (RandCopyPasted(KEYS, prob=1.0).set_random_state(7)(before) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in KEYS)
