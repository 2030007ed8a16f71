"""Rules about what a bundle's configs build: the network, its weights, MONAI's workflows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from pipeline.numerics.signed_distance import signed_distance

NETWORK = "network_def"
WORKFLOWS = {"train": "train.yaml", "infer": "inference.yaml"}  # MONAI's word for a workflow -> its config


def networks_are_equal(root: Path) -> Iterator[str]:
    """The arguments of network_def in train.yaml and inference.yaml, after references and expressions are resolved."""
    train, inference = (arguments(parser(root, config)) for config in WORKFLOWS.values())
    for key in sorted({*train, *inference}):
        if train.get(key) != inference.get(key):
            yield f"{NETWORK} {key} is {train.get(key)} in train.yaml and {inference.get(key)} in inference.yaml"


def weights_fit(root: Path) -> Iterator[str]:
    """Loaded without running code, tensors only, finite, and every parameter of the network once."""
    import torch

    state = torch.load(root / "models" / "model.pt", map_location="cpu", weights_only=True)
    for name, value in state.items():
        if not isinstance(value, torch.Tensor | int | float):
            yield f"model.pt: {name} is a {type(value).__name__}; a state dict of tensors is all that belongs there"
        elif isinstance(value, torch.Tensor) and not bool(value.isfinite().all()):
            yield f"model.pt: {name} has values that are not finite"
    parser(root, "inference.yaml").get_parsed_content(NETWORK).load_state_dict(state, strict=True)


def shapes_agree(root: Path) -> tuple[str, ...]:
    """MONAI's own check, which raises: channels and type of the output, on the CPU, for the input of metadata.json."""
    from monai.bundle import verify_net_in_out

    configs = root / "configs"
    verify_net_in_out(
        net_id=NETWORK,
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.yaml"),
        device="cpu",
        n=2,
        bundle_root=str(root),
    )
    return ()


def train_properties(root: Path) -> list[str]:
    return properties(root, "train")


def infer_properties(root: Path) -> list[str]:
    return properties(root, "infer")


def properties(root: Path, workflow_type: str) -> list[str]:
    """MONAI's required properties that a workflow lacks, built on a made-up dataset; nothing of it is run."""
    from monai.bundle import ConfigWorkflow

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made_up_dataset(Path(folder))
        workflow = ConfigWorkflow(
            str(root / "configs" / WORKFLOWS[workflow_type]),
            workflow_type=workflow_type,
            logging_file=False,  # a check leaves the logging of its caller alone
            init_id="nothing",
            bundle_root=str(root),
            dataset_dir=folder,
            output_dir=folder,
        )
        workflow.initialize()
        return [f"{name} is missing, or has another id than MONAI's" for name in workflow.check_properties() or ()]


def parser(root: Path, config: str) -> Any:
    """MONAI's parser of one config, with the bundle's own folder as bundle_root wherever the bundle lies."""
    from monai.bundle import ConfigParser

    found = ConfigParser(ConfigParser.load_config_file(str(root / "configs" / config)))
    found["bundle_root"] = str(root)
    return found


def arguments(found: Any) -> dict[str, Any]:
    component = found.get_parsed_content(NETWORK, instantiate=False)
    return dict(component.config)


def made_up_dataset(folder: Path) -> None:
    """Four patients with a ball each, in the layout of `evoseg prepare`."""
    x, y, z = np.ogrid[-16:16, -16:16, -8:8]
    ball = x**2 + y**2 + z**2 < 36
    arrays = {"image": ball * np.int16(100), "label": ball * np.uint8(1), "distance": signed_distance(ball)}
    cases = []
    for number in range(4):
        case: dict[str, Any] = {"id": f"case{number}", "patient": f"patient{number}", "fold": number % 2}
        for kind, array in arrays.items():
            case[kind] = f"{kind}s/case{number}.nii.gz"
            (folder / case[kind]).parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / case[kind])
        cases.append(case)
    (folder / "dataset.json").write_text(json.dumps({"cases": cases}))
