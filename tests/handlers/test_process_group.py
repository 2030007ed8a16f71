"""Leaving a process group whose threads are not done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HANGS_AFTER = 120  # s; the child ends by itself, telling where it stands
LEAVE_WHILE_A_THREAD_LETS_GO_OF_A_TENSOR = f"""
import faulthandler, sys
faulthandler.dump_traceback_later({HANGS_AFTER}, exit=True)
import ignite.distributed  # first: what torch imports while there is a group may keep it, as a default argument
import torch
import torch.distributed as dist
from pipeline.handlers.process_group import leave_process_group
from tests.test_multi_gpu import threads

dist.init_process_group("gloo")
parallel = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
sys.setswitchinterval(1000)  # nobody else gets the interpreter's lock unless it is let go of
large = torch.rand(30_000_000)
work = dist.all_reduce(large, async_op=True)
del large, work  # now the thread's alone, which needs the lock to free it
leave_process_group(parallel)
assert "pt_gloo_runloop" not in threads()
"""


def test_the_group_is_left_while_a_thread_lets_go_of_a_tensor() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    child = subprocess.run(
        [sys.executable, "-c", LEAVE_WHILE_A_THREAD_LETS_GO_OF_A_TENSOR],
        cwd=ROOT,
        env=os.environ | alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
