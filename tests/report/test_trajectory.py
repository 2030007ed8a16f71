"""The pictures and values of a trajectory say when, where and how far a contour moved."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from pipeline.inference.trajectory import Trajectory
from pipeline.io.volume import Volume
from pipeline.report.panels import LINE, PANEL_WIDTH
from pipeline.report.trajectory import ANIMATED_STEPS, END_MS, START_MS, STEP_MS, write_trajectory

YELLOW, WHITE = (255, 208, 0), (255, 255, 255)
AFFINE = np.array([[1.0, 0, 0, -30], [0, 2.0, 0, 7], [0, 0, 5.0, 100], [0, 0, 0, 1]])
CORNER = (10, 5, 2)
PIXEL_MM = 1.5


def case(times: tuple[float, ...] = (0.0, 0.5, 1.0), *, moved_mm: float = 8.0) -> tuple[Volume, Trajectory]:
    """A ball of 12 mm that moves to the patient's right, and an image of air with 100 HU where it ends: grey.

    The image has 80 x 50 x 12 voxels of 1 x 2 x 5 mm, the level sets a box of 50 x 30 x 8 of them from CORNER on.
    """
    image = Volume(np.full((80, 50, 12), -1000, np.int16), AFFINE)
    box = AFFINE.copy()
    box[:3, 3] += box[:3, :3] @ CORNER
    x, y, z = (box[i, i] * np.arange(n) + box[i, 3] for i, n in enumerate((50, 30, 8)))
    levels = np.stack([ball(x - moved_mm * t, y, z) for t in times], axis=-1)
    image.array[10:60, 5:35, 2:10][levels[..., -1] > 0] = 100
    return image, evolved(times, Volume(levels.astype(np.float32), box))


def evolved(times: tuple[float, ...], levels: Volume) -> Trajectory:
    return Trajectory(times, levels, CORNER, PIXEL_MM)


def ball(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    squares = [(x - 0)[:, None, None] ** 2, (y - 47)[:, None] ** 2, (z - 127) ** 2]
    return np.clip(12 - np.sqrt(sum(squares)), -6, 6)


def turned(volume: Volume, orientation: str) -> Volume:
    """The same voxels stored in another order and direction."""
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(orientation))
    )
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.spatial_shape)
    return Volume(nib.orientations.apply_orientation(volume.array, turn), affine)


def frame(path: Path) -> np.ndarray:
    """The panels without the headline and the titles."""
    return np.asarray(Image.open(path).convert("RGB"))[2 * LINE :]


def bounds(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The first and last row and column in which a panel has a colour."""
    places = np.argwhere((picture[:, :PANEL_WIDTH] == colour).all(-1))
    return np.concatenate([places.min(axis=0), places.max(axis=0)])


def test_every_time_has_a_frame_and_frames_of_a_longer_run_before_are_gone(tmp_path: Path) -> None:
    for times in ((0.0, 0.1, 0.3, 0.7, 1.0), (0.0, 0.4, 1.0)):
        write_trajectory(*case(times), tmp_path, name="kidney")
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            *(f"frame_{i:03d}.png" for i in range(len(times))),
            *("levels.json", "levels.nii.gz", "trajectory.gif", "uncertainty.nii.gz"),
        ]
        assert json.loads((tmp_path / "levels.json").read_text())["times"] == list(times)


def test_the_level_sets_lie_where_the_voxels_of_the_image_do(tmp_path: Path) -> None:
    image, trajectory = case()
    write_trajectory(image, trajectory, tmp_path, name="kidney")
    path = tmp_path / "levels.nii.gz"
    nifti, itk = nib.load(path), sitk.ReadImage(str(path))
    voxel = np.array([3, 2, 1])
    place = image.affine @ [*(voxel + CORNER), 1]
    np.testing.assert_allclose(nifti.affine @ [*voxel, 1], place)
    np.testing.assert_allclose(
        itk.TransformIndexToPhysicalPoint([*voxel.tolist(), 0])[:3], place[:3] * np.array([-1, -1, 1])
    )
    assert nifti.header.get_zooms() == (1, 2, 5, 0.5)


@pytest.mark.parametrize("times", [(0.0, 0.5, 1.0), (0.0, 0.2, 0.4, 0.9, 1.0), (0.0, 1.0)])
def test_uncertain_is_what_is_near_a_contour_that_still_moved_at_the_end(
    tmp_path: Path, times: tuple[float, ...]
) -> None:
    """Level sets that rise by 0 mm at one end of the box and by 5 mm at the other in their whole time."""
    rise = np.linspace(0, 5, 50)[:, None, None]
    values = ball(np.arange(50.0) - 25, np.arange(0.0, 60, 2) + 17, np.arange(0.0, 40, 5) + 112)
    levels = (values[..., None] + rise[..., None] * np.array(times)).astype(np.float32)
    trajectory = evolved(times, Volume(levels, AFFINE))
    write_trajectory(case()[0], trajectory, tmp_path, name="kidney")
    written = nib.load(tmp_path / "uncertainty.nii.gz")
    expected = np.exp(-np.abs(values + rise) / (PIXEL_MM / 2 + rise / 2)) / 2
    np.testing.assert_allclose(written.get_fdata(), expected, rtol=1e-4)
    np.testing.assert_array_equal(written.affine, AFFINE)
    assert trajectory.doubt == pytest.approx(expected.sum() / (values + rise > 0).sum(), rel=1e-4)


