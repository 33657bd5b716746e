"""Stamp the adapter with model card, provenance, verdict and bill of materials: `python -m stages.certify`.

Other ways to run it, on a release folder: `--check DIR` says what it was made of and whether everything fits (exit code 0:
it does, and `--key` or `--clone` proves it; 1: something does not fit; 3: it fits, and nothing proves it), `--release OUT`
copies it out (and signs it) unless the gate said no, `--merge OUT` folds it into the base weights. The stage makes a release
whatever the verdict; a "no" is in the first line of the card, and `--release` and `--merge` refuse it.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.document import strings
from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.base.files import (
    ADAPTER,
    BASE,
    HOLDOUT_LOCK,
    QUANTIZED,
    RELEASE,
    REPORTS,
    atomic_folder,
    sha256_file,
    sha256_folder,
    write_json,
    write_text,
)
from hallmark.base.measured import measured
from hallmark.base.reading import REMADE, NotJsonError, read_json, read_json_lines, read_object, read_text, strict_json
from hallmark.base.reports import Report
from hallmark.judge.cascade import CascadeReport, shipped
from hallmark.model.gguf import DEFAULT, KINDS
from hallmark.params.loader import Params, load_params, resolved
from hallmark.release.checking import WAIVER, check, read_lock_file
from hallmark.release.listing import is_release_name
from hallmark.release.shipping import LOCK, merge, release

log = logging.getLogger("certify")

ENVIRONMENT = REPORTS / "measured" / "environment.json"  # in git, so that `verify` can compare with it
TUNED = REPORTS / "eval" / "tuned"
CASCADE = REPORTS / "cascade.json"
# What a release is about; dvc.lock leads from these to everything that they were made from.
ABOUT = [ADAPTER.as_posix(), TUNED.as_posix(), "reports/eval/base", prov.GATE.as_posix()]
# Which actions take an option; with any other it is an error, since it would be ignored.
OPTIONS = {
    "ungated": ("merge",),
    "gguf": ("merge",),
    "clone": ("check",),
    "key": ("check",),
    "sign": ("release",),
    "folder": ("release", "merge"),
    "base": ("merge",),
}
FIXED = [HOLDOUT_LOCK, Path("requirements.lock")]


def run(params: Params, params_file: Path = Path("params.yaml")) -> None:
    """Read what the pipeline made; write `models/release`."""
    if unfilled := params.certify.unfilled:
        raise HallmarkError(
            "still FILL-IN, so the model card would say nothing true of your data",
            param=", ".join(unfilled),
            remedy="write what holds for your data, and run `dvc repro certify`, which runs nothing else again",
        )
    with measured("certify"):
        values = resolved(params_file)
        stages = _stages(values)
        reports = _reports(stages)
        private = private_data(params, reports["files"])
        environment = _environment(params)
        write_json(ENVIRONMENT, environment)
        inputs = _inputs(stages)
        state = prov.git_state([*map(str, inputs), "dvc.yaml", "requirements.lock", str(params_file)])
        dependencies = prov.materials(
            inputs,
            data=params.data.path,
            schema=params.task.schema_file,
            base=reports["base"],
            state=state,
            environment=environment,
        )
        reports["rows"] = {
            Path(entry["name"]).stem: entry["annotations"]["rows"]
            for entry in dependencies
            if entry["annotations"]["role"] == "split"
        }
        subjects = sha256_folder(ADAPTER)
        reports["installed"] = environment["installed"]
        taken = {
            prov.PROVENANCE,
            prov.VERDICT,
            prov.CARD,
            prov.LICENCE,
            prov.SBOM,
            prov.CASCADE,
            prov.SIGNATURE,
        } & subjects.keys()
        taken |= {name for name in subjects if not is_release_name(name)}
        if taken:
            raise HallmarkError(
                "no file of that name can be in the adapter: it is one of a release, hidden, or can't be shown",
                file=ADAPTER / min(taken),
                remedy="run `dvc repro -f sft dpo`",
            )
        with atomic_folder(RELEASE) as folder:
            shutil.copytree(ADAPTER, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
            from hallmark.judge.results import read_results
            from hallmark.release.licence import licence_text
            from hallmark.release.model_card import model_card
            from hallmark.release.sbom import sbom

            results = read_results()
            write_text(folder / prov.CARD, model_card(params, results, reports, private))
            licence = licence_text(params.certify.name, params.base.name, params.base.licence)
            write_text(folder / prov.LICENCE, licence)
            write_json(folder / prov.SBOM, sbom(params, subjects, dependencies, results.measures))
            written = [prov.CARD, prov.LICENCE, prov.SBOM]
            if cascade := shipped(reports["cascade"]) if reports["cascade"] else None:
                write_json(folder / prov.CASCADE, cascade)
                written.append(prov.CASCADE)
            made = {name: sha256_file(folder / name) for name in written}
            byproducts = [prov.descriptor(name, sha256, "release file") for name, sha256 in made.items()]
            byproducts += [prov.descriptor(file.as_posix(), sha256_file(file), "report") for file in reports["files"]]
            statement = prov.provenance(
                subjects=subjects, params=values, stages=stages, dependencies=dependencies, byproducts=byproducts
            )
            write_json(folder / prov.PROVENANCE, statement)
            digest = sha256_file(folder / prov.PROVENANCE)
            write_json(folder / prov.VERDICT, prov.verdict(subjects, digest, reports["gate"]))
    log.info("%s: %d adapter files, gate: %s", RELEASE, len(subjects), reports["gate"].get("verdict"))


def _stages(params: dict[str, Any]) -> prov.Stages:
    """The stages that the release rests on, from `dvc.lock`; an error if the files differ from what it names.

    `dvc.lock` can't be a dependency in `dvc.yaml`, since DVC writes it while the pipeline runs; so it is checked here.
    """
    stages = prov.upstream(read_lock_file(LOCK), ABOUT)
    wrong = prov.stale(stages, params)
    if wrong:
        raise HallmarkError(
            f"it does not describe the files here: {'; '.join(wrong)}", file="dvc.lock", remedy="run `dvc repro`"
        )
    for path in ABOUT:
        if not prov.upstream(stages, [path]):
            raise HallmarkError(f"no stage made {path}", file="dvc.lock", remedy="run `dvc repro`")
    return stages


def _inputs(stages: prov.Stages) -> list[Path]:
    """Every file that went in: those that no stage made, the data in all its forms, the base weights, rounded or not."""
    outs = [out for stage in stages.values() for out in stage["outs"]]
    kept = ("data/", BASE.as_posix(), QUANTIZED.as_posix())
    roots = [*prov.sources(stages), *(out for out in outs if out.startswith(kept))]
    inputs = {file for file in FIXED if file.exists()}
    for root in [*map(Path, roots), *prov.code_in(roots)]:
        inputs |= {*prov.files_in(root)} if root.is_dir() else {root}
    return sorted(inputs)


def _reports(stages: prov.Stages) -> dict[str, Any]:
    """The reports that the card is made from, and under `files` every report that `stages` made."""
    outs = {Path(out) for stage in stages.values() for out in stage["outs"] if out.startswith(f"{REPORTS}/")}
    files = sorted(file for out in outs for file in (prov.files_in(out) if out.is_dir() else [out]))
    wanted = {name: REPORTS / f"{name}.json" for name in ("base", "dpo", "gate")}
    reports: dict[str, Any] = {name: read_object(file) if file.exists() else {} for name, file in wanted.items()}
    for name in ("base", "gate"):
        if not reports[name]:
            raise HallmarkError("no such report", file=wanted[name], remedy="run `dvc repro`, which makes it")
    made = CASCADE in files
    reports["cascade"] = Report("cascade").as_(CascadeReport) if made else None  # older pipelines have none
    return reports | {"files": files, "ends": _ends()}


def _ends() -> list[int]:
    """The tokens that end an answer, as `base` has settled them."""
    file = BASE / "generation_config.json"
    stated = read_object(file).get("eos_token_id") if file.exists() else None
    return stated if isinstance(stated, list) else [stated] if stated is not None else []


def _environment(params: Params) -> dict[str, Any]:
    """The installed libraries, and the fingerprint of the machine that last trained the adapter, or else of this one."""
    from hallmark.base.compute import fingerprint, installed

    trained = [REPORTS / "measured" / f"{stage}.json" for stage in ("dpo", "sft")]
    prints = [
        read_object(file).get("fingerprint") for file in trained if file.exists()
    ]  # dpo has none if it only copied
    recorded = next(filter(None, prints), None)
    if recorded is None:
        recorded = fingerprint(params.compute, params.sft.parallel.processes, params.sft.parallel.strategy)
    return {"installed": installed(), "fingerprint": recorded}


def private_data(params: Params, files: list[Path]) -> dict[str, int]:
    """Repeat the independent check of `mask` on all that git or a remote takes of the data; count what answers hold.

    `mask` checked the prompts, so what only an answer holds was made up by the model: for the tuned model that is an error
    or a count, as `certify.private_data` says; for the base it does not concern the release. Elsewhere it is an error.
    """
    from hallmark.mask.second_check import in_name, residue

    made_up_kinds: Counter[str] = Counter()
    for file in [*files, *(file for file in (HOLDOUT_LOCK,) if file.exists())]:
        if file.suffix == ".json":
            rows = [read_json(file)]
        elif file.suffix == ".jsonl":
            rows = list(read_json_lines(file))
        elif file.suffix == ".html":
            rows = [_texts_of_page(file)]
        else:  # a curve
            rows = [line.split(",") for line in read_text(file).splitlines()]
        for number, row in enumerate(rows, 1):
            given, answer = row, ""
            of_word: Callable[..., list[str]] = in_name  # a word in a report is a name: most often of a record
            if file.name == "predictions.jsonl":  # the rest are scores, and parts of the answer
                of_word = residue
                given, answer = [row.get(name) for name in ("input", "context", "target")], row.get("prediction")
                if not isinstance(answer, str):
                    raise HallmarkError("not a text", file=file, row=number, field="prediction", remedy=REMADE)
            kinds = {
                kind
                for text in strings(given, keys=True)
                for kind in (residue if re.search(r"\s", text) else of_word)(text, allow_reserved=True)
            }
            made_up = residue(answer, allow_reserved=True) if file.is_relative_to(TUNED) else []
            if kinds or (made_up and params.certify.private_data == "error"):
                raise HallmarkError(
                    f"holds what looks like private data ({', '.join(sorted(kinds or made_up))})",
                    file=file,
                    row=number if file.suffix not in (".json", ".html") else None,
                    field=None if kinds else "prediction",
                    remedy="add a mask rule for it, and run `dvc repro`"
                    + ("" if kinds else "; or set certify.private_data to count, if it is the model's invention"),
                )
            made_up_kinds.update(made_up)
    return dict(made_up_kinds)


def _texts_of_page(file: Path) -> list[Any]:
    """The texts between a page's tags, and what its JSON has of the records, without the answers and parts of them."""
    page = read_text(file)

    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: given(item) for key, item in value.items() if key not in ("models", "fields")}
        return [given(item) for item in value] if isinstance(value, list) else value

    data = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)
    shown = re.sub(r"<(script|style|svg)\b.*?</\1>", "", data.sub("", page), flags=re.DOTALL)
    try:
        islands = [given(strict_json(island)) for island in data.findall(page)]
    except NotJsonError:
        raise HallmarkError("holds data that is not JSON", file=file, remedy=REMADE) from None
    return [*islands, "\n\n".join(re.split(r"<[^>]*>", shown))]


