r"""Wrong labels on purpose: as a paper makes them, and as tired annotators do.

    window_noise     small windows are painted over with random classes                 (speckle, the paper's noise)
    boundary_jitter  label(x) -> label(x + d(x)), d a smooth random field               (a hurried contour)
    missed_objects   whole objects become background                                    (overlooked)

Each is a function of a label and a generator, for class indices (*spatial) in two or three dimensions; pixels of the
class `ignore` are never made wrong, nor taken for an object. LabelNoised applies one to the samples of a dataset: an
image always gets the same noise, since a noise that changes with every epoch would be averaged away. In a config:

    label_noise: windows            # a key of `noises`, changed by --set label_noise=jitter
    noises:
      none: null
      windows: {_target_: pipeline.data.label_noise.window_noise, _mode_: callable, window: 2, share: 0.1, classes: 3}
      jitter: {_target_: pipeline.data.label_noise.boundary_jitter, _mode_: callable, amplitude: 2.0}
    ...
      - {_target_: pipeline.data.label_noise.LabelNoised, keys: label, noise: "$@noises[@label_noise]"}

Reference for the first: Liu, Qiao, Li, Schönlieb, Inverse Evolution Layers (2023), sections 3.2.1 to 3.2.3 (windows of
2 x 2, 3 x 3 and 5 x 5 pixels, a tenth of the area, a random class, which may be the right one).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy import ndimage

Label = NDArray[np.integer]
Noise = Callable[[Label, np.random.Generator], Label]


def window_noise(
    label: Label,
    rng: np.random.Generator,
    *,
    classes: int,
    window: int,
    share: float,
    other_class: bool = False,
    ignore: int | None = None,
) -> Label:
    """A copy of `label` (0 ... classes - 1) in which windows of `window` pixels a side have random classes.

    share: of the area, which the windows cover exactly to half a window. They lie on a grid of their own size, shifted
        at random, so that none overlap; what the grid leaves at the border stays right.
    other_class: False draws the class of a window from all, so that share * (1 - 1 / classes) of the pixels become
        wrong on average. True turns each class in a window into another one, and `share` of the pixels are wrong.
    ValueError: one class, classes that `label` does not keep to, or windows that do not fit.
    """
    _check_classes(label, classes, ignore)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, it must be a share of the area, 0 to 1")
    if not 1 <= window <= min(label.shape):
        raise ValueError(f"window is {window}: windows of 1 to {min(label.shape)} pixels fit into {label.shape}")
    count = round(share * label.size / window**label.ndim)
    fewest = math.prod(max(1, (size - window + 1) // window) for size in label.shape)  # cells, wherever the grid starts
    if count > fewest:
        raise ValueError(f"share {share} of {label.shape} is {count} windows of {window}, at most {fewest} surely fit")
    start = [int(rng.integers(min(window, size - window + 1))) for size in label.shape]
    cells = tuple((size - first) // window for size, first in zip(label.shape, start, strict=True))
    step = np.full(math.prod(cells), -1)  # -1: no window
    step[rng.permutation(step.size)[:count]] = rng.integers(int(other_class), classes, count)
    noisy = label.copy()
    inside = tuple(slice(first, first + n * window) for first, n in zip(start, cells, strict=True))
    steps = step.reshape(cells)
    for axis in range(label.ndim):
        steps = steps.repeat(window, axis)
    drawn = (label[inside] + steps) % classes if other_class else steps
    noisy[inside] = np.where(steps < 0, label[inside], drawn)
    return _kept(noisy, label, ignore)


def boundary_jitter(
    label: Label,
    rng: np.random.Generator,
    *,
    amplitude: float,
    smoothness: float = 8.0,
    ignore: int | None = None,
) -> Label:
    """A copy of `label` whose boundaries wander by `amplitude` pixels (root mean square, along each axis).

    smoothness: standard deviation in pixels of the Gaussian that smooths the wandering; a small object is moved as a
        whole, a large one gets a wobbly contour. A boundary of L pixels makes about 0.8 * amplitude * L pixels wrong.
    ValueError: a negative amplitude or a smoothness that is not positive.
    """
    if amplitude < 0 or smoothness <= 0:
        raise ValueError(f"amplitude {amplitude} must not be negative and smoothness {smoothness} must be positive")
    white = rng.standard_normal((label.ndim, *label.shape))
    # the filter's transfer function is positive; divided by its root mean square it keeps the variance of white noise
    frequencies = np.meshgrid(*(np.fft.fftfreq(size) for size in label.shape), indexing="ij")
    transfer = np.exp(-2 * (np.pi * smoothness) ** 2 * sum(f**2 for f in frequencies))
    transfer /= np.sqrt((transfer**2).mean())
    axes = tuple(range(1, white.ndim))
    shift = amplitude * np.fft.ifftn(np.fft.fftn(white, axes=axes) * transfer, axes=axes).real
    moved = ndimage.map_coordinates(label, np.indices(label.shape) + shift, order=0, mode="nearest")
    if ignore is not None:  # nor may it spread
        moved = np.where(moved == ignore, label, moved)
    return _kept(moved, label, ignore)


def missed_objects(
    label: Label,
    rng: np.random.Generator,
    *,
    share: float,
    background: int = 0,
    ignore: int | None = None,
) -> Label:
    """A copy of `label` in which `share` of the objects are background.

    An object is what hangs together, corners included, whatever its classes: a cell goes with its nucleus. Of n objects
    share * n are missed, rounded up or down at random so that it is right on average over many images.
    ValueError: a share outside 0 ... 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, it must be a share of the objects, 0 to 1")
    foreground = label != background
    if ignore is not None:
        foreground &= label != ignore
    objects, count = ndimage.label(foreground, np.ones((3,) * label.ndim))
    missed = 1 + rng.permutation(count)[: int(share * count + rng.random())]
    return np.where(np.isin(objects, missed), np.asarray(background, label.dtype), label)


