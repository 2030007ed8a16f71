"""A bundle as a callable: an image on its own grid in, labels on that very grid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.data import roots
from pipeline.data.parts import LargestParts
from pipeline.errors import CaseError, InputError
from pipeline.inference.devices import chosen_device
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.export import label_volume, probabilities_beside, whole_logits
from pipeline.inference.flips import mirrored
from pipeline.inference.instances import InstanceInferer, picture_objects
from pipeline.inference.loading import LOGITS, built, described, integrate_by
from pipeline.inference.priors import ObjectPrior
from pipeline.inference.quality import column_word, left_out
from pipeline.inference.refine import Evolution, evolve, from_mask, from_regressor, object_mask, strangers
from pipeline.inference.roads import Intensity, Road
from pipeline.inference.segmentation import Prompt, Segmentation
from pipeline.inference.sides import Sides
from pipeline.inference.slabs import AxialSlabs
from pipeline.inference.slices import AxialSliceInferer
from pipeline.inference.trajectory import Recorder
from pipeline.io.channels import is_coloured, unit_values, with_channels
from pipeline.io.images import as_volume
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume
from pipeline.ode.adaptive import StepLimitError

# flags of a result
EMPTY_INITIAL = "EMPTY_INITIAL"  # the initial mask was empty, the bundle's own contour took its place
GREY_PICTURE = "GREY_PICTURE"  # the bundle was trained on colours and was shown grey in all three
COLOURED_PICTURE = "COLOURED_PICTURE"  # the bundle was trained on grey and was shown the luminance of true colours


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmenter:
    """A trained network with what its bundle says about it. Made by `from_bundle`, called with one image after another.

    intensity: the bundle's dictionary transform of {"image": tensor}, the same as in training.
    prior: what holds for whole objects on the image's own grid, whether asked for or not.
    sides: what tells the left one of a pair from the right one, where the network finds both as one label.
    parts: what of each label is kept, where its objects are whole; of labels that began from a given contour all is.
    channels: of the image that the network takes. names: label value -> name; segments: -> its codes and colour.
    field_of_view_mm: in-plane width of the scans that training covered, None if it does not matter.
    mirror_axes: spatial axes along which the network takes mirrored images for images of its kind.
    gives: the format of what the network gives; of "logits" probabilities can be made.
    weights_sha256: of the file, for the record of a run; of several files one after the other.
    licence: of the bundle's own weights, in a line; empty for others.
    tta: average over mirror images (flips.py). probabilities: keep them in every Segmentation.
    """

    network: nn.Module
    inferer: Road | InstanceInferer
    intensity: Intensity
    device: torch.device
    name: str
    version: str
    weights_sha256: str
    channels: int
    names: dict[int, str]
    segments: Mapping[int, Segment]
    modality: str
    field_of_view_mm: tuple[float, float] | None
    mirror_axes: tuple[int, ...]
    gives: str
    prior: ObjectPrior = field(default_factory=ObjectPrior)
    sides: Sides | None = None
    parts: LargestParts | None = None
    tta: bool = False
    probabilities: bool = False
    licence: str = ""

    @classmethod
    def from_bundle(
        cls,
        bundle: str | Path,
        *,
        device: str = "auto",
        solver: Mapping[str, Any] | None = None,
        tta: bool = False,
        probabilities: bool = False,
        all_parts: bool = False,
        weights: Sequence[str | Path] = (),
    ) -> Segmenter:
        """Load a bundle by name or folder.

        solver: fields of ode.solve.Solver that shall differ from the bundle's, {"method": "rk4", "steps": 4}.
        tta, probabilities: as above. all_parts: leave nothing out that the bundle would (`parts`).
        weights: files in place of the bundle's own; of several, as of a cross-validation's folds, the outputs' mean.
        InputError: no such bundle, a damaged or incomplete one, no such device, a solver where none is used, mirrors,
        probabilities or small parts of a bundle that has none.
        """
        root = Path(roots.bundle(bundle))
        where = chosen_device(device)
        chosen: dict[str, Any] = {"device": where, "tta": tta, "probabilities": probabilities}
        try:
            segmenter = cls(**described(root), **built(root, where, [Path(file) for file in weights]), **chosen)
        except KeyError as error:
            raise InputError(
                f"{root} does not say {error}: its metadata.json or inference.yaml is not of evoseg's kind; "
                "run it by `python -m monai.bundle run`"
            ) from error
        segmenter._check()
        if all_parts:
            segmenter = segmenter._with_all_parts()
        integrate_by(segmenter.network, solver or {}, segmenter.name)
        return segmenter

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the image that the bundle takes: 3 for volumes, 2 for pictures."""
        return self.inferer.spatial_dims

    @property
    def numbers_objects(self) -> bool:
        """Whether the objects of its only label are told apart: `Segmentation.objects`."""
        return isinstance(self.inferer, InstanceInferer)

    @property
    def evolution(self) -> Evolution | None:
        """What moves contours; None in a bundle that takes no initial contour and has no trajectory."""
        return getattr(self.network, "evolution", None)

    def __call__(self, image: Any, prompt: Prompt | None = None, *, trajectory: bool = False) -> Segmentation:
        """Segment one image, from a given contour on if `prompt` has one.

        image: a Volume, (array, affine), an image of nibabel, SimpleITK or itk, a path: what io/images.py takes.
        InputError: no image, or a contour or a trajectory where the bundle evolves no contour.
        CaseError: WRONG_DIMENSION, COLOUR, OUT_OF_MEMORY, STEP_LIMIT, BAD_OBJECT; GRID_MISMATCH and BAD_LABELS of an
        initial mask.
        """
        image = as_volume(image)
        if image.spatial_dims != self.spatial_dims:
            raise CaseError(
                "WRONG_DIMENSION",
                f"the image has {image.spatial_dims} dimensions, {self.name} takes {self.spatial_dims}: "
                "choose another bundle",
            )
        if image.spatial_dims == 3 and image.array.ndim > 3:
            raise CaseError(
                "COLOUR", f"the image has {image.array.shape[-1]} channels, {self.name} takes one: convert it to grey"
            )
        try:
            with torch.inference_mode():
                if trajectory or (prompt is not None and prompt.initial is not None):
                    return self._evolved(image, prompt, trajectory)
                return self._segmented(image, prompt or Prompt())
        except torch.cuda.OutOfMemoryError as error:
            raise CaseError("OUT_OF_MEMORY", "the GPU's memory is too small for this case: use --device cpu") from error
        except StepLimitError as error:
            raise CaseError("STEP_LIMIT", f"{error}; on the command line: --solver midpoint --steps 2") from error

    def smaller(self) -> Segmenter | None:
        """The same that holds less on the device at once; None: there is nothing smaller.

        The labels are the same, but for rounding and for solvers that choose their steps by all that they see.
        """
        inferer = self.inferer.smaller()
        return None if inferer is None else replace(self, inferer=inferer)

    def _check(self) -> None:
        """InputError: what is asked for cannot be had of this network."""
        if self.numbers_objects and (self.tta or isinstance(self.network, Ensemble)):
            raise InputError(
                f"{self.name} tells objects apart by values of which a mean tells nothing: leave out --tta, give one "
                "file of weights"
            )
        if self.tta and not self.mirror_axes:
            raise InputError(
                f"{self.name} was not trained for mirrored images, their mean would be wrong: leave out --tta"
            )
        if self.probabilities and self.gives != LOGITS:
            raise InputError(
                f"{self.name} gives {self.gives.replace('_', ' ')}, no probabilities: leave out --save-probabilities"
            )

    def _with_all_parts(self) -> Segmenter:
        if self.parts is None:
            raise InputError(f"{self.name} leaves no parts out: leave out --all-parts")
        return replace(self, parts=None)

    def _segmented(self, image: Volume, prompt: Prompt) -> Segmentation:
        flags: tuple[str, ...] = ()
        if self.spatial_dims == 2:
            values = unit_values(image.array)
            if is_coloured(values) != (self.channels == 3):
                flags = (GREY_PICTURE if self.channels == 3 else COLOURED_PICTURE,)
            image = Volume(with_channels(values, self.channels), image.affine)
        if isinstance(self.inferer, InstanceInferer):
            return self._numbered(image, self.inferer, prompt)
        if self.sides and (prompt.centers or prompt.volumes):
            raise CaseError("BAD_OBJECT", f"{self.name} finds both sides as one object: leave out centres and volumes")
        shaped = bool(prompt.centers or prompt.volumes or self.prior.star_shaped)
        parts = self.inferer.parts(
            image,
            mirrored(self.network, self.mirror_axes if self.tta else ()),
            intensity=self.intensity,
            device=self.device,
            everywhere=shaped or self.probabilities,
        )
        chances = None
        if self.probabilities:
            chances = Volume(np.zeros((*image.spatial_shape, len(self.names)), np.uint16, order="F"), image.affine)
            parts = probabilities_beside(parts, chances.array)
        if not shaped:
            labels = label_volume(image, parts)
            flags += self._sided(image, labels) + self._without_small_parts(labels)[1]
            return Segmentation(labels, self.names, flags=flags, probabilities=chances)
        found = self.prior(whole_logits(image, parts), prompt.centers, prompt.volumes)
        return Segmentation(
            labels=Volume(found.labels.numpy(), image.affine),
            names=self.names,
            flags=flags + tuple(f"{flag}:{column_word(self.names[label])}" for flag, label in found.flags),
            centers=found.centers,
            volumes=prompt.volumes,
            probabilities=chances,
        )

    def _numbered(self, picture: Volume, inferer: InstanceInferer, prompt: Prompt) -> Segmentation:
        if prompt.centers or prompt.volumes:
            raise CaseError("BAD_OBJECT", f"{self.name} finds objects by itself: leave out centres and volumes")
        road: dict[str, Any] = {"intensity": self.intensity, "inferer": inferer, "device": self.device}
        objects = Volume(picture_objects(picture.array, self.network, **road), picture.affine)
        labels = Volume((objects.array > 0).astype(np.uint8), picture.affine)
        return Segmentation(labels, self.names, objects=objects)

    def _evolved(self, image: Volume, prompt: Prompt | None, trajectory: bool) -> Segmentation:
        evolution = self.evolution
        if evolution is None or not isinstance(self.inferer, AxialSliceInferer):
            raise InputError(f"{self.name} evolves no contour: choose a bundle of contour evolution")
        if self.tta or self.probabilities:
            raise InputError("a contour that evolves is one, without mirrors and probabilities: leave out one of them")
        if prompt is not None and (prompt.centers or prompt.volumes):
            raise CaseError("BAD_OBJECT", "a contour that evolves keeps no centre or volume: leave out one of them")
        slabs = AxialSlabs(image, intensity=self.intensity, inferer=self.inferer, device=self.device)
        initial = prompt.initial if prompt else None
        mask = object_mask(initial, image, prompt.initial_labels, own=self.names) if prompt and initial else None
        given = mask is not None and bool(mask.any())
        start = (
            from_mask(mask, evolution, slabs)
            if mask is not None and given
            else from_regressor(self.network.get_submodule("regressor"), evolution, slabs)
        )
        recorder = Recorder(slabs, outside=-evolution.cut_px) if trajectory else None
        keep = _keep_within_px(prompt, slabs.pixel_mm) if prompt is not None and given else 0.0
        labels = evolve(image, slabs, evolution, start, keep_within_px=keep, recorder=recorder)
        flags: tuple[str, ...] = (EMPTY_INITIAL,) if mask is not None and not given else ()
        taken_out = np.zeros(labels.array.shape, bool)
        if prompt is not None and mask is not None and given and not prompt.new_objects:
            taken_out = strangers(labels.array, mask)
            labels.array[taken_out] = 0
        flags += self._sided(image, labels)
        if not given:  # what somebody has drawn in several parts stays
            taken_out, few = self._without_small_parts(labels)
            flags += few
        return Segmentation(
            labels=labels,
            names=self.names,
            trajectory=recorder.trajectory(image, taken_out) if recorder else None,
            flags=flags,
        )

    def _sided(self, image: Volume, labels: Volume) -> tuple[str, ...]:
        return self.sides(image, labels) if self.sides else ()

    def _without_small_parts(self, labels: Volume) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
        """Takes them out, in place: where they were, and the flags of the labels that lost much."""
        if self.parts is None:
            return np.zeros(labels.array.shape, bool), ()
        small = self.parts.small(labels.array)
        flags = left_out(labels, small, self.names)
        labels.array[small] = 0
        return small, flags


def _keep_within_px(prompt: Prompt, pixel_mm: float) -> float:
    return 1.0 if prompt.keep_within_mm is None else prompt.keep_within_mm / pixel_mm