def main(arguments: argparse.Namespace) -> None:
    """Command line: make the release, or check, release or merge one."""
    _refuse_ignored(arguments)
    if arguments.check is not None:
        sys.exit(_print_check(arguments))
    if arguments.release:
        release(arguments.folder or RELEASE, arguments.release, arguments.sign)
    elif arguments.merge:
        from hallmark.model.quantized import pin_rounding

        pin_rounding(os.environ)  # for a base that has to be rounded, before torch is imported
        source, base = arguments.folder or RELEASE, arguments.base or QUANTIZED
        merge(source, base, arguments.merge, arguments.ungated, arguments.gguf)
    else:
        run(load_params(arguments.params), arguments.params)


def _refuse_ignored(arguments: argparse.Namespace) -> None:
    """Raise a HallmarkError for an option that would be ignored: `--merge OUT --key PEM` would look as if it checked."""
    action = next((name for name in ("check", "release", "merge") if getattr(arguments, name) is not None), None)
    for name, actions in OPTIONS.items():
        if getattr(arguments, name) not in (None, False) and action not in actions:
            takers = " and ".join(f"--{taker}" for taker in actions)
            only = f"only {takers} {'takes' if len(actions) == 1 else 'take'} it"
            remedy = "check it first, with `--check DIR`" if name in ("key", "clone") else "leave it out"
            raise HallmarkError(only, file=f"--{name}", remedy=remedy)