def wrong_share(noisy: Label, label: Label, *, ignore: int | None = None) -> float:
    """The share of the pixels, ignored ones apart, whose class in `noisy` is not that of `label`; nan if none count."""
    counted = np.ones(label.shape, bool) if ignore is None else label != ignore
    return float((noisy != label)[counted].mean()) if counted.any() else float("nan")


class LabelNoised(MapTransform):
    """Applies a noise to labels (1, *spatial) of class indices; goes before augmentation, which must move it along.

    noise: one of the functions above with its numbers given (`_mode_: callable`), or None, which leaves labels as they
        are. The generator is seeded by `seed` and the sample's `id_key` alone: neither the epoch, nor the order of the
        samples, nor the number of workers changes the noise of an image.
    ValueError: samples without an id, or labels that are one-hot.
    """

    def __init__(self, keys: KeysCollection, noise: Noise | None, *, seed: int = 0, id_key: str = "id") -> None:
        super().__init__(keys)
        self.noise, self.seed, self.id_key = noise, seed, id_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        if self.noise is None:
            return sample
        if self.id_key not in sample:
            raise ValueError(f"a sample has no {self.id_key!r} to seed its noise by, only {sorted(map(str, sample))}")
        for key in self.keys:
            rng = np.random.default_rng([self.seed, *str(sample[self.id_key]).encode()])
            sample[key] = _noisy(sample[key], self.noise, rng)
        return sample


def _noisy(label: NdarrayOrTensor, noise: Noise, rng: np.random.Generator) -> NdarrayOrTensor:
    if len(label) != 1:
        raise ValueError(f"label {tuple(label.shape)} must be (1, *spatial) of class indices: add noise before one-hot")
    noisy = noise(np.asarray(label[0]).astype(np.int64), rng)
    converted: NdarrayOrTensor = convert_to_dst_type(noisy[None], label)[0]
    return converted


def _kept(noisy: Label, label: Label, ignore: int | None) -> Label:
    return noisy if ignore is None else np.where(label == ignore, label, noisy)


def _check_classes(label: Label, classes: int, ignore: int | None) -> None:
    if classes < 2:
        raise ValueError(f"classes is {classes}: with fewer than 2 there is no wrong one; count the background")
    strange = set(np.unique(label).tolist()) - set(range(classes)) - {ignore}
    if strange:
        raise ValueError(f"label holds {sorted(strange)[:3]}, not only 0 to {classes - 1}: instance ids are no classes")
