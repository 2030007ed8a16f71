"""The end of a training in several processes (multi_gpu_train.yaml of every bundle)."""

from __future__ import annotations

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def leave_process_group(parallel: DistributedDataParallel) -> None:
    """Destroys the default process group and what `parallel`, which is of no use afterwards, keeps of it.

    Gloo's threads end with the last reference to their group, not with torch's destroy_process_group. One that still
    lets go of a tensor when the interpreter ends aborts the process ("terminate called without an active exception").
    """
    if not dist.is_initialized():
        return
    dist.destroy_process_group()
    for name in ("process_group", "reducer", "logger"):
        delattr(parallel, name)
