"""Run a stage in several processes on this machine, through accelerate's launcher; none of them outlives the stage.

The stage that the user started calls `launch`, which starts the launcher (this module as a program), which starts the
workers: the same stage again, with `is_worker()` true. Only the first worker writes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from hallmark.base.compute import WORKER, environment
from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute
from hallmark.model.params import Sft

HOST = "127.0.0.1"
STOPPED = "run the stage again; if nobody stopped it, the machine may have run out of memory"
STOP_SECONDS = 40  # torch's launcher kills its workers after 30

# The workers talk to each other on the loopback interface only.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo", "NCCL_SOCKET_IFNAME": "lo"}


def is_worker() -> bool:
    """Whether this process is one of several."""
    return WORKER in os.environ


def rank() -> int:
    """The index of this process; process 0 writes, and a run in one process is process 0."""
    return int(os.environ["RANK"]) if is_worker() else 0


def accelerate_config(sft: Sft, device: str) -> dict[str, Any]:
    """The settings that `accelerate config` would write for `sft.parallel`, with nothing specific to this machine.

    It uses FSDP version 2, which shards each parameter separately, so one layer can hold frozen 4-bit weights and fp32
    adapters; version 1 is deprecated. Every process loads the base itself: accelerate 1.15 can't distribute 4-bit
    weights from the first process (`fsdp_cpu_ram_efficient_loading`).
    """
    parallel = sft.parallel
    sharded = parallel.strategy == "fsdp"
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if sharded else "MULTI_GPU",  # on a CPU too: MULTI_CPU would start a single process
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": parallel.processes,
        "mixed_precision": "bf16" if sft.dtype == "bfloat16" else "no",
        "use_cpu": device == "cpu",
        "debug": False,
    }
    if sharded:
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_offload_params": False,
            "fsdp_cpu_ram_efficient_loading": False,
            "fsdp_activation_checkpointing": False,  # it would redraw dropout; transformers' own is used instead
            "fsdp_state_dict_type": "FULL_STATE_DICT",
        }
    return config


def launch(module: str, arguments: Sequence[str], sft: Sft, compute: Compute) -> None:
    """Run `python -m module arguments` in `sft.parallel.processes` processes; SystemExit if they fail.

    They print the reason themselves. If one fails, the launcher stops the others. When this process ends, for whatever
    reason, their standard input closes, and they end too.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = Path(folder) / "accelerate.json"
        config.write_text(json.dumps(accelerate_config(sft, compute.device)), encoding="utf-8")
        variables = (
            environment(compute, all_devices=True) | LOOPBACK | {WORKER: str(sft.parallel.processes), "TMPDIR": folder}
        )
        command = [sys.executable, "-m", "hallmark.model.launch", str(config), module, *arguments]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` runs
        launcher = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | variables)
        assert launcher.stdin is not None
        try:
            code = launcher.wait()
        finally:
            launcher.stdin.close()
            launcher.terminate()
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(STOP_SECONDS)
            launcher.kill()
    if code < 0:
        raise HallmarkError(
            f"the launcher of the {sft.parallel.processes} processes was stopped by {signal.Signals(-code).name}",
            remedy=STOPPED,
        )
    if code:
        sys.exit(code)


@contextmanager
def worker() -> Iterator[None]:
    """Run the block in a worker: leave an error for the launcher to print once, and end when the caller ends."""
    threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        yield
    except HallmarkError as error:
        failure = {"message": str(error), "timestamp": int(time.time())}  # the format torch's launcher reads
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(failure), encoding="utf-8")
        sys.exit(1)


def own_device(sft: Sft, compute: Compute) -> str:
    """The device of this process; with several GPUs, each process has its own."""
    import torch

    if compute.device == "cpu" or not is_worker():
        return compute.device
    if torch.cuda.device_count() < sft.parallel.processes:
        raise HallmarkError(
            f"{sft.parallel.processes} processes, but torch sees {torch.cuda.device_count()} CUDA devices",
            param="sft.parallel.processes",
            remedy="set it to the number of GPUs, or fewer",
        )
    torch.cuda.set_device(rank())
    return f"cuda:{rank()}"


def prepare_worker(trainer: Any, sft: Sft, seed: int) -> None:
    """Extra set-up of a process that is one of several: its own random numbers, and sums that FSDP does not round."""
    import torch

    torch.manual_seed(seed + rank())  # for dropout; initial adapter values and batches are drawn already
    if sft.parallel.strategy == "fsdp" and sft.dtype == "bfloat16":
        from torch.distributed.fsdp import MixedPrecisionPolicy

        # accelerate's own policy would also sum gradients and return losses in bf16.
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        trainer.accelerator.state.fsdp_plugin.mixed_precision_policy = policy


def _end_with_caller() -> None:
    os.read(0, 1)  # nothing is ever written to it: it returns once the calling stage has ended
    os._exit(1)


def main(config: str, module: str, *arguments: str) -> None:
    """Accelerate's launcher, but printing one line where torch's would print a page."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

    logging.disable(logging.ERROR)  # silences torch's launcher: the error is printed once, below
    # Workers rendezvous in a key-value store without a password, which torch would open on every network interface.
    store_socket = socket.socket()
    store_socket.bind((HOST, 0))
    rendezvous: Any = static_tcp_rendezvous
    rendezvous.TCPStore = partial(rendezvous.TCPStore, master_listen_fd=store_socket.fileno())
    options = ["--config_file", config, "--main_process_port", str(store_socket.getsockname()[1]), "--module", module]
    try:
        launch_command(launch_command_parser().parse_args([*options, *arguments]))
    except ChildFailedError as error:
        first, failure = error.get_first_failure()
        message = failure.message  # written by `worker`
        if failure.exitcode < 0:
            message = f"process {first} was stopped by {failure.signal_name()}\n  remedy: {STOPPED}"
        elif not Path(failure.error_file).exists():
            message = f"process {first} ended with exit code {failure.exitcode}\n  remedy: see its message above"
        print(f"{module.rpartition('.')[2]}: error: {message}", file=sys.stderr)
        sys.exit(1)
    finally:
        shutil.rmtree(Path(config).parent, ignore_errors=True)  # in case the caller was killed before it could


if __name__ == "__main__":
    main(*sys.argv[1:])
