"""What each layer does, at a glance: nuclei under noise, whose logits are their brightness, without any network.

    python tests/benchmarks/prior_figures.py IMAGE MASK OUT.png [OUT.png ...]

IMAGE and MASK: a grey picture of the Data Science Bowl 2018 (CC0) and its instance ids. The figure shows the
surroundings of its largest nucleus (in the bundles' cards 28d33efef218...): above, the contour of each result over the
noisy picture, below, the probability u. The nucleus' centroid and area stand for what a user knows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from pipeline.inference.priors import ObjectPrior
from pipeline.io.image2d import read_image
from pipeline.io.whole_file import whole_file
from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.layers.star_shape import StarShape
from pipeline.layers.volume_preserving import VolumePreserving
from pipeline.numerics.star import object_center

SIDE = 96  # pixels of the surroundings
NOISE = 0.25  # its standard deviation, as a share of the nucleus' brightness over the background
EDGE, GAIN = 0.6, 6.0  # the brightness whose logit is 0, and how much a logit rises from the background to the nucleus
SETTINGS = {"spatial_dims": 2, "weight": 3.0, "entropy": 1.0}


def surroundings(image: Path, mask: Path) -> tuple[Tensor, Tensor]:
    """(SIDE, SIDE) each: brightness, the background at 0 and the nucleus at 1, noise added; the nucleus itself."""
    picture, ids = read_image(image).array, read_image(mask).array
    grey = picture.mean(axis=2) if picture.ndim == 3 else picture.astype(float)
    largest = ids == np.bincount(ids.ravel())[1:].argmax() + 1
    middle = np.argwhere(largest).mean(axis=0).astype(int)
    low = [int(np.clip(m - SIDE // 2, 0, max(n - SIDE, 0))) for m, n in zip(middle, ids.shape, strict=True)]
    part = tuple(slice(start, start + SIDE) for start in low)
    scaled = (grey - np.median(grey[ids == 0])) / (grey[largest].mean() - np.median(grey[ids == 0]))
    noise = np.random.default_rng(0).normal(0, NOISE, grey.shape)
    return torch.from_numpy((scaled + noise)[part]), torch.from_numpy(largest[part])


def results(brightness: Tensor, nucleus: Tensor) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    """Title, u of the object, (SIDE, SIDE), None for what is no probability, and its mask."""
    logit = GAIN * (brightness - EDGE)
    logits = torch.stack([torch.zeros_like(logit), logit])[None]
    center = torch.from_numpy(object_center(nucleus.numpy()))[None]
    area = torch.tensor([float((~nucleus).sum()), float(nucleus.sum())])
    few, many = (SoftThresholdDynamics(**SETTINGS, iterations=n) for n in (10, 200))
    star = StarShape(many)
    both = star(logits, center, area)
    for title, found in {
        "softmax:\neach pixel alone": logits,
        "soft threshold dynamics:\na short boundary": few(logits),
        "volume preserving:\nthe area of one nucleus": VolumePreserving(few)(logits, area),
        "star shape:\nall see the centre +": star(logits, center),
        "star shape and volume:\none star of that area": both,
    }.items():
        u = found.softmax(dim=1)[0, 1]
        yield title, u, u > 0.5
    count = int(nucleus.sum())
    exact = ObjectPrior()(both[0], {1: center.numpy()}, {1: (count, count)})
    yield "the same as delivered:\nexact to the pixel", None, exact.labels == 1


def draw(image: Path, mask: Path) -> Figure:
    brightness, nucleus = surroundings(image, mask)
    row, column = object_center(nucleus.numpy())
    found = list(results(brightness, nucleus))
    figure = Figure(figsize=(2 * len(found), 4.5), layout="constrained")
    axes = figure.subplots(2, len(found))
    for (above, below), (title, u, made) in zip(axes.T, found, strict=True):
        above.imshow(brightness, cmap="gray", vmin=-0.5, vmax=1.6)
        above.contour(made.double(), [0.5], colors="#ffd000", linewidths=1.4)
        above.plot(column, row, "+", color="#0066ff", markersize=11, markeredgewidth=2)
        above.set_title(title, fontsize=9)
        below.imshow(made.double() if u is None else u, cmap="magma", vmin=0, vmax=1)
        below.set_title(f"{int(made.sum())} of {int(nucleus.sum())} pixels", fontsize=8)
        for axis in (above, below):
            axis.set_axis_off()
    return figure


def _png(figure: Figure) -> bytes:
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(96).save(small, format="PNG", optimize=True)  # a third of the bytes
    return small.getvalue()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    matplotlib.use("agg")
    drawn = _png(draw(Path(sys.argv[1]), Path(sys.argv[2])))
    for out in sys.argv[3:]:
        with whole_file(Path(out)) as part:
            part.write_bytes(drawn)
