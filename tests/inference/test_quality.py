"""The flags speak when a result may be wrong and are silent when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.inference import quality
from pipeline.inference.quality import sizes, used
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume

NAMES = {1: "kidney", 2: "kidney tumour"}


def flags(*case, modality="CT", **options) -> tuple[str, ...]:
    return quality.flags(*case, modality=modality, **options)


def scan(shape=(20, 30, 12), spacing_mm=(10.0, 10.0, 5.0), low=-1000, high=300) -> Volume:
    values = np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.int16)
    return Volume(values, np.diag([*spacing_mm, 1.0]))


def labelled(image: Volume, **boxes: tuple[slice, ...]) -> Volume:
    array = np.zeros(image.spatial_shape, np.uint8)
    for name, box in boxes.items():
        array[box] = int(name[-1])
    return Volume(array, image.affine)


INSIDE = (slice(3, 5), slice(3, 6), slice(3, 7))  # 2 x 3 x 4 voxels
ELSEWHERE = (slice(10, 12), slice(10, 12), slice(5, 6))


def test_a_change_is_measured_from_the_mask_that_it_began_with() -> None:
    image = scan(spacing_mm=(2.0, 3.0, 5.0))
    half = (slice(3, 4), *INSIDE[1:])  # 12 of the 24 voxels
    measured = quality.change(labelled(image, label1=INSIDE), labelled(image, label1=half))
    assert measured == pytest.approx({"volume_ml_initial": 12 * 0.03, "dice_to_initial": 2 * 12 / (24 + 12)})
    nothing = labelled(image)
    assert quality.change(nothing, labelled(image, label1=half))["dice_to_initial"] == 0
    assert np.isnan(quality.change(labelled(image, label1=half), nothing)["dice_to_initial"])


def test_a_volume_is_measured_in_millilitres_by_its_affine() -> None:
    image = scan(spacing_mm=(2.0, 3.0, 5.0))
    assert sizes(labelled(image, label1=INSIDE), NAMES) == {
        "volume_ml_kidney": pytest.approx(24 * 2 * 3 * 5 / 1000),
        "volume_ml_kidney_tumour": 0.0,
    }


def test_an_image_is_measured_in_pixels() -> None:
    labels = Volume(np.array([[0, 1], [1, 1]]), np.eye(3))
    assert sizes(labels, {1: "nucleus"}) == {"area_px_nucleus": 3.0}


def test_a_whole_object_in_a_plain_ct_raises_no_flag() -> None:
    image = scan()
    assert flags(image, labelled(image, label1=INSIDE, label2=ELSEWHERE), NAMES, field_of_view_mm=(250, 500)) == ()


def test_a_label_that_was_not_found_is_named() -> None:
    image = scan()
    assert flags(image, labelled(image, label1=INSIDE), NAMES) == ("EMPTY:kidney_tumour",)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_an_object_cut_off_at_any_side_is_named(axis: int, end: int) -> None:
    image = scan()
    box: list = [slice(5, 6)] * 3
    box[axis] = slice(0, 2) if end == 0 else slice(image.array.shape[axis] - 1, None)
    found = flags(image, labelled(image, label1=tuple(box), label2=ELSEWHERE), NAMES)
    assert found == ("TOUCHES_BORDER:kidney",)
    assert flags(image, labelled(image, label1=tuple(box), label2=ELSEWHERE), NAMES, numbered=True) == ()


@pytest.mark.parametrize(("trained_mm", "flagged"), [((250, 299), True), ((301, 500), True), ((299, 301), False)])
def test_the_longer_side_of_a_slice_is_held_against_the_trained_range(trained_mm, flagged) -> None:
    image = scan()  # slices of 200 mm x 300 mm
    found = flags(image, labelled(image, label1=INSIDE), {1: "kidney"}, field_of_view_mm=trained_mm)
    assert found == (("FIELD_OF_VIEW",) if flagged else ())


def test_the_slices_are_found_whichever_axis_they_lie_along() -> None:
    image = scan(shape=(4, 30, 30))
    turned = Volume(image.array, image.affine[:, [2, 0, 1, 3]])  # the first array axis runs along the patient
    found = flags(turned, labelled(turned, label1=(slice(1, 3), slice(3, 4), slice(3, 4))), {1: "kidney"})
    assert found == ("FEW_SLICES",)


@pytest.mark.parametrize(("low", "high"), [(-125, 275), (0, 2000), (0, 1)])
def test_values_without_air_are_hardly_hounsfield_units(low: int, high: int) -> None:
    image = scan(low=low, high=high)
    assert flags(image, labelled(image, label1=INSIDE), {1: "kidney"}) == ("HU_RANGE",)


def test_only_a_ct_has_to_look_like_one() -> None:
    image = scan(low=0, high=2000)
    assert flags(image, labelled(image, label1=INSIDE), {1: "kidney"}, modality="MR") == ()


@pytest.mark.parametrize(
    ("taken", "scanned", "flagged"),
    [
        ("CT", "MR", ("MODALITY:MR",)), ("CT", "PT", ("MODALITY:PT",)), ("US", "XC", ("MODALITY:XC",)),
        ("dermoscopy", "US", ("MODALITY:US",)), ("MR", "CT", ("MODALITY:CT",)),
        ("CT", "CT", ()), ("CT", "", ()), ("CT", "OT", ()), ("US", "US", ()), ("MRI", "MR", ()),
        ("dermoscopy", "XC", ()),
    ],
)  # fmt: skip
def test_a_header_that_names_another_modality_than_the_bundle_takes_is_flagged(taken, scanned, flagged) -> None:
    image = scan()
    assert flags(image, labelled(image, label1=INSIDE), {1: "kidney"}, modality=taken, scanned=scanned) == flagged


def test_a_sheared_grid_is_flagged_and_measured_by_its_true_voxels() -> None:
    image = scan(spacing_mm=(2.0, 3.0, 5.0))
    image.affine[1, 2] = 1.5
    assert flags(image, labelled(image, label1=INSIDE), {1: "kidney"}) == ("TILTED",)
    assert sizes(labelled(image, label1=INSIDE), {1: "kidney"}) == {"volume_ml_kidney": pytest.approx(24 * 30 / 1000)}


def test_padding_outside_the_circle_does_not_pass_for_air() -> None:
    image = scan(low=0, high=2000)  # the intercept of -1024 is missing
    image.array[:5] = -2000
    assert "HU_RANGE" in flags(image, labelled(image, label1=ELSEWHERE), {1: "kidney"})


def test_an_image_is_not_judged_as_a_ct() -> None:
    image = Volume(np.zeros((8, 8), np.uint8), np.eye(3))
    labels = Volume(np.pad(np.ones((2, 2), np.uint8), 3), np.eye(3))
    assert flags(image, labels, {1: "nucleus"}, field_of_view_mm=(250, 500)) == ()


def test_what_a_result_was_made_with_is_named_along_the_axes_of_a_viewer():
    flat, solid = Volume(np.zeros((4, 5), np.uint8), np.eye(3)), Volume(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    centers = {1: np.array([[1.0, 2.5], [3.0, 4.0]])}
    assert used(flat, {1: "lesion"}, centers, {1: (7, 9)}) == {
        **{"center_x": 2.5, "center_y": 1.0, "center_x_2": 4.0, "center_y_2": 3.0},
        **{"least_px": 7.0, "most_px": 9.0},
    }
    named = used(solid, {1: "left kidney", 2: "tumour"}, {1: np.array([[1.0, 2.0, 3.0]])}, {2: (0, 4)})
    places = {"center_x_left_kidney": 1.0, "center_y_left_kidney": 2.0, "center_z_left_kidney": 3.0}
    assert named == places | {"least_px_tumour": 0.0, "most_px_tumour": 4.0}


def test_the_mean_of_the_image_in_each_label_is_in_hounsfield_units_of_a_ct_alone() -> None:
    image = scan(spacing_mm=(2.0, 3.0, 5.0))
    labels = labelled(image, label1=INSIDE)
    expected = float(image.array[INSIDE].mean())
    measured = quality.intensity(image, labels, NAMES, modality="CT")
    assert measured["mean_hu_kidney"] == pytest.approx(expected) and np.isnan(measured["mean_hu_kidney_tumour"])
    of_mr = quality.intensity(image, labels, {1: "kidney"}, modality="MR")
    assert of_mr == {"mean_intensity_kidney": pytest.approx(expected)}
    colours = Volume(np.array([[[0, 30, 60]], [[255, 255, 255]]], np.uint8), np.eye(3))
    found = quality.intensity(colours, Volume(np.array([[1], [0]]), np.eye(3)), {1: "cell"}, modality="CT")
    assert found == {"mean_intensity_cell": 30.0}


@pytest.mark.parametrize(
    ("expected", "flagged"),
    [
        ({"plausible_ml": (0.7, 0.73)}, ()),  # 24 voxels of 30 mm3
        ({"plausible_ml": (0.73, 9.0)}, ("IMPLAUSIBLE_SIZE:kidney",)),
        ({"plausible_ml": (0.0, 0.7)}, ("IMPLAUSIBLE_SIZE:kidney",)),
        ({"parts": 1}, ()),
    ],
)
def test_a_size_that_no_whole_organ_has_is_flagged(expected, flagged) -> None:
    image = scan(spacing_mm=(2.0, 3.0, 5.0))
    segments = {1: Segment(name="kidney", **expected), 2: Segment(name="tumour", parts=1, plausible_ml=(5.0, 6.0))}
    assert flags(image, labelled(image, label1=INSIDE), {1: "kidney"}, segments=segments) == flagged


@pytest.mark.parametrize(("parts", "stray", "flagged"), [(1, 2, True), (2, 2, False), (2, 1, False), (1, 1, False)])
def test_more_parts_than_an_organ_has_are_flagged_unless_they_are_specks(parts, stray, flagged) -> None:
    """A body of 150 voxels, and `stray` of 1 apart from it: above and below 1 %."""
    image = scan()
    labels = labelled(image, label1=(slice(2, 7), slice(2, 7), slice(2, 8)))
    labels.array[10, 10, 5 : 5 + stray] = 1
    assert labels.array.sum() == 150 + stray
    segments = {1: Segment(name="kidney", parts=parts)}
    found = flags(image, labels, {1: "kidney"}, segments=segments)
    assert found == (("FRAGMENTS:kidney",) if flagged else ())


def test_what_is_left_out_is_flagged_by_label_unless_it_is_a_speck() -> None:
    image = scan()
    labels = labelled(image, label1=(slice(2, 7), slice(2, 7), slice(2, 10)), label2=ELSEWHERE)  # 200 and 4 voxels
    small = np.zeros(labels.array.shape, bool)
    small[2, 2, 2:4] = True  # a hundredth of the kidney, and no more
    assert quality.left_out(labels, small, NAMES) == ()
    small[2, 2, 4] = small[10, 10, 5] = small[0, 0, 0] = True
    assert quality.left_out(labels, small, NAMES) == ("PARTS_LEFT_OUT:kidney", "PARTS_LEFT_OUT:kidney_tumour")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_voxels_in_memory_changes_nothing(axes: tuple[int, int, int]) -> None:
    draw = np.random.default_rng(0)
    values, found = draw.integers(-1000, 300, (7, 9, 11), np.int16), np.zeros((7, 9, 11), np.uint8)
    found[1:3, 2:8, 1:4], found[5, 2:4, 6:9] = 1, 2
    affine = np.diag([2.0, 2.0, 5.0, 1.0])

    def lying(array: np.ndarray) -> Volume:
        """The same voxels, in memory along `axes`."""
        return Volume(array.transpose(axes).copy(order="C").transpose(np.argsort(axes)), affine)

    image, labels = lying(values), lying(found)
    means = quality.intensity(image, labels, NAMES, modality="CT")
    assert means == {
        "mean_hu_kidney": pytest.approx(values[found == 1].mean()),
        "mean_hu_kidney_tumour": pytest.approx(values[found == 2].mean()),
    }
    segments = {1: Segment(name="kidney", parts=1), 2: Segment(name="kidney tumour", plausible_ml=(1.0, 2.0))}
    assert flags(image, labels, NAMES, segments=segments) == ("IMPLAUSIBLE_SIZE:kidney_tumour",)  # 6 voxels of 20 mm3