def test_a_contour_that_came_to_rest_is_less_in_doubt_and_none_at_all_has_no_doubt() -> None:
    _, early = case((0.0, 0.5, 1.0))
    resting = early.levels.array.copy()
    resting[..., 1] = resting[..., 2]
    assert evolved(early.times, Volume(resting, AFFINE)).doubt < early.doubt
    assert np.isnan(evolved(early.times, Volume(-np.ones_like(resting), AFFINE)).doubt)


def test_the_last_level_set_is_the_result_bit_for_bit(tmp_path: Path) -> None:
    image, trajectory = case()
    write_trajectory(image, trajectory, tmp_path, name="kidney")
    (x, y, z), last = CORNER, nib.load(tmp_path / "levels.nii.gz").dataobj[..., -1] > 0
    assert last.any()
    result = np.zeros(image.array.shape, bool)
    result[x : x + 50, y : y + 30, z : z + 8] = last
    assert np.array_equal(result, image.array == 100)


def test_the_first_frame_shows_the_start_and_the_last_one_the_way_from_it(tmp_path: Path) -> None:
    write_trajectory(*case(), tmp_path, name="kidney")
    first, middle, last = (frame(tmp_path / f"frame_{i:03d}.png") for i in range(3))
    assert not (first == WHITE).all(-1).any()  # the contour covers its own dashes
    # The patient's right is on the left: the contour moves there, from the dashes that stay where it began
    right_ends = [bounds(each, YELLOW)[3] for each in (first, middle, last)]
    assert right_ends[0] > right_ends[1] > right_ends[2]
    assert bounds(last, WHITE)[3] == pytest.approx(right_ends[0], abs=8)
    assert right_ends[0] - right_ends[1] == pytest.approx(right_ends[1] - right_ends[2], abs=2)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPR", "PIL"])
def test_the_contour_lies_on_what_it_surrounds_whatever_the_storage(tmp_path: Path, orientation: str) -> None:
    image, trajectory = case(moved_mm=0)  # no dashes
    there = evolved(trajectory.times, turned(trajectory.levels, orientation))
    write_trajectory(turned(image, orientation), there, tmp_path, name="kidney")
    picture = frame(tmp_path / "frame_002.png")[:, :PANEL_WIDTH]
    bright = np.argwhere(picture.min(axis=-1) > 70)
    voxel = PANEL_WIDTH / 40 * np.array([2, 1, 2, 1])  # 40 mm are shown; rows are 2 mm, columns 1 mm
    apart = bounds(picture, YELLOW) - [*bright.min(axis=0), *bright.max(axis=0)]
    assert (np.abs(apart) < voxel / 2).all()


def test_the_part_that_changed_most_is_shown(tmp_path: Path) -> None:
    image, trajectory = case()
    resting = np.full((80, 50, 12, 3), -6, np.float32)
    resting[10:60, 5:35, 2:10] = trajectory.levels.array
    resting[70:78, 40:48, 3:8] = 6
    write_trajectory(image, trajectory, tmp_path / "one", name="kidney")
    there = evolved(trajectory.times, Volume(resting, AFFINE))
    write_trajectory(image, there, tmp_path / "both", name="kidney")
    one, both = (frame(tmp_path / folder / "frame_002.png") for folder in ("one", "both"))
    assert np.array_equal(one, both)


def test_the_animation_runs_evenly_and_rests_at_both_ends(tmp_path: Path) -> None:
    write_trajectory(*case((0.0, 0.9, 1.0)), tmp_path, name="kidney")  # a state in the middle would make it halt
    animation = Image.open(tmp_path / "trajectory.gif")
    durations, ends = [], []
    for i in range(animation.n_frames):
        animation.seek(i)
        durations.append(animation.info["duration"])
        ends.append(bounds(np.asarray(animation.convert("RGB"))[2 * LINE :], YELLOW)[3])
    assert durations == [START_MS, *[STEP_MS] * (ANIMATED_STEPS - 1), END_MS]
    assert animation.info["loop"] == 0
    steps = [before - after for before, after in pairwise(ends)]
    assert sum(steps) > 2 * ANIMATED_STEPS
    assert min(steps) >= 0 and max(steps) <= 3 * sum(steps) / len(steps)


def test_a_contour_that_stays_is_shown_over_its_whole_time(tmp_path: Path) -> None:
    write_trajectory(*case(moved_mm=0), tmp_path, name="kidney")
    assert np.array_equal(frame(tmp_path / "frame_000.png"), frame(tmp_path / "frame_002.png"))
    assert Image.open(tmp_path / "trajectory.gif").n_frames == ANIMATED_STEPS + 1


def test_a_contour_that_vanishes_is_shown_where_it_was(tmp_path: Path) -> None:
    image, trajectory = case()
    trajectory.levels.array[..., -1] = -6
    write_trajectory(image, trajectory, tmp_path, name="kidney")
    last = frame(tmp_path / "frame_002.png")
    assert not (last == YELLOW).all(-1).any()
    assert (last == WHITE).all(-1).any()
