"""Set params.yaml up for a kind of machine: `python -m hallmark.commands.machine gpu-24gb`; without a name, list them.

The machine and the size of the base decide what is set (`hallmark/params/machines/`). Only those lines change, and all
comments stay. `--dry` shows the changes and writes nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hallmark.base.errors import run_stage
from hallmark.base.files import BASE, REPORTS
from hallmark.base.model_folder import tensor_sizes, weight_files
from hallmark.base.reading import read_object, read_text
from hallmark.params.checked import changed, loaded, write
from hallmark.params.loader import Params, load_params
from hallmark.params.presets import advice, changes_for, described, machines, size_by_name

BASE_REPORT = REPORTS / "base.json"


def run(file: Path, machine: str | None, dry: bool) -> None:
    """List the machines, or change `file` for one of them; it stays as it is if the result would not be valid."""
    params, text = load_params(file), read_text(file)
    billions, said = size_of_base(params)
    print(said)
    if machine is None:
        for name in machines():
            changes = differences(text, changed(text, changes_for(text, name, billions)))
            print(f"\n{name}: {described(name)}")
            print("\n".join(changes) if changes else "  params.yaml is set up for it")
        print("\n`nox -s machine -- NAME` makes the changes, with `--dry` it only shows them")
        return
    new = changed(text, changes_for(text, machine, billions))
    changes, said_after = differences(text, new), [*advice(new, machine, billions), *needed(new)]
    print("\n".join(changes) or f"{file} is set up for {machine}")
    if changes and not dry:
        write(file, new)
        print(f"written: {file}; `nox -s plan` says whether it fits, and `nox -s repro` runs what has changed")
    print("".join(f"{line}\n" for line in said_after), end="")


def size_of_base(params: Params) -> tuple[float | None, str]:
    """Billions of parameters of the base, None if nothing tells them, and a line that says how they are known."""
    name = params.base.name
    if BASE_REPORT.exists() and read_object(BASE_REPORT).get("name") == name and (BASE / "config.json").exists():
        count = sum(sum(tensor_sizes(file).values()) for file in weight_files(BASE)) / 1e9
        return count, f"base {name}: {count:.2g} billion parameters, counted in {BASE}"
    if (billions := size_by_name(name)) is not None:
        return billions, f"base {name}: {billions:g} billion parameters, by its name"
    return None, f"base {name}: its size is not known"


def differences(old: str, new: str) -> list[str]:
    """The values that differ between two texts of params.yaml, a line each; of another kind of server, only the kind."""
    before, after = _flat(loaded(old)), _flat(loaded(new))
    kind = "benchmark.server.kind"
    hidden = kind.removesuffix("kind") if before[kind] != after[kind] else "-"
    return [
        f"  {name}: {before.get(name, '(none)')} -> {after.get(name, '(none)')}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name) and (name == kind or not name.startswith(hidden))
    ]


def needed(params: str) -> list[str]:
    server = loaded(params)["benchmark"]["server"]
    if server["kind"] == "vllm" and not Path(server["python"]).exists():
        return ["vLLM isn't installed yet: `nox -s vllm` does that, which takes minutes"]
    return []


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        return {name: value if isinstance(value, str) else json.dumps(value, default=str)}
    return {key: text for of, item in value.items() for key, text in _flat(item, f"{name}.{of}".lstrip(".")).items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.machine", description=__doc__)
    parser.add_argument("machine", nargs="?", metavar="NAME", help="cpu, gpu-24gb, gpu-80gb or gpus; none: list them")
    parser.add_argument("--dry", action="store_true", help="show the changes, and write nothing")
    run_stage("machine", __doc__, lambda given: run(given.params, given.machine, given.dry), parser)
