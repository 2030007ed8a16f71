"""How a contour evolved, to look at: its level sets in a file, its way as frames and as an animated picture.

A contour at a time between two states of the solver is that of the level sets interpolated linearly: level sets can be
interpolated, masks cannot. Within a slice they are interpolated as well, so that a contour is smooth at any zoom; it
passes the voxels' centres on the side on which the mask has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from scipy import ndimage

from pipeline.io.json_file import write_json
from pipeline.io.nifti import write_nifti
from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file
from pipeline.report.framing import most_different, surroundings
from pipeline.report.panels import (
    HOW_IT_LIES,
    Panel,
    as_read,
    colours,
    grey_window,
    pixel_aspect,
    sheet,
    strip,
    tile_shape,
    write_png,
)

ANIMATED_STEPS = 12  # from t = 0 to 1: hits the states of 2, 3, 4, 6 and 12 equal steps
STEP_MS, START_MS, END_MS = 100, 1000, 2000  # how long a frame of the animation stays; the first; the last
GREYS = 224  # of an animation's 256 colours; the others are shades of the contour's


class Evolved(Protocol):
    """What is drawn: {levels(t) > 0} at each of `times`, from 0 to 1.

    levels: (*spatial, times) float32, signed distance in mm, positive inside, on a part of the image's grid.
    """

    @property
    def times(self) -> tuple[float, ...]: ...

    @property
    def levels(self) -> Volume: ...

    @property
    def uncertainty(self) -> Volume:
        """The chance that a voxel lies on the other side of the contour, 0 to 1/2; on the grid of `levels`."""
        ...


class _Scene(NamedTuple):
    """A slice's part that is shown. picture: (rows, columns) of voxels; levels: (times, height, width) of its tile."""

    picture: NDArray
    levels: NDArray[np.float32]
    title: str


def write_trajectory(image: Volume, trajectory: Evolved, folder: Path, *, name: str) -> None:
    """Write how a contour evolved on a volume into `folder`, each file whole or not at all.

    levels.nii.gz: the level sets (x, y, z, t) in mm, with the place of the image's voxels; its step of time is the mean
        one. levels.json: the times themselves, which an adaptive solver does not space equally.
    uncertainty.nii.gz: the chance that a voxel lies on the other side of the contour, as far as the evolution tells.
    frame_000.png, ...: the contour at each time in its colour over the initial one in dashes, about the part of the
        object that changed most (one of two kidneys), on up to three slices: those on which most changed in the lower,
        middle and upper third of that part.
    trajectory.gif: the same at equal steps of time, over and over.
    name: of the object, for the headline. CaseError: WRITE_FAILED.
    """
    times = trajectory.times
    write_nifti(folder / "levels.nii.gz", trajectory.levels, time_step=1 / (len(times) - 1))
    write_json(folder / "levels.json", {"times": list(times), "values": "signed distance in mm, positive inside"})
    write_nifti(folder / "uncertainty.nii.gz", trajectory.uncertainty)
    scenes = list(_scenes(image, trajectory.levels))
    frames = {folder / f"frame_{i:03d}.png": t for i, t in enumerate(times)}
    for path, t in frames.items():
        write_png(_drawn(scenes, times, t, name), path)
    for longer in set(folder.glob("frame_*.png")) - frames.keys():  # of an earlier run, with more steps
        longer.unlink()
    _animate(
        [_drawn(scenes, times, float(t), name) for t in np.linspace(0, 1, ANIMATED_STEPS + 1)],
        folder / "trajectory.gif",
    )


def _scenes(image: Volume, levels: Volume) -> Iterator[_Scene]:
    scan, values, (top, left, lowest) = as_read(image), as_read(levels), _first_voxel(image, levels)
    rows, columns = (slice(start, start + n) for start, n in zip((top, left), values.shape, strict=False))
    inside = _most_moved(values > 0)
    chosen = most_different(inside[..., -1], inside[..., 0])
    outlined = np.zeros(scan.shape[:2], bool)
    outlined[rows, columns] = inside[:, :, chosen].any(axis=(2, 3))
    place = surroundings(outlined, image)
    height, width = outlined[place].shape
    shape = tile_shape(height, width, pixel_aspect(image))
    for k in chosen:
        whole = np.full((*outlined.shape, values.shape[3]), values.min(), np.float32)
        whole[rows, columns] = values[:, :, k]
        finer = np.stack([_resized(level, shape) for level in np.moveaxis(whole[place], -1, 0)])
        yield _Scene(scan[place][..., lowest + k], finer, f"slice {lowest + k + 1} of {scan.shape[2]}, from below")


def _most_moved(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the parts of an object at (*spatial, times): that with the most voxels that changed, or the largest."""
    parts, _ = ndimage.label(inside.any(axis=-1))
    changed = parts[inside[..., 0] != inside[..., -1]]
    counts = np.bincount(changed if changed.any() else parts.ravel(), minlength=2)
    return inside & (parts == 1 + counts[1:].argmax())[..., np.newaxis]


def _first_voxel(image: Volume, part: Volume) -> tuple[int, int, int]:
    """Row, column and slice of `as_read(image)` at which a part of its grid begins."""
    whole, cut = canonical(image), canonical(part)
    x, y, z = np.rint(np.linalg.solve(whole.affine, cut.affine[:, 3])[:3]).astype(int)
    across, along, _ = np.subtract(whole.spatial_shape, cut.spatial_shape)
    return int(along - y), int(across - x), int(z)


def _resized(level: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(level).resize(shape[::-1], Image.Resampling.BILINEAR))


def _drawn(scenes: Sequence[_Scene], times: Sequence[float], t: float, name: str) -> Image.Image:
    chosen = colours({1: name})
    panels = [
        Panel(scene.picture, (_at(t, times, scene.levels) > 0).astype(np.uint8), scene.title, 1.0, scene.levels[0] > 0)
        for scene in scenes
    ]
    row = strip(panels, grey_window(np.stack([scene.picture for scene in scenes])), chosen)
    return sheet([row], [(f"t = {t:.2f}", "white"), (name, chosen[1]), ("start: dashed", "white"), HOW_IT_LIES])


def _at(t: float, times: Sequence[float], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The level sets at t, linear between the states before and after."""
    after = min(int(np.searchsorted(times, t, side="right")), len(times) - 1)
    weight = (t - times[after - 1]) / (times[after] - times[after - 1])
    return (1 - weight) * levels[after - 1] + weight * levels[after]


def _animate(frames: Sequence[Image.Image], path: Path) -> None:
    """One palette for all frames, so that greys do not flicker."""
    palette = Image.new("P", (1, 1))
    greys = np.linspace(0, 255, GREYS)[:, None].repeat(3, axis=1)
    shades = np.linspace(0, 1, 256 - GREYS)[:, None] * ImageColor.getrgb(colours({1: ""})[1])
    palette.putpalette(np.concatenate([greys, shades]).round().astype(np.uint8).tobytes())
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    durations = [START_MS, *[STEP_MS] * (len(others) - 1), END_MS]
    with whole_file(path) as part:
        first.save(part, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)
