"""MONAI Deploy's bundle operator on one image, without an application around it; run where the App SDK is installed.

    python deploy_operator.py BUNDLE_FOLDER IMAGE.npz OUT.npy

IMAGE.npz: array (X, Y, Z) of a volume and affine, voxel -> mm, RAS; (columns, rows[, colours]) of a picture, whose
affine is one of two axes. OUT.npy receives the labels, (X, Y, Z) or (rows, columns).
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


def main(bundle: str, image: str, out: str) -> None:
    read = np.load(image)
    array, affine = read["array"], read["affine"]
    n_axes = len(affine) - 1
    spacing = np.linalg.norm(affine[:-1, :-1], axis=0)
    known = {"spacing": spacing, "original_affine": affine, "affine": affine, "space": "RAS"}
    wire = Wire(Image(array, metadata=known | {"original_channel_dim": -1 if array.ndim > n_axes else "no_channel"}))
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
