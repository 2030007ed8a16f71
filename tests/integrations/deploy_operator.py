"""MONAI Deploy's bundle operator on one volume, without an application around it; run where the App SDK is installed.

    python deploy_operator.py BUNDLE_FOLDER VOLUME.npz OUT.npy

VOLUME.npz: array (X, Y, Z) and affine, voxel -> mm, RAS. OUT.npy receives the labels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from monai.deploy.core import AppContext, Application, Image, IOType
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator


class Nothing(Application):
    def compose(self) -> None:
        """The operator is called by hand."""


class Wire:
    """What an operator receives from and emits to."""

    def __init__(self, given: Image) -> None:
        self.given = given
        self.taken: Image | None = None

    def receive(self, name: str) -> Image:
        return self.given

    def emit(self, value: Image, name: str) -> None:
        self.taken = value


def main(bundle: str, volume: str, out: str) -> None:
    read = np.load(volume)
    affine = read["affine"]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    known = {"spacing": spacing, "original_affine": affine, "affine": affine, "space": "RAS"}
    wire = Wire(Image(read["array"], metadata=known | {"original_channel_dim": "no_channel"}))
    operator = MonaiBundleInferenceOperator(
        Nothing(),
        app_context=AppContext({}),
        input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
        output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
        bundle_path=Path(bundle),
    )
    operator.compute(wire, wire, None)
    assert wire.taken is not None
    np.save(out, np.asarray(wire.taken.asnumpy()).squeeze().T)  # an Image of the SDK is indexed depth first


if __name__ == "__main__":
    main(*sys.argv[1:])
