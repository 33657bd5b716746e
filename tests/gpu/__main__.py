"""What only a GPU can show: `python -m tests.gpu [PART ...]`; `--list` names the parts.

Each part runs in a process of its own with a time limit. Its results are in a JSON file of its name in `--out`, line by
line as they come. Exit code 1 if a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.gpu.registry import Bench, Part, parts, run_part, write
from tests.workspace import ROOT

OUT = Path("gpu-results")
TAIL = 30  # last lines of a part that died


def command_line() -> argparse.ArgumentParser:
    """What `python -m tests.gpu` takes."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", metavar="PART", help="all, unless some are named")
    parser.add_argument("--list", action="store_true", help="name the parts, and run none")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the results ({OUT})")
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
        run_part(known[name], Bench(given.device, given.tiny, False, given.scratch, given.out / f"{name}.json"))
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    if given.device == "cuda" and (missing := no_device()):
        print(f"gpu: {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as temporary:
        scratch = (given.scratch or Path(temporary)).absolute() / ("tiny" if given.tiny else "whole")
        scratch.mkdir(parents=True, exist_ok=True)
        chosen, where = [known[name] for name in given.part or known], machine(given.device)
        results = {part.name: watched(part, given, scratch, where) for part in chosen}
    print("\n".join(summary(results)))
    return int(any(result["state"] not in ("passed", "skipped") for result in results.values()))


def no_device() -> str | None:
    """Why nothing can run here; asked in a process of its own, since this one must not hold the device."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode == 0 and done.stdout.strip() not in ("", "0"):
        return None
    return "torch sees no CUDA device; `--device cpu --tiny` runs the parts small on a CPU"


def watched(part: Part, given: argparse.Namespace, scratch: Path, where: dict[str, Any]) -> dict[str, Any]:
    """Run a part in a process group of its own, which is stopped after its time; the result, also in its file.

    `where`: the machine, for the result.
    """
    file, log = given.out / f"{part.name}.json", given.out / f"{part.name}.log"
    for old in (file, log):
        old.unlink(missing_ok=True)
    print(f"{part.name}: {part.does}", flush=True)
    words = ["--worker", part.name, "--out", str(given.out), "--scratch", str(scratch), "--device", given.device]
    command = [sys.executable, "-m", "tests.gpu", *words, *(["--tiny"] if given.tiny else [])]
    start, over = time.perf_counter(), False
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stderr=errors, start_new_session=True)
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
    result: dict[str, Any] = {"lines": [], "reason": None}
    if file.exists():
        result |= json.loads(file.read_text(encoding="utf-8"))
    if over or process.returncode:
        result["state"] = "stopped" if over else "died"
        result["reason"] = f"after {part.limit} s" if over else f"exit code {process.returncode}"
        result["seconds"] = round(time.perf_counter() - start, 1)
        result["tail"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    result |= {"part": part.name, "device": given.device, "tiny": given.tiny, "machine": where}
    write(file, result)
    print(f"  {result['state']} in {result['seconds']:.0f} s{': ' if result['reason'] else ''}{result['reason'] or ''}")
    return result


def machine(device: str) -> dict[str, Any]:
    """What it ran on and when; asked in a process of its own."""
    code = f"""
import json
from hallmark.base.compute import fingerprint
from hallmark.base.machine import stamp
from hallmark.base.params import Compute

found = stamp(fingerprint(Compute(device={device!r}, threads=4, portable=False)))
if {device!r} == "cuda":
    import torch

    found["memory_bytes"] = torch.cuda.get_device_properties(0).total_memory
    found["gpus"] = torch.cuda.device_count()
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    return found


def summary(results: dict[str, dict[str, Any]]) -> list[str]:
    """A line a part, and one for each check that failed."""
    lines = []
    for name, result in results.items():
        lines.append(f"{result['state']:8} {name}{': ' if result['reason'] else ''}{result['reason'] or ''}")
        for line in result["lines"]:
            if line["state"] == "failed":
                lines.append(f"         {line['check']}: {line['error'].splitlines()[0]}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