def _print_check(arguments: argparse.Namespace) -> int:
    finding = check(arguments.check, arguments.clone, arguments.key)
    for line in finding.lines:  # someone else's release may hold anything, terminal codes too
        print(in_red(printable(line), sys.stdout) if line.startswith(WAIVER) else printable(line))
    return finding.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.certify", description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", type=Path, metavar="DIR", help="say what a release was made of, and whether it fits")
    action.add_argument(
        "--release", type=Path, metavar="OUT", help="copy the release to a new folder, if the gate passed it"
    )
    action.add_argument("--merge", type=Path, metavar="OUT", help="fold the adapter into its base, in a new folder")
    parser.add_argument(
        "--gguf", nargs="?", const=DEFAULT, choices=list(KINDS), help="with --merge: as a GGUF file, with llama.cpp's converter, "
        f"with weights of this type (default: {DEFAULT})"
    )  # fmt: skip
    parser.add_argument("--ungated", action="store_true", help="with --merge: also one that the gate did not pass")
    parser.add_argument("--clone", type=Path, metavar="REPO", help="with --check: compare with this clone as well")
    parser.add_argument(
        "--key", type=Path, metavar="PEM", help="with --check: the public key that the signature must hold for"
    )
    parser.add_argument(
        "--sign", type=Path, metavar="PEM", help="with --release: sign with this private key (an elliptic curve)"
    )
    parser.add_argument("--folder", type=Path, help=f"with --release and --merge: from where (default: {RELEASE})")
    parser.add_argument(
        "--base", type=Path, help=f"with --merge: what it was trained over, or its base (default: {QUANTIZED})"
    )
    return parser


if __name__ == "__main__":
    run_stage("certify", __doc__, main, _parser())
