"""Pictures of objects are resized to a median area, filled with mirrored copies that hide nothing, dimmed, hazed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from pipeline.data.crowds import RandCopyPasted, RandHazed, RandObjectContrast, RandObjectSized

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
    of_objects = (RandObjectSized(KEYS, area=(9, 9), prob=1.0), RandCopyPasted(KEYS, prob=1.0))
    for transform in (*of_objects, RandObjectContrast(KEYS, prob=1.0)):
        sample = transform(empty)
        assert all(torch.equal(torch.as_tensor(sample[key]), empty[key]) for key in KEYS)


def test_what_is_pasted_is_a_mirror_image_and_hides_nothing() -> None:
    places = [(2, 3), (20, 8), (45, 30), (12, 60)]
    before = picture(places)
    pastes = RandCopyPasted(KEYS, prob=1.0, times=1, overlap=0.0, blur=1e-3).set_random_state(0)
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
        pastes = RandCopyPasted(KEYS, prob=1.0, times=1, overlap=overlap, blur=1e-3).set_random_state(1)
        hidden |= {1 - areas(pastes(before))[3] / AREA for _ in range(40)}
    assert shares[0.1] == {0.0} and max(shares[0.3]) == pytest.approx(0.2)


def test_pasting_several_times_fills_a_picture_further_and_hides_nothing() -> None:
    before = picture([(2, 3), (20, 8), (45, 30), (12, 60)])
    filled = {}
    for times in (1, 3):
        pastes = RandCopyPasted(KEYS, prob=1.0, times=times, overlap=0.0).set_random_state(2)
        found = [areas(pastes(before)) for _ in range(60)]
        assert all(set(each.values()) == {AREA} for each in found)
        filled[times] = [len(each) for each in found]
    # of 4 a half is pasted, less what falls on another: at most 4 more each time, and doubled at most
    assert max(filled[1]) <= 8 < max(filled[3]) <= 32
    assert np.mean(filled[3]) > np.mean(filled[1]) + 1


def test_an_objects_contrast_is_multiplied_by_a_factor_of_its_own() -> None:
    before = picture([(5, 5), (5, 35), (30, 20), (40, 60)])
    low, high = 0.35, 1.25
    contrasts = RandObjectContrast(KEYS, factor=(low, high), share=1.0, prob=1.0).set_random_state(0)
    drawn = []
    for _ in range(100):
        after = contrasts(before)
        assert torch.equal(after["label"], before["label"])
        far = after["image"][:, -5:, :30]  # 15 pixels from any object
        torch.testing.assert_close(far, torch.zeros_like(far))  # what is outside stays
        # the centres lie 5 pixels, 7 standard deviations of the seam, inside; around them is 0
        centres = [after["image"][:, row + 5, column + 5] for row, column in ((5, 5), (5, 35), (30, 20), (40, 60))]
        drawn.append([float(centre[0]) / number for number, centre in enumerate(centres, start=3)])
        assert all(torch.allclose(centre, centre[:1]) for centre in centres)  # all colours alike
    logs = np.log(drawn)
    assert np.log(low) - 1e-4 <= logs.min() and logs.max() <= np.log(high) + 1e-4
    # uniform: standard deviation log(1.25 / 0.35) / sqrt 12 = 0.367, of a mean of 400 thus 0.018
    assert logs.mean() == pytest.approx(np.log(low * high) / 2, abs=3 * 0.018)
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.4  # independent: 4 standard deviations of 100


def test_contrast_commutes_with_brightness_and_is_kept_where_no_object_is_drawn() -> None:
    before = picture([(5, 5), (5, 35), (30, 20)])
    brighter = before | {"image": 3 * before["image"] + 2}
    first, second = (
        RandObjectContrast(KEYS, prob=1.0).set_random_state(5)(sample)["image"] for sample in (before, brighter)
    )
    torch.testing.assert_close(second, 3 * first + 2, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first, before["image"])
    kept = RandObjectContrast(KEYS, share=0.0, prob=1.0)(before)["image"]
    torch.testing.assert_close(kept, before["image"], rtol=1e-5, atol=1e-5)
    full = {"image": torch.rand(3, 8, 8), "label": torch.ones(1, 8, 8)}
    assert torch.equal(RandObjectContrast(KEYS, prob=1.0)(full)["image"], full["image"])  # nothing is around it


def test_what_is_outside_keeps_its_light_and_lends_it_to_large_objects() -> None:
    rows = torch.linspace(-1, 1, 240).repeat(3, 240, 1)
    label = torch.zeros(1, 240, 240)
    label[:, 10:230, 10:230] = 4
    after = RandObjectContrast(KEYS, factor=(0.5, 0.5), share=1.0, prob=1.0)({"image": rows, "label": label})["image"]
    torch.testing.assert_close(after[:, :4], rows[:, :4])  # 6 pixels outside
    flat = torch.where(label > 0, 3.0, 1.0).repeat(3, 1, 1)
    after = RandObjectContrast(KEYS, factor=(0.5, 0.5), share=1.0, prob=1.0)({"image": flat, "label": label})["image"]
    # the centre lies 110 pixels, 9 standard deviations of what is around, inside: 1 + (3 - 1) / 2
    torch.testing.assert_close(after[:, 120, 120], torch.full((3,), 2.0))


def test_haze_spreads_its_share_of_the_light_and_loses_none() -> None:
    point = torch.zeros(3, 81, 81)
    point[:2, 40, 40] = 1.0
    share, sigma = 0.4, 5.0
    hazed = RandHazed("image", share=(share, share), sigma=(sigma, sigma), prob=1.0)({"image": point})["image"]
    gaussian = 1 / (2 * np.pi * sigma**2)
    np.testing.assert_allclose(hazed[:2, 40, 40], 1 - share + share * gaussian, rtol=1e-4)
    np.testing.assert_allclose(hazed[:2, 40, 45], share * gaussian * np.exp(-0.5), rtol=1e-3)
    np.testing.assert_allclose(hazed.sum(dim=(1, 2)), [1, 1, 0], rtol=1e-4)  # each colour its own


def test_haze_is_drawn_between_its_bounds() -> None:
    noise = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    hazes = RandHazed("image", share=(0.2, 0.75), sigma=(24.0, 24.0), prob=1.0).set_random_state(0)
    # so wide a Gaussian leaves nothing of noise but its mean: what remains of its spread is 1 - a
    kept = [float(hazes({"image": noise})["image"].std() / noise.std()) for _ in range(200)]
    assert 0.25 - 0.01 < min(kept) < 0.27 and 0.78 < max(kept) < 0.8 + 0.01


@pytest.mark.parametrize("transform", [RandCopyPasted, RandObjectContrast, RandHazed])
def test_the_same_seed_gives_the_same_picture(transform: type) -> None:
    before = picture([(2, 3), (20, 8), (45, 30), (12, 60)])
    keys = "image" if transform is RandHazed else KEYS
    first, second = (transform(keys, prob=1.0).set_random_state(7)(before) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in KEYS)
    never = transform(keys, prob=0.0)(before)
    assert all(torch.equal(never[key], before[key]) for key in KEYS)


@pytest.mark.parametrize("depths", [False, True])
def test_the_nuclei_are_trained_at_several_depths_where_one_says_so(depths: bool) -> None:
    train = Path(__file__).resolve().parents[2] / "bundles/dvis_nuclei_segmentation/configs/train.yaml"
    config = ConfigParser(ConfigParser.load_config_file(str(train)) | {"depths": depths})
    transforms = {type(each): each for each in config.get_parsed_content("train::preprocessing").transforms}
    assert (RandObjectContrast in transforms, RandHazed in transforms) == (depths, depths)
    assert transforms[RandCopyPasted].times == (3 if depths else 1)
