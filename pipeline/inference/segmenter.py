"""A bundle as a callable: an image on its own grid in, labels on that very grid out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from pipeline.data import roots
from pipeline.errors import CaseError, InputError
from pipeline.inference.export import label_volume
from pipeline.inference.slices import AxialSliceInferer
from pipeline.io.volume import Volume


@dataclass(frozen=True, eq=False)
class Segmentation:
    """labels: uint8, on the image's own grid (the affine is the same object); names: label value -> name."""

    labels: Volume
    names: dict[int, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmenter:
    """A trained network with what its bundle says about it. Made by `from_bundle`, called with one image after another.

    intensity: the bundle's dictionary transform of {"image": tensor}, the same as in training.
    names: label value -> name. field_of_view_mm: in-plane width of the scans that training covered, None if it does not
    matter. weights_sha256: of the file, for the record of a run.
    """

    network: nn.Module
    inferer: AxialSliceInferer
    intensity: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    device: torch.device
    name: str
    version: str
    weights_sha256: str
    names: dict[int, str]
    modality: str
    field_of_view_mm: tuple[float, float] | None

    @classmethod
    def from_bundle(cls, bundle: str | Path, *, device: str = "auto") -> Segmenter:
        """Load a bundle by name or folder. InputError: no such bundle, a damaged or incomplete one, no such device."""
        root = Path(roots.bundle(bundle))
        where = _device(device)
        try:
            return cls(**_described(root), **_built(root, where), device=where)
        except KeyError as error:
            raise InputError(
                f"{root} does not say {error}: its metadata.json or inference.yaml is not of evoseg's kind; "
                "run it by `python -m monai.bundle run`"
            ) from error

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the image that the bundle takes: 3 for volumes, 2 for pictures."""
        return self.inferer.spatial_dims

    def __call__(self, image: Volume) -> Segmentation:
        """Segment one image. CaseError: WRONG_DIMENSION, COLOUR, OUT_OF_MEMORY."""
        if image.spatial_dims != self.spatial_dims:
            raise CaseError(
                "WRONG_DIMENSION",
                f"the image has {image.spatial_dims} dimensions, {self.name} takes {self.spatial_dims}: "
                "choose another bundle",
            )
        if image.array.ndim > image.spatial_dims:
            raise CaseError(
                "COLOUR", f"the image has {image.array.shape[-1]} channels, {self.name} takes one: convert it to grey"
            )
        try:
            with torch.inference_mode():
                labels = label_volume(
                    image, self.network, intensity=self.intensity, inferer=self.inferer, device=self.device
                )
        except torch.cuda.OutOfMemoryError as error:
            raise CaseError("OUT_OF_MEMORY", "the GPU's memory is too small for this case: use --device cpu") from error
        return Segmentation(labels=labels, names=self.names)


def _described(root: Path) -> dict[str, Any]:
    """What metadata.json says."""
    metadata = roots.metadata(root)
    formats = metadata["network_data_format"]
    image = formats["inputs"]["image"]
    field_of_view = image.get("field_of_view_mm")
    return {
        "name": root.name,
        "version": metadata["version"],
        "names": {int(k): v for k, v in formats["outputs"]["pred"]["channel_def"].items() if int(k) > 0},
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


def _parse(config: Path) -> ConfigParser:
    parser = ConfigParser()
    with warnings.catch_warnings():  # MONAI warns that configs are code; the command line says so where it matters
        warnings.simplefilter("ignore", UserWarning)
        parser.read_config(str(config))
        parser.parse(True)
    return parser


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name} is not a device: use auto, cpu or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use auto or cpu")
    return device
