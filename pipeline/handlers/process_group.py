"""The end of a training in several processes (multi_gpu_train.yaml of every bundle)."""

from __future__ import annotations

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def leave_process_group(parallel: DistributedDataParallel) -> None:
    """Destroys the default process group and what `parallel`, which is of no use afterwards, keeps of it.

    Gloo's threads end with the last reference to their group, not with torch's destroy_process_group. One that still
    lets go of a tensor when the interpreter ends aborts the process ("terminate called without an active exception").
    The last reference is to be Python's own, which frees the group without the interpreter's lock: the reducer would
    wait for the threads with it, and a thread that lets go of a tensor waits for the lock.
    """
    if not dist.is_initialized():
        return
    dist.destroy_process_group()
    for name in ("reducer", "logger", "process_group"):
        delattr(parallel, name)
