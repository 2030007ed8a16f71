from __future__ import annotations

import numpy as np
import pytest

from data_prep.recipe import Recipe, apply
from pipeline.errors import CaseError, InputError
from pipeline.io.volume import Volume
from pipeline.numerics.signed_distance import signed_distance

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
RNG = np.random.default_rng(0)


def volume(array: np.ndarray) -> Volume:
    return Volume(array, AFFINE)


IMAGE = volume(RNG.integers(-1000, 1500, (12, 10, 4)).astype(np.int16))
LABEL = volume(np.zeros((12, 10, 4), np.uint8))
LABEL.array[2:6, 3:6, 1] = 1
LABEL.array[6:9, 3:6, 1] = 2


def test_intensities_are_clipped_before_they_are_averaged() -> None:
    bone_and_air = volume(np.where(np.indices((8, 8, 1)).sum(0) % 2, 3000, -1000).astype(np.int16))
    out = apply(Recipe(window=(-125, 275), size=2), bone_and_air, volume(np.zeros((8, 8, 1))), is_ct=True, known=None)
    np.testing.assert_allclose(out.image.array, 75, atol=2)  # (-125 + 275) / 2, not 1000 clipped to 275


def test_padding_is_air_the_low_end_of_the_window() -> None:
    tall = volume(np.full((4, 8, 1), 40, np.int16))
    out = apply(Recipe(window=(-125, 275), size=8), tall, volume(np.zeros((4, 8, 1))), is_ct=True, known=None)
    np.testing.assert_array_equal(out.image.array[:, 0, 0], [-125, -125, 40, 40, 40, 40, -125, -125])


def test_ct_is_int16_even_beyond_its_range_and_other_images_keep_their_fractions() -> None:
    wild = volume(np.array([-1e5, 0.4, 0.6, 1e5], np.float32).reshape(4, 1, 1))
    nothing = volume(np.zeros((4, 1, 1), np.uint8))
    ct, mr = (apply(Recipe(), wild, nothing, is_ct=is_ct, known=None).image.array for is_ct in (True, False))
    assert ct.dtype == np.int16 and ct.ravel().tolist() == [-32768, 0, 1, 32767]
    assert mr.dtype == np.float32 and (mr == wild.array).all()


def test_channels_are_resampled_each_by_itself_and_stay_last() -> None:
    stacked = volume(np.stack([IMAGE.array, -IMAGE.array], axis=3).astype(np.float32))
    single = apply(Recipe(size=7), volume(stacked.array[..., 0]), LABEL, is_ct=False, known=None)
    both = apply(Recipe(size=7), stacked, LABEL, is_ct=False, known=None)
    assert both.image.array.shape == (7, 7, 4, 2)
    np.testing.assert_array_equal(both.image.array[..., 0], single.image.array)


def test_labels_are_merged_in_the_order_of_the_names_and_the_rest_is_background() -> None:
    labels = volume(np.array([0, 1, 2, 3, 7], np.float32).reshape(5, 1, 1))
    recipe = Recipe(labels={"right": (2,), "both": (1, 7)})
    out = apply(recipe, volume(np.zeros((5, 1, 1))), labels, is_ct=True, known=None)
    assert out.label.array.ravel().tolist() == [0, 2, 1, 0, 2]
    assert out.label.array.dtype == np.uint8


def test_the_distance_is_that_of_the_union_slice_by_slice_and_positive_exactly_on_the_label() -> None:
    out = apply(Recipe(size=12), IMAGE, LABEL, is_ct=True, known={1: "kidney", 2: "tumour"})
    np.testing.assert_array_equal(out.distance.array > 0, out.label.array > 0)
    np.testing.assert_array_equal(out.distance.array[:, :, 1], signed_distance(out.label.array[:, :, 1] > 0))
    assert set(np.unique(out.label.array)) == {0, 1, 2}
    assert (out.distance.array[:, :, 0] == -24).all()  # an empty slice: -(12 + 12)


def test_the_three_volumes_share_a_grid() -> None:
    out = apply(Recipe(spacing_mm=(1, 4, 2.5)), IMAGE, LABEL, is_ct=True, known=None)
    assert out.image.spatial_shape == (24, 5, 8)
    assert out.image.spacing_mm == (1, 4, 2.5)
    assert out.image.same_grid(out.label) and out.image.same_grid(out.distance)


@pytest.mark.parametrize("values", [[0.5], [-1], [256], [np.nan]])
def test_what_is_no_label_is_refused(values: list[float]) -> None:
    bad = volume(np.array(values, np.float32).reshape(1, 1, 1))
    with pytest.raises(CaseError, match="label") as refusal:
        apply(Recipe(), volume(np.zeros((1, 1, 1))), bad, is_ct=True, known=None)
    assert refusal.value.code == "BAD_LABELS"


def test_a_label_that_the_dataset_does_not_name_is_refused_unless_the_user_decides() -> None:
    with pytest.raises(CaseError, match=r"has \[2\], unknown"):
        apply(Recipe(), IMAGE, LABEL, is_ct=True, known={1: "kidney"})
    assert apply(Recipe(labels={"kidney": (1,)}), IMAGE, LABEL, is_ct=True, known={1: "kidney"}).label.array.max() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": (275, -125)}, "--window 275,-125"),
        ({"size": 200, "spacing_mm": (1, 1, 1)}, "exclude each other"),
        ({"size": 0}, "--size 0"),
        ({"spacing_mm": (1, 0, 1)}, "--spacing"),
        ({"labels": {"a": (1, 2), "b": (2,)}}, "each in one label only"),
        ({"labels": {"a": (0,)}}, r"lie in 1..255"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**settings)
