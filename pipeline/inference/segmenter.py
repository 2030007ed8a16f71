"""A bundle as a callable: an image on its own grid in, labels on that very grid out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from pipeline.data import roots
from pipeline.errors import CaseError, InputError
from pipeline.inference.devices import chosen_device
from pipeline.inference.export import label_volume
from pipeline.inference.instances import InstanceInferer, picture_objects
from pipeline.inference.patches import VolumePatchInferer
from pipeline.inference.pictures import PictureInferer
from pipeline.inference.priors import Centers, ObjectPrior, Volumes
from pipeline.inference.quality import column_word
from pipeline.inference.refine import Evolution, evolve, from_mask, from_regressor, object_mask, strangers
from pipeline.inference.slabs import AxialSlabs
from pipeline.inference.slices import AxialSliceInferer
from pipeline.inference.trajectory import Recorder, Trajectory
from pipeline.inference.whole import picture_logits, volume_logits
from pipeline.io.channels import is_coloured, unit_values, with_channels
from pipeline.io.segments import Segment, segments_of
from pipeline.io.volume import Volume
from pipeline.ode.adaptive import StepLimitError
from pipeline.ode.solve import Solver

# flags of a result
EMPTY_INITIAL = "EMPTY_INITIAL"  # the initial mask was empty, the bundle's own contour took its place
GREY_PICTURE = "GREY_PICTURE"  # the bundle was trained on colours and was shown grey in all three
COLOURED_PICTURE = "COLOURED_PICTURE"  # the bundle was trained on grey and was shown the luminance of true colours


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

    trajectory: how the contour evolved, if that was asked for and there was a contour. flags: see above.
    centers, volumes: as in Prompt, those that were used, whether given or predicted.
    objects: uint16, numbered from 1, in bundles that tell the objects of their only label apart.
    """

    labels: Volume
    names: dict[int, str]
    trajectory: Trajectory | None = None
    flags: tuple[str, ...] = ()
    centers: Centers = field(default_factory=dict)
    volumes: Volumes = field(default_factory=dict)
    objects: Volume | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmenter:
    """A trained network with what its bundle says about it. Made by `from_bundle`, called with one image after another.

    intensity: the bundle's dictionary transform of {"image": tensor}, the same as in training.
    prior: what holds for whole objects on the image's own grid, whether asked for or not.
    channels: of the image that the network takes. names: label value -> name; segments: -> its codes and colour.
    field_of_view_mm: in-plane width of the scans that training covered, None if it does not matter.
    weights_sha256: of the file, for the record of a run.
    """

    network: nn.Module
    inferer: AxialSliceInferer | VolumePatchInferer | PictureInferer | InstanceInferer
    intensity: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    device: torch.device
    name: str
    version: str
    weights_sha256: str
    channels: int
    names: dict[int, str]
    segments: Mapping[int, Segment]
    modality: str
    field_of_view_mm: tuple[float, float] | None
    prior: ObjectPrior = field(default_factory=ObjectPrior)

    @classmethod
    def from_bundle(
        cls, bundle: str | Path, *, device: str = "auto", solver: Mapping[str, Any] | None = None
    ) -> Segmenter:
        """Load a bundle by name or folder.

        solver: fields of ode.solve.Solver that shall differ from the bundle's, {"method": "rk4", "steps": 4}.
        InputError: no such bundle, a damaged or incomplete one, no such device, or a solver where none is used.
        """
        root = Path(roots.bundle(bundle))
        where = chosen_device(device)
        try:
            segmenter = cls(**_described(root), **_built(root, where), device=where)
        except KeyError as error:
            raise InputError(
                f"{root} does not say {error}: its metadata.json or inference.yaml is not of evoseg's kind; "
                "run it by `python -m monai.bundle run`"
            ) from error
        _integrate_by(segmenter.network, solver or {}, segmenter.name)
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

    def __call__(self, image: Volume, prompt: Prompt | None = None, *, trajectory: bool = False) -> Segmentation:
        """Segment one image, from a given contour on if `prompt` has one.

        InputError: a contour or a trajectory where the bundle evolves no contour.
        CaseError: WRONG_DIMENSION, COLOUR, OUT_OF_MEMORY, STEP_LIMIT, BAD_OBJECT; GRID_MISMATCH and BAD_LABELS of an
        initial mask.
        """
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

    def _segmented(self, image: Volume, prompt: Prompt) -> Segmentation:
        road: dict[str, Any] = {"intensity": self.intensity, "device": self.device}
        flags: tuple[str, ...] = ()
        if isinstance(self.inferer, InstanceInferer):
            if prompt.centers or prompt.volumes:
                raise CaseError("BAD_OBJECT", f"{self.name} finds objects by itself: leave out centres and volumes")
            values = with_channels(unit_values(image.array), self.channels)
            objects = Volume(picture_objects(values, self.network, inferer=self.inferer, **road), image.affine)
            return Segmentation(Volume((objects.array > 0).astype(np.uint8), image.affine), self.names, objects=objects)
        if isinstance(self.inferer, PictureInferer):
            values = unit_values(image.array)
            logits = picture_logits(with_channels(values, self.channels), self.network, inferer=self.inferer, **road)
            if is_coloured(values) != (self.channels == 3):
                flags = (GREY_PICTURE if self.channels == 3 else COLOURED_PICTURE,)
        elif prompt.centers or prompt.volumes or self.prior.star_shaped:
            logits = volume_logits(image, self.network, inferer=self.inferer, **road)
        else:
            return Segmentation(label_volume(image, self.network, inferer=self.inferer, **road), self.names)
        shaped = self.prior(logits, prompt.centers, prompt.volumes)
        return Segmentation(
            labels=Volume(shaped.labels.numpy(), image.affine),
            names=self.names,
            flags=flags + tuple(f"{flag}:{column_word(self.names[label])}" for flag, label in shaped.flags),
            centers=shaped.centers,
            volumes=prompt.volumes,
        )

    def _evolved(self, image: Volume, prompt: Prompt | None, trajectory: bool) -> Segmentation:
        evolution = self.evolution
        if evolution is None or not isinstance(self.inferer, AxialSliceInferer):
            raise InputError(f"{self.name} evolves no contour: choose a bundle of contour evolution")
        if prompt is not None and (prompt.centers or prompt.volumes):
            raise CaseError("BAD_OBJECT", "a contour that evolves keeps no centre or volume: leave out one of them")
        slabs = AxialSlabs(image, intensity=self.intensity, inferer=self.inferer, device=self.device)
        initial = prompt.initial if prompt else None
        mask = object_mask(initial, image, prompt.initial_labels) if prompt and initial else None
        given = mask is not None and bool(mask.any())
        start = (
            from_mask(mask, evolution, slabs)
            if mask is not None and given
            else from_regressor(self.network.get_submodule("regressor"), evolution, slabs)
        )
        recorder = Recorder(slabs, outside=-evolution.cut_px) if trajectory else None
        keep = _keep_within_px(prompt, slabs.pixel_mm) if prompt is not None and given else 0.0
        labels = evolve(image, slabs, evolution, start, keep_within_px=keep, recorder=recorder)
        taken_out = np.zeros(labels.array.shape, bool)
        if prompt is not None and mask is not None and given and not prompt.new_objects:
            taken_out = strangers(labels.array, mask)
            labels.array[taken_out] = 0
        return Segmentation(
            labels=labels,
            names=self.names,
            trajectory=recorder.trajectory(image, taken_out) if recorder else None,
            flags=(EMPTY_INITIAL,) if mask is not None and not given else (),
        )


