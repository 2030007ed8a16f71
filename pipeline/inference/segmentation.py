"""What a Segmenter is told of one image, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.inference.priors import Centers, Volumes
from pipeline.inference.trajectory import Trajectory
from pipeline.io.images import to_nibabel, to_sitk
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    import nibabel
    import SimpleITK


@dataclass(frozen=True, eq=False, kw_only=True)
class Prompt:
    """What a user knows of one image.

    initial: a contour to start from, as a label map on the image's grid (axes in any order).
    initial_labels: which of its labels are the object; may be empty if there is but one.
    new_objects: let parts appear that the initial contour does not touch (the other kidney).
    keep_within_mm: where the contour would nowhere move by more than this it stays as it is; None: one pixel of the
        network, below which it cannot tell right from wrong; 0: every move is made.
    centers: label -> (objects, n), in pixels in the axes' order; such a label becomes star-shaped about them.
    volumes: label -> (least, most), in pixels, of all objects of the label together.
    """

    initial: Volume | None = None
    initial_labels: tuple[int, ...] = ()
    new_objects: bool = False
    keep_within_mm: float | None = None
    centers: Centers = field(default_factory=dict)
    volumes: Volumes = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """labels: uint8, on the image's own grid (the affine is the same object); names: label value -> name.

    trajectory: how the contour evolved, if that was asked for and there was a contour. flags: see quality.py.
    centers, volumes: as in Prompt, those that were used, whether given or predicted.
    objects: uint16, numbered from 1, in bundles that tell the objects of their only label apart.
    probabilities: uint16, (*spatial, labels), 65535 for 1, if they were asked for; the network's own, before a prior on
        whole objects. The background is what the labels leave.
    """

    labels: Volume
    names: dict[int, str]
    trajectory: Trajectory | None = None
    flags: tuple[str, ...] = ()
    centers: Centers = field(default_factory=dict)
    volumes: Volumes = field(default_factory=dict)
    objects: Volume | None = None
    probabilities: Volume | None = None

    def to_nibabel(self) -> nibabel.nifti1.Nifti1Image:
        """The labels of a volume as an image of nibabel."""
        return to_nibabel(self.labels)

    def to_sitk(self) -> SimpleITK.Image:
        """What is written of a case, so numbered objects where there are any, as an image of SimpleITK."""
        return to_sitk(self.objects or self.labels)
