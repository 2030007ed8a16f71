"""Where a network runs, as `--device` says it."""

from __future__ import annotations

import torch

from pipeline.errors import InputError


def chosen_device(name: str) -> torch.device:
    """auto: a GPU if there is one. InputError: no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name} is not a device: use auto, cpu or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use auto or cpu")
    return device
