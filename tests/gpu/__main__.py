"""What only a GPU can show: `python -m tests.gpu [PART ...]`; `--list` names the parts.

Each part runs in a process of its own with a time limit, and prints its checks. Exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.gpu.registry import Bench, Part, parts, run_part
from tests.workspace import ROOT

CODES = {"passed": 0, "failed": 1, "skipped": 77}  # of a process with a part


def command_line() -> argparse.ArgumentParser:
    """What `python -m tests.gpu` takes."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", metavar="PART", help="all, unless some are named")
    parser.add_argument("--list", action="store_true", help="name the parts, and run none")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models and few steps: whether the parts run at all")
    parser.add_argument(
        "--scratch", type=Path, help="folder for models and workspaces, kept (a temporary one, removed)"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """The command line."""
    known, parser = parts(), command_line()
    given = parser.parse_args()
    if unknown := [name for name in given.part if name not in known]:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(known)}")
    if given.list:
        print("\n".join(f"{part.name:14} {part.does}" for part in known.values()))
        return 0
    if given.worker:
        (name,) = given.part
        return CODES[run_part(known[name], Bench(given.device, given.tiny, False, given.scratch))]
    if given.device == "cuda":
        # Asked in a process of its own, since this one must not hold the device.
        code = "import torch; print(torch.__version__, torch.cuda.get_device_properties(0), torch.cuda.device_count())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            words = "torch sees no CUDA device; `--device cpu --tiny` runs the parts small on a CPU"
            print(f"gpu: {words}", file=sys.stderr)
            return 1
        print(done.stdout.strip())
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as temporary:
        scratch = (given.scratch or Path(temporary)).absolute() / ("tiny" if given.tiny else "whole")
        scratch.mkdir(parents=True, exist_ok=True)
        ends = {name: watched(known[name], given, scratch) for name in given.part or known}
    print("\n".join(f"{end:8} {name}" for name, end in ends.items()))
    return int(any(end not in ("passed", "skipped") for end in ends.values()))


def watched(part: Part, given: argparse.Namespace, scratch: Path) -> str:
    """Run a part in a process group of its own, which is stopped after its time; how it ended."""
    print(f"{part.name}: {part.does}", flush=True)
    words = ["--worker", part.name, "--scratch", str(scratch), "--device", given.device]
    command = [sys.executable, "-m", "tests.gpu", *words, *(["--tiny"] if given.tiny else [])]
    start, over = time.perf_counter(), False
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        process.wait(part.limit)
    except subprocess.TimeoutExpired:
        over = True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not given.scratch:
        for used in scratch.glob("workspace-*"):  # each may have a copy of a model of 3B
            shutil.rmtree(used, ignore_errors=True)
    names = {code: state for state, code in CODES.items()}
    end = "stopped" if over else names.get(process.returncode, f"died ({process.returncode})")
    print(f"  {end} after {time.perf_counter() - start:.0f} s", flush=True)
    return end


if __name__ == "__main__":
    sys.exit(main())
