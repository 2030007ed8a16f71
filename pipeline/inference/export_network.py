"""A bundle's network as one file that runs without evoseg: TorchScript, ONNX or torch.export.

The file takes an image (B, C, *spatial), float32, scaled as in training, and gives what the network gives: logits or
a distance map, before any threshold. B is free. Where the bundle's own size is a multiple of STEP, all multiples are
taken from 2 STEP on (a network may treat a map of a single pixel otherwise); else the size is fixed: a network that
halves odd sizes pads by what it meets, which a recorded graph does not.

Each file holds the bundle's metadata.json and, under "export", what an inference needs besides: the sizes, the
intensity transform and the inferer of inference.yaml. It is under the name metadata.json in TorchScript's and
torch.export's extra files (where MONAI's own export puts it) and in ONNX's metadata properties.

A network may end in soft threshold dynamics. Priors of whole objects (star shapes, volumes) are no part of a bundle's
network: they act on the delivered grid, by loops that depend on values, and stay with evoseg.

Fixed-grid solvers are plain loops and export as such. dopri5 chooses its steps by what it sees, and is refused. A file
is kept only if it answers as the network does, read back, on images of other sizes than those that it was made by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data import roots
from pipeline.errors import InputError
from pipeline.inference.segmenter import Segmenter
from pipeline.inference.verify import quiet
from pipeline.inference.verify_workflows import arguments, parser
from pipeline.io.whole_file import whole_file
from pipeline.networks.recorded import refuse_adaptive_steps

Answer = Callable[[Tensor], Tensor]

STEP = 32  # the largest stride of our networks
TOLERANCE = 1e-4  # of the largest value that the network gives, or of 1 where that is less
FREE = f", and multiples of {STEP} from {2 * STEP} on"
METADATA = "metadata.json"
INPUT, OUTPUT = "image", "pred"  # MONAI's names, also in metadata.json
AXES = ("height", "width", "depth")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of it. sizes: of the image that the file takes; difference: the largest from the network's answer."""

    file: Path
    sizes: str
    difference: float


def export_bundle(bundle: str | Path, file: Path, *, format: str) -> Exported:
    """Write the trained network of a bundle, by name or folder; format: a key of WRITERS; see `export_network`."""
    root = Path(roots.bundle(bundle))
    segmenter = Segmenter.from_bundle(root, device="cpu")
    described = roots.metadata(root)
    image = described["network_data_format"]["inputs"][INPUT]
    if not all(isinstance(size, int) for size in image["spatial_shape"]):
        raise InputError(
            f"{root.name} gives sizes of {image['spatial_shape']}: metadata.json must name one that it takes"
        )
    config = parser(root, "inference.yaml")
    known = {"intensity": arguments(config, "intensity"), "inferer": arguments(config, "inferer")}
    shape = (image["num_channels"], *image["spatial_shape"])
    return export_network(segmenter.network, shape, file, format=format, described=described | {"export": known})


def export_network(
    network: nn.Module, shape: Sequence[int], file: Path, *, format: str, described: dict[str, Any]
) -> Exported:
    """Write a network that takes images (B, *shape), shape = (C, *spatial), with its description; checked as above.

    described: of metadata.json's kind, its "export" is added to.
    InputError: no such format, a solver without fixed steps, a package that is missing, or an answer that differs.
    CaseError: WRITE_FAILED.
    """
    if format not in WRITERS:
        raise InputError(f"--format {format!r} must be one of {', '.join(WRITERS)}")
    refuse_adaptive_steps(network)
    network = _OfImage(network).eval().requires_grad_(False)
    with torch.no_grad(), quiet(), whole_file(file) as part:
        for free in (False,) if any(size % STEP for size in shape[1:]) else (True, False):
            least = [min(size // STEP, 2) for size in shape[1:]] if free else []
            sizes = " x ".join(map(str, shape[1:])) + (FREE if free else "")
            text = json.dumps(_described(described, format, sizes), default=str)
            try:
                answer = WRITERS[format](network, _images(shape, free, 2, 2), part, least, text)
                checks = [_images(shape, False, 3, 0), *([_images(shape, True, 1, 3)] if free else [])]
                difference = max(_difference(answer(image), network(image)) for image in checks)
            except (RuntimeError, AssertionError):  # torch's, of recording and of guards, where sizes cannot be free
                if not free:
                    raise
                continue
            if difference <= TOLERANCE:
                return Exported(file=file, sizes=sizes, difference=difference)
        raise InputError(f"as {format} the network answers otherwise, by {difference:.1e}: take another format")


class _OfImage(nn.Module):
    """The network with one argument, called `image`, whatever others it may take."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def _images(shape: Sequence[int], free: bool, batch: int, least: int) -> Tensor:
    """Random images (batch, *shape) in -1 ... 1; with `free` of another size for each axis and each `least`.

    For a recording `least` is 2: exporters take a length of 1, or of 1 STEP, for fixed.
    """
    sizes = ((least + axis % 2) * STEP for axis in range(1, len(shape))) if free else shape[1:]
    return torch.rand(batch, shape[0], *sizes) * 2 - 1


def _described(described: dict[str, Any], format: str, sizes: str) -> dict[str, Any]:
    made = {"format": format, "input": INPUT, "output": OUTPUT, "sizes": sizes, "torch": torch.__version__}
    return described | {"export": described.get("export", {}) | made}


def _difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value if that is more than 1; inf for another shape."""
    if found.shape != wanted.shape:
        return float("inf")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def _write_torchscript(network: nn.Module, example: Tensor, file: Path, least: list[int], text: str) -> Answer:
    traced = torch.jit.trace(network, example, check_trace=False)
    with file.open("wb") as stream:  # given a path, torch names the content after it, whatever it is
        torch.jit.save(torch.jit.freeze(traced), stream, {METADATA: text})
    return torch.jit.load(str(file))


def _write_torch_export(network: nn.Module, example: Tensor, file: Path, least: list[int], text: str) -> Answer:
    with file.open("wb") as stream:
        torch.export.save(_program(network, example, least), stream, extra_files={METADATA: text})
    with file.open("rb") as stream:
        return torch.export.load(stream).module()


def _write_onnx(network: nn.Module, example: Tensor, file: Path, least: list[int], text: str) -> Answer:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter asks for it
    except ImportError as error:
        raise InputError(f"ONNX needs {error.name}: pip install 'evoseg[export]'") from error
    written = torch.onnx.export(
        _program(network, example, least), (), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
    )
    assert written is not None  # it is for the old exporter only
    written.model.metadata_props[METADATA] = text
    written.save(file, external_data=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {INPUT: image.numpy()})[0])


WRITERS: dict[str, Callable[[nn.Module, Tensor, Path, list[int], str], Answer]] = {
    "torchscript": _write_torchscript,
    "onnx": _write_onnx,
    "torch-export": _write_torch_export,
}


def _program(network: nn.Module, example: Tensor, least: list[int]) -> torch.export.ExportedProgram:
    """least: of each side, in STEPs, and the sides are free; none: they are those of the example."""
    sides = {2 + k: STEP * torch.export.Dim(AXES[k], min=steps) for k, steps in enumerate(least)}
    return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1), **sides},))
