"""Stamp the adapter with model card, provenance, verdict and bill of materials: `python -m stages.certify`.

It reads all that the pipeline made, if `dvc.lock` describes it, and looks once more for private data in the parts that go to
git or a remote. Then it writes `models/release`: the adapter's files, card, licence, bill of materials, the cascade if there
is one, and two statements that name each other. It makes a release whatever the verdict; if the gate did not pass, the first
line of the card says so, and `hallmark.commands.export` and `merge` refuse it. `hallmark.commands.check` checks a release.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.document import strings
from hallmark.base.errors import HallmarkError, run_stage
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
from hallmark.base.loaded_code import library
from hallmark.base.measured import measured
from hallmark.base.reports import Report
from hallmark.judge.cascade import CascadeReport, shipped
from hallmark.judge.reported import DPO
from hallmark.judge.results import read_results
from hallmark.judge.verdict import Verdict
from hallmark.mask.leftover import check_written, proves
from hallmark.mask.second_check import in_words
from hallmark.params.loader import Params, load_params, resolved
from hallmark.release import lineage
from hallmark.release.licence import licence_text
from hallmark.release.model_card import model_card, unfilled
from hallmark.release.private_data import private_data
from hallmark.release.sbom import sbom
from hallmark.release.usage import BASED, ends, given

log = logging.getLogger("certify")

ENVIRONMENT = REPORTS / "measured" / "environment.json"  # in git, so that `verify` can compare with it
# What a release is about; dvc.lock leads from these to everything that they were made from.
ABOUT = [ADAPTER.as_posix(), "reports/eval/tuned", "reports/eval/base", prov.GATE.as_posix()]
# Of what stages made, the provenance names the data in all its forms and the base weights, rounded or not.
KEPT = ("data/", BASE.as_posix(), QUANTIZED.as_posix())
FIXED = [HOLDOUT_LOCK, Path("requirements.lock")]


def run(params: Params, params_file: Path = Path("params.yaml")) -> None:
    """Read what the pipeline made; write `models/release`."""
    if lines := unfilled(params.certify, params_file):
        raise HallmarkError(
            "; ".join(lines), file=params_file, remedy="then run `dvc repro certify`, which runs nothing else again"
        )
    # The card and the provenance say what params.yaml says. An address of a machine in it is nobody's, and `certify` may
    # say whom to ask.
    machines = {"actions": {**params.mask.actions, "IP_ADDRESS": "keep"}}
    others = {name: value for name, value in resolved(params_file).items() if name != "certify"}
    proven = proves(params.mask)
    if shown := {kind for text in strings(params.certify.model_dump(mode="json")) for kind in proven(text, in_words)}:
        log.warning(
            "the model card shows what looks like private data, as certify has it: %s", ", ".join(sorted(shown))
        )
    check_written(others.items(), params.mask.model_copy(update=machines))
    with measured("certify"):
        # The stages that the release rests on. `dvc.lock` can't be a dependency in `dvc.yaml`, since DVC writes it while
        # the pipeline runs; so it is checked here that the files are those that it names.
        values = resolved(params_file)
        stages = lineage.stages_behind(ABOUT, values)

        # What they reported: the card is made from some of it, and git or a remote takes all of it.
        files = lineage.reports_of(stages)
        base, report = Report("base").as_(BASED).model_dump(), Report("gate")
        report.as_(Verdict)
        gate = report.content  # with its numbers as they are written, for the digest
        dpo = Report("dpo").as_(DPO) if REPORTS / "dpo.json" in files else DPO()
        older = REPORTS / "cascade.json" not in files  # pipelines that had no such stage
        cascade = None if older else Report("cascade").as_(CascadeReport)
        locked = [HOLDOUT_LOCK] if HOLDOUT_LOCK.exists() else []
        made_up = private_data([*files, *locked], params.certify.private_data, params.mask)

        # What went in: every file, the commit, the libraries, and the machine that trained.
        environment = lineage.environment(params)
        write_json(ENVIRONMENT, environment)
        fixed = {file for file in (*FIXED, library()) if file and file.exists()}
        inputs = sorted({*lineage.files_behind(stages, KEPT), *fixed})
        dependencies = prov.materials(
            inputs,
            schema=params.task.schema_file,
            base=base,
            state=prov.git_state([*lineage.sources_of(stages), *map(str, fixed), "dvc.yaml", str(params_file)]),
            environment=environment,
        )

        # What comes out: the adapter, unchanged, and what describes it.
        subjects = sha256_folder(ADAPTER)
        with atomic_folder(RELEASE) as folder:
            shutil.copytree(ADAPTER, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
            results = read_results()
            told = {
                "base": base,
                "dpo": dpo,
                "cascade": cascade,
                "ends": ends(),
                "given": given(),
                "installed": environment["installed"],
                "rows": {
                    Path(entry["name"]).stem: entry["annotations"]["rows"]
                    for entry in dependencies
                    if entry["annotations"]["role"] == "split"
                },
            }
            write_text(folder / prov.CARD, model_card(params, results, told, made_up))
            licence = licence_text(params.certify.name, params.base.name, params.base.licence)
            write_text(folder / prov.LICENCE, licence)
            write_json(folder / prov.SBOM, sbom(params, subjects, dependencies))
            written = [prov.CARD, prov.LICENCE, prov.SBOM]
            if promised := shipped(cascade) if cascade else None:
                write_json(folder / prov.CASCADE, promised)
                written.append(prov.CASCADE)

            # The provenance names all of these by hash, and the verdict names the provenance: neither can be changed alone.
            byproducts = [prov.descriptor(name, sha256_file(folder / name), "release file") for name in written]
            byproducts += [prov.descriptor(file.as_posix(), sha256_file(file), "report") for file in files]
            statement = prov.provenance(
                subjects=subjects, params=values, stages=stages, dependencies=dependencies, byproducts=byproducts
            )
            write_json(folder / prov.PROVENANCE, statement)
            digest = sha256_file(folder / prov.PROVENANCE)
            write_json(folder / prov.VERDICT, prov.verdict(subjects, digest, gate))
    log.info("%s: %d adapter files, gate: %s", RELEASE, len(subjects), gate.get("verdict"))


if __name__ == "__main__":
    run_stage("certify", __doc__, lambda arguments: run(load_params(arguments.params), arguments.params))
