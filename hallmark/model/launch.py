"""Run a stage in several processes, on one machine or more, through accelerate's launcher; none outlives the stage.

The stage that the user started calls `launch`, which starts the launcher (this module as a program), which starts the
workers: the same stage again, with `is_worker()` true. Only the first worker writes. With several machines, the user starts
the stage on each, and torchrun's own variables (`Machines`) say which machine it is and where all meet.
"""

from __future__ import annotations

import json
import logging
import os
import re
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hallmark.base.compute import WORKER, environment
from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute
from hallmark.model.params import Sft

HOST = "127.0.0.1"
STOPPED = "run the stage again; if nobody stopped it, the machine may have run out of memory"
AGAIN = (
    "run it again on all machines: with sft.checkpoint_minutes, it goes on at the last checkpoint of the first machine"
)
UNMET = "see that the first machine has that address, that the others reach that port, and start the stage on all"
BROKEN = re.compile(r"gloo|NCCL|Connection")  # what torch says of a process that has gone
STOP_SECONDS = 40  # torch's launcher kills its workers after 30

# The workers of one machine talk to each other on the loopback interface only.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo", "NCCL_SOCKET_IFNAME": "lo"}
COUNT, RANK, HEAD, PORT = "PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"


@dataclass(frozen=True)
class Machines:
    """How many machines train together, which of them this is, and the address of the first, where all meet."""

    count: int = 1
    rank: int = 0
    head: str = HOST
    port: int = 0

    @classmethod
    def of_environment(cls, processes: int) -> Machines:
        """As torchrun's variables say; one machine without them."""
        try:
            count = int(os.environ.get(COUNT, "1"))
            if count == 1:
                return cls()
            found = cls(count, int(os.environ[RANK]), os.environ[HEAD], int(os.environ[PORT]))
        except (KeyError, ValueError) as error:
            raise HallmarkError(
                f"the environment has {COUNT}, and not the rest of several machines ({error})",
                remedy=f"set {COUNT}, {RANK} (0 on the first), {HEAD} (its address) and {PORT} on each, or none of them",
            ) from None
        if count < 1 or processes % count:
            raise HallmarkError(
                f"{processes} processes can't be shared evenly among {count} machines",
                param="sft.parallel.processes",
                remedy=f"set it to the number of all processes, a multiple of {COUNT}",
            )
        return found

    @property
    def interfaces(self) -> dict[str, str]:
        """The network interface that leads to the first machine, unless the user has named another."""
        import psutil

        if self.count == 1:
            return LOOPBACK
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((self.head, self.port))  # sends nothing
                own = probe.getsockname()[0]
        except OSError as error:
            raise HallmarkError(
                f"{HEAD} leads nowhere ({error.strerror})", remedy="name the first machine's address"
            ) from None
        names = [name for name, all_of in psutil.net_if_addrs().items() if own in [one.address for one in all_of]]
        return {name: os.environ.get(name, found) for name in LOOPBACK for found in names[:1]}


def is_worker() -> bool:
    """Whether this process is one of several."""
    return WORKER in os.environ


def rank() -> int:
    """The index of this process; process 0 writes, and a run in one process is process 0."""
    return int(os.environ["RANK"]) if is_worker() else 0


def accelerate_config(sft: Sft, device: str, machines: Machines) -> dict[str, Any]:
    """The settings that `accelerate config` would write for `sft.parallel`.

    It uses FSDP version 2, which shards each parameter separately, so one layer can hold frozen 4-bit weights and fp32
    adapters; version 1 is deprecated. Every process loads the base itself: accelerate 1.15 can't distribute 4-bit
    weights from the first process (`fsdp_cpu_ram_efficient_loading`).
    """
    parallel = sft.parallel
    sharded = parallel.strategy == "fsdp"
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if sharded else "MULTI_GPU",  # on a CPU too: MULTI_CPU would start a single process
        "num_machines": machines.count,
        "machine_rank": machines.rank,
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
    if machines.count > 1:
        config |= {"main_process_ip": machines.head, "main_process_port": machines.port, "same_network": True}
    return config


def launch(module: str, arguments: Sequence[str], sft: Sft, compute: Compute) -> None:
    """Run `python -m module arguments` in this machine's share of `sft.parallel.processes`; SystemExit if they fail.

    They print the reason themselves. If one fails, the launcher stops the others. When this process ends, for whatever
    reason, their standard input closes, and they end too.
    """
    machines = Machines.of_environment(sft.parallel.processes)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = Path(folder) / "accelerate.json"
        config.write_text(json.dumps(accelerate_config(sft, compute.device, machines)), encoding="utf-8")
        variables = environment(compute, all_devices=True) | machines.interfaces
        variables |= {WORKER: str(sft.parallel.processes), "TMPDIR": folder}
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
    except (HallmarkError, RuntimeError) as error:
        if not isinstance(error, HallmarkError):
            if int(os.environ.get(COUNT, "1")) == 1 or not BROKEN.search(str(error)):
                raise
            error = HallmarkError("the connection to another machine broke: the stage ended there", remedy=AGAIN)
        failure = {"message": str(error), "timestamp": int(time.time())}  # the format torch's launcher reads
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(failure), encoding="utf-8")
        sys.exit(1)


def own_device(sft: Sft, compute: Compute) -> str:
    """The device of this process; with several GPUs, each process has its own."""
    import torch

    if compute.device == "cpu" or not is_worker():
        return compute.device
    own, here = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if torch.cuda.device_count() < here:
        raise HallmarkError(
            f"{here} processes on this machine, but torch sees {torch.cuda.device_count()} CUDA devices",
            param="sft.parallel.processes",
            remedy="set it to the number of GPUs of all machines, or fewer",
        )
    torch.cuda.set_device(own)
    return f"cuda:{own}"


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
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

    name = module.rpartition(".")[2]
    logging.disable(logging.ERROR)  # silences torch's launcher: the error is printed once, below
    # Workers rendezvous in a key-value store without a password, which torch would open on every network interface.
    settings = json.loads(Path(config).read_text(encoding="utf-8"))
    port = settings.get("main_process_port", 0)
    if settings["machine_rank"] == 0:
        store_socket = socket.socket()
        store_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            store_socket.bind((settings.get("main_process_ip", HOST), port))
        except OSError as error:
            sys.exit(f"{name}: error: {HEAD}, {PORT}: can't listen there ({error.strerror})\n  remedy: {UNMET}")
        port = store_socket.getsockname()[1]
        rendezvous: Any = static_tcp_rendezvous
        rendezvous.TCPStore = partial(rendezvous.TCPStore, master_listen_fd=store_socket.fileno())
    options = ["--config_file", config, "--main_process_port", str(port), "--module", module]
    try:
        launch_command(launch_command_parser().parse_args([*options, *arguments]))
    except ChildFailedError as error:
        first, failure = error.get_first_failure()
        message = failure.message  # written by `worker`
        if failure.exitcode < 0:
            message = f"process {first} was stopped by {failure.signal_name()}\n  remedy: {STOPPED}"
        elif not Path(failure.error_file).exists():
            message = f"process {first} ended with exit code {failure.exitcode}\n  remedy: see its message above"
        sys.exit(f"{name}: error: {message}")
    except DistError:
        sys.exit(f"{name}: error: the machines have not met, or the first has gone\n  remedy: {UNMET}")
    finally:
        shutil.rmtree(Path(config).parent, ignore_errors=True)  # in case the caller was killed before it could


if __name__ == "__main__":
    main(*sys.argv[1:])
