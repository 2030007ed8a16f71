"""Rules about what a bundle's configs build: the network, its weights, MONAI's workflows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.config import SEPARATOR
from pipeline.data.roots import metadata
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


def exported_as_torchscript(root: Path) -> tuple[str, ...]:
    """MONAI's own export of the trained network, which raises; the model zoo's check calls it like this."""
    from monai.bundle import ckpt_export

    configs = root / "configs"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ckpt_export(
            net_id=NETWORK,
            filepath=str(Path(folder) / "model.ts"),
            ckpt_file=str(root / "models" / "model.pt"),
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / "inference.yaml"),
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
        made_up_dataset(root, Path(folder))
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


def arguments(found: Any, id: str = NETWORK) -> Any:
    """What a component is built with, its parts' arguments too: resolved, but nothing of it built."""
    from monai.bundle import ConfigComponent

    written = found.get(id)
    if isinstance(written, str) and written.startswith("@"):  # a list is not found by number behind a reference
        return arguments(found, written[1:])
    content = found.get_parsed_content(id, instantiate=False)
    content = content.config if isinstance(content, ConfigComponent) else content
    if isinstance(content, dict):
        return {key: arguments(found, f"{id}{SEPARATOR}{key}") for key in content}
    if isinstance(content, list):
        return [arguments(found, f"{id}{SEPARATOR}{number}") for number in range(len(content))]
    return content


def made_up_dataset(root: Path, folder: Path) -> None:
    """Patients with a ball each, in the layout of `evoseg prepare`: four scans, or pictures for a bundle of these.

    Half of them are the test part of the stored split, and they have the classes that train.yaml asks for, in turn.
    """
    train = parser(root, WORKFLOWS["train"])
    classes = train.get("classes") or [""]
    pictures = getattr(parser(root, WORKFLOWS["infer"]).get_parsed_content("inferer"), "spatial_dims", 3) == 2
    cases: list[dict[str, Any]] = []
    for number in range(4 * train.get("batch_size", 1) if pictures else 4):  # a picture is a sample, a scan has many
        case = {"id": f"case{number}", "patient": f"patient{number}", "fold": number % 2}
        case |= {"split": ("train", "test")[number % 2], "class": classes[number // 2 % len(classes)]}
        arrays = made_up_picture(metadata(root)) if pictures else made_up_scan()
        for kind, array in arrays.items():
            case[kind] = f"{kind}s/case{number}{'.png' if pictures else '.nii.gz'}"
            path = folder / str(case[kind])
            path.parent.mkdir(exist_ok=True)
            if pictures:
                Image.fromarray(array).save(path)
            else:
                nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        cases.append(case)
    (folder / "dataset.json").write_text(json.dumps({"cases": cases}))


def made_up_scan() -> dict[str, NDArray]:
    x, y, z = np.ogrid[-16:16, -16:16, -8:8]
    ball = x**2 + y**2 + z**2 < 36
    return {"image": ball * np.int16(100), "label": ball * np.uint8(1), "distance": signed_distance(ball)}


def made_up_picture(content: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """Of the size and the channels that metadata.json tells of the network's input."""
    image = content["network_data_format"]["inputs"]["image"]
    y, x = (np.linspace(-1, 1, n) for n in image["spatial_shape"])
    disc = y[:, None] ** 2 + x**2 < 0.2
    grey = disc * np.uint8(200)
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    return {"image": grey if image["num_channels"] == 1 else colours, "label": disc * np.uint8(1)}
