"""Seeded changes of a label map that stand for a network's errors, a kind for each case."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MARGIN_MM = 12
KINDS = ("shifted", "turned", "dilated", "eroded", "noisy", "kidney dropped", "false alarm", "tumour missed")


def perturbed(labels: NDArray[np.uint8], spacing_mm: tuple[float, ...], kind: str, seed: int) -> NDArray[np.uint8]:
    """The map with errors of one kind, in the same order of memory. All but the shifted have a noisy boundary too."""
    random = np.random.default_rng(seed)
    spacing = np.array(spacing_mm)
    found = ndimage.find_objects((labels > 0).view(np.uint8))[0]
    margin = np.ceil(MARGIN_MM / spacing).astype(int)
    crop = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(found, margin, strict=True))
    part = labels[crop]
    if kind == "shifted":
        direction = random.normal(size=3)
        step = direction / np.linalg.norm(direction) * random.uniform(1, 3)
        part = ndimage.shift(part, step / spacing, order=0)
    else:
        part = _noisy(part, spacing, random)
    if kind == "turned":
        finest = tuple(np.argsort(spacing)[:2])
        part = ndimage.rotate(part, random.uniform(-2, 2), axes=finest, order=0, reshape=False)
    elif kind in ("dilated", "eroded"):
        reach = np.indices(2 * (1 / spacing).astype(int) + 1).T - (1 / spacing).astype(int)
        ball = (np.linalg.norm(reach * spacing, axis=-1) <= 1).T
        part = (ndimage.grey_dilation if kind == "dilated" else ndimage.grey_erosion)(part, footprint=ball)
    elif kind == "kidney dropped":
        parts, _ = ndimage.label(part > 0)
        part = np.where(parts == np.bincount(parts[parts > 0]).argmax(), 0, part)
    elif kind == "tumour missed":
        part = np.minimum(part, 1)
    changed = np.zeros_like(labels, order="K")
    changed[crop] = part
    if kind == "false alarm":
        centre = np.array(labels.shape) * (0.5, 0.2, 0.2)
        near = changed[tuple(slice(max(0, int(c - m)), int(c + m) + 1) for c, m in zip(centre, margin, strict=True))]
        middle = (np.array(near.shape)[:, None, None, None] - 1) / 2
        near[np.linalg.norm(((np.indices(near.shape) - middle).T * spacing).T, axis=0) < 8] = 2
    return changed


def _noisy(part: NDArray[np.uint8], spacing: NDArray, random: np.random.Generator) -> NDArray[np.uint8]:
    """Every voxel takes the label of a place that lies about 0.8 mm off, neighbours of similar places."""
    places = np.indices(part.shape, np.float32)
    for axis, step in enumerate(spacing):
        coarse = random.normal(size=[-(-n // 4) + 1 for n in part.shape]).astype(np.float32)
        offsets = ndimage.zoom(coarse, 4, order=1)[tuple(map(slice, part.shape))]
        places[axis] += offsets * 0.8 / step
    return ndimage.map_coordinates(part, places, order=0)