def _keep_within_px(prompt: Prompt, pixel_mm: float) -> float:
    return 1.0 if prompt.keep_within_mm is None else prompt.keep_within_mm / pixel_mm


def _described(root: Path) -> dict[str, Any]:
    """What metadata.json says."""
    metadata = roots.metadata(root)
    formats = metadata["network_data_format"]
    names = {int(k): v for k, v in formats["outputs"]["pred"]["channel_def"].items() if int(k) > 0}
    image = formats["inputs"]["image"]
    field_of_view = image.get("field_of_view_mm")
    return {
        "name": root.name,
        "version": metadata["version"],
        "channels": image["num_channels"],
        "names": names,
        "segments": segments_of(names, metadata.get("segments", {})),
        "modality": image["modality"],
        "field_of_view_mm": tuple(map(float, field_of_view)) if field_of_view else None,
    }


def _built(root: Path, device: torch.device) -> dict[str, Any]:
    """What inference.yaml builds, the network with its weights."""
    parser, weights = _parse(root / "configs" / "inference.yaml"), root / "models" / "model.pt"
    network = parser.get_parsed_content("network_def")
    _load(weights, network)
    return {
        "network": network.to(device).eval().requires_grad_(False),
        "inferer": parser.get_parsed_content("inferer"),
        "intensity": parser.get_parsed_content("intensity"),
        "prior": parser.get_parsed_content("prior") if "prior" in parser else ObjectPrior(),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }


def _load(weights: Path, network: nn.Module) -> None:
    """The weights into the network, cast to its type. InputError: not there, damaged, or of another network."""
    if not weights.is_file():
        raise InputError(f"{weights} is missing: the bundle has no trained weights; train it or fetch the whole bundle")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise InputError(f"{weights} cannot be read as weights: fetch the bundle again, whole") from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{weights} do not fit the network of inference.yaml: they are of another version") from error


def _integrate_by(network: nn.Module, fields: Mapping[str, Any], name: str) -> None:
    """Change these fields of every solver in the network. InputError: there is none, or a value against its rule."""
    solved: list[Any] = [part for part in network.modules() if isinstance(getattr(part, "solver", None), Solver)]
    if fields and not solved:
        raise InputError(f"{name} solves no differential equation: leave out --solver and --steps")
    for part in solved:
        part.solver = replace(part.solver, **fields)
        if "steps" in fields and part.solver.method == "dopri5":
            raise InputError(f"{name} is solved by dopri5, which chooses its own steps: name a --solver for --steps")


def _parse(config: Path) -> ConfigParser:
    parser = ConfigParser()
    with warnings.catch_warnings():  # MONAI warns that configs are code; the command line says so where it matters
        warnings.simplefilter("ignore", UserWarning)
        parser.read_config(str(config))
        parser.parse(True)
    return parser
