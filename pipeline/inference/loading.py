"""From a bundle's folder to what a Segmenter is made of: what metadata.json says, what inference.yaml builds."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from pipeline.data import roots
from pipeline.errors import InputError
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.priors import ObjectPrior
from pipeline.io.segments import segments_of
from pipeline.ode.solve import Solver

LOGITS = "logits"  # the format of an output whose softmax or sigmoid is a probability


def described(root: Path) -> dict[str, Any]:
    """What metadata.json says. KeyError: it is not of evoseg's kind."""
    metadata = roots.metadata(root)
    formats = metadata["network_data_format"]
    image, answer = formats["inputs"]["image"], formats["outputs"]["pred"]
    names = roots.label_names(metadata)
    field_of_view = image.get("field_of_view_mm")
    return {
        "name": root.name,
        "version": metadata["version"],
        "channels": image["num_channels"],
        "names": names,
        "segments": segments_of(names, metadata.get("segments", {})),
        "modality": image["modality"],
        "field_of_view_mm": tuple(map(float, field_of_view)) if field_of_view else None,
        "mirror_axes": tuple(image.get("mirror_axes", ())),
        "gives": answer["format"],
    }


def built(root: Path, device: torch.device, weights: Sequence[Path] = ()) -> dict[str, Any]:
    """What inference.yaml builds, the network with its weights: the mean of several where there are several.

    weights: files; none: models/model.pt, or all models/model_*.pt of a bundle that has none of that name, as folds of
        a cross-validation leave them.
    KeyError: inference.yaml is not of evoseg's kind. InputError: weights are missing, damaged or of another network.
    """
    parser = _parse(root / "configs" / "inference.yaml")
    files = list(weights) or _own_weights(root / "models")
    network = parser.get_parsed_content("network_def")
    networks = [network, *(deepcopy(network) for _ in files[1:])]
    for file, each in zip(files, networks, strict=True):
        _load(file, each)
    network = network if len(networks) == 1 else Ensemble(networks)
    return {
        "network": network.to(device).eval().requires_grad_(False),
        "inferer": parser.get_parsed_content("inferer"),
        "intensity": parser.get_parsed_content("intensity"),
        "prior": parser.get_parsed_content("prior") if "prior" in parser else ObjectPrior(),
        "sides": parser.get_parsed_content("sides") if "sides" in parser else None,
        "parts": parser.get_parsed_content("parts") if "parts" in parser else None,
        "licence": "" if weights else roots.licence(root),
        "weights_sha256": hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
    }


def _own_weights(models: Path) -> list[Path]:
    whole, folds = models / "model.pt", sorted(models.glob("model_*.pt"))
    return folds if folds and not whole.is_file() else [whole]


def integrate_by(network: nn.Module, fields: Mapping[str, Any], name: str) -> None:
    """Change these fields of every solver in the network. InputError: there is none, or a value against its rule."""
    solved: list[Any] = [part for part in network.modules() if isinstance(getattr(part, "solver", None), Solver)]
    if fields and not solved:
        raise InputError(f"{name} solves no differential equation: leave out --solver and --steps")
    for part in solved:
        part.solver = replace(part.solver, **fields)
        if "steps" in fields and part.solver.method == "dopri5":
            raise InputError(f"{name} is solved by dopri5, which chooses its own steps: name a --solver for --steps")


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
