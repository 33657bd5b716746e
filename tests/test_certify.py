"""The release: its content, and that every change to it is found. On a small pipeline with real git and real DVC."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import RELEASE, sha256_file, sha256_folder, write_json
from hallmark.base.reading import read_json
from hallmark.params.loader import load_params
from hallmark.release.checking import check
from hallmark.release.model_card import FILL_IN, unfilled
from hallmark.release.shipping import merge, release
from stages import certify
from tests.made_up_release import edit
from tests.rows import refused
from tests.small_pipeline import ROOT, copied, relock, shell
from tests.workspace import append, replace_in, run_here


@pytest.fixture
def repo(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to break, as the working directory."""
    copy = copied(small_run, tmp_path / "repo")
    monkeypatch.chdir(copy)
    return copy


def again() -> None:
    certify.run(load_params())


def wrong(clone: Path | None = None, folder: Path = RELEASE) -> str:
    return "\n".join(check(folder, clone).wrong)


# --- what a release says -----------------------------------------------------------------------------------------


def test_a_release_says_what_it_was_made_of(repo: Path) -> None:
    finding = check(RELEASE, clone=repo)
    assert finding.wrong == []
    assert finding.passed
    told = "\n".join(finding.made_of)
    for part in ("calibration 1, holdout 2", shell("git rev-parse HEAD~", repo).strip(), "rank 16", "gate: pass"):
        assert part in told


def test_a_cascade_with_a_threshold_ships_and_is_on_the_card(repo: Path) -> None:
    from tests.test_cascade import CALIBRATION, HOLDOUT, PARAMS, judged_of

    assert not (RELEASE / prov.CASCADE).exists(), "there is none without a report"
    asked = load_params(Path("params.yaml")).cascade
    report = judged_of(PARAMS.model_copy(update={"cascade": asked}), HOLDOUT, CALIBRATION)
    write_json(Path("reports/cascade.json"), asdict(report))
    pipeline, gate = Path("dvc.yaml").read_text(encoding="utf-8"), "metrics: [reports/gate.json"
    assert gate in pipeline
    more = "metrics: [reports/cascade.json: {cache: false, persist: true}, reports/gate.json"
    Path("dvc.yaml").write_text(pipeline.replace(gate, more), encoding="utf-8")
    relock()
    again()
    assert check(RELEASE).wrong == []
    assert read_json(RELEASE / prov.CASCADE)["threshold"] == report.threshold
    card = (RELEASE / prov.CARD).read_text(encoding="utf-8")
    assert "## Cascade" in card


def test_provenance_names_all_that_went_in(repo: Path) -> None:
    statement = read_json(RELEASE / prov.PROVENANCE)
    build = statement["predicate"]["buildDefinition"]
    names = {entry["name"]: entry for entry in build["resolvedDependencies"]}
    inputs = [
        "data/raw/tickets.jsonl",
        "data/split/holdout.parquet",
        "models/base/model.safetensors",
        "models/quantized/model.safetensors",
        "requirements.lock",
    ]
    for name in [*inputs, "make.py"]:
        assert names[name]["digest"] == {"sha256": sha256_file(Path(name))}
    assert names["pytest"]["uri"] == f"pkg:pypi/pytest@{pytest.__version__}"
    assert names["not-there-at-all"]["annotations"]["version"] == "absent"
    assert names["fingerprint"]["annotations"]["threads"] == load_params().compute.threads
    assert build["externalParameters"]["params"]["sft"]["learning_rate"] == load_params().sft.learning_rate
    files = {"adapter_config.json", "adapter_model.safetensors", "training.json"}
    assert {entry["name"] for entry in statement["subject"]} == files
    assert "certify" not in build["internalParameters"]["stages"]


def test_the_statements_are_in_toto_statements(repo: Path) -> None:
    pytest.importorskip("in_toto_attestation", reason="comes with model-signing (extra sign)")
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    for name, kind in ((prov.PROVENANCE, Provenance), (prov.VERDICT, TestResult)):
        value = read_json(RELEASE / name)
        Statement.copy_from_pb(ParseDict(value, Message())).validate()
        ParseDict(value["predicate"], kind())  # an unknown field is an error


def test_the_card_is_one_that_the_hub_reads(repo: Path) -> None:
    from huggingface_hub import ModelCard

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card = ModelCard.load(RELEASE / prov.CARD)
    head = card.data.to_dict()
    assert "base_model" not in head, "a package's weights are not the hub's"
    assert head["license"] == "apache-2.0"
    assert {result.metric_name: result.metric_value for result in card.data.eval_results}["Exact match"] == 0.8
    assert "80.0 % (76.0 to 84.0)" in card.text and "ticket 1" not in card.text


def test_the_bill_of_materials_is_valid_and_complete(repo: Path) -> None:
    pytest.importorskip("jsonschema", reason="cyclonedx-python-lib[json-validation]")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (RELEASE / prov.SBOM).read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    kinds = {component["name"]: component["type"] for component in bill["components"]}
    assert kinds[load_params().base.name] == "machine-learning-model"
    assert kinds["data/split/train.parquet"] == "data"
    assert kinds["pytest"] == "library"


def test_the_same_inputs_give_the_same_release(repo: Path, tmp_path: Path) -> None:
    before = sha256_folder(RELEASE)
    shutil.copytree(repo, tmp_path / "elsewhere")
    code = "from stages import certify; from hallmark.params.loader import load_params; certify.run(load_params())"
    shell(
        f"git checkout -q HEAD~ -- . && TZ=Asia/Tokyo PYTHONHASHSEED=3 PYTHONPATH='{ROOT}' python -P -c '{code}'",
        tmp_path / "elsewhere",
    )
    after = sha256_folder(tmp_path / "elsewhere" / RELEASE)
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {prov.PROVENANCE, prov.VERDICT}  # another commit is checked out, and no more
    changed = prov.differences(*(read_json(at / RELEASE / prov.PROVENANCE) for at in (repo, tmp_path / "elsewhere")))
    assert changed == ["predicate.buildDefinition.resolvedDependencies"]


def test_no_token_of_the_remote_gets_into_the_provenance(repo: Path) -> None:
    shell("git remote add origin https://me:s3cret@example.com/group/repo.git", repo)
    again()
    text = (RELEASE / prov.PROVENANCE).read_text(encoding="utf-8")
    assert "git+https://example.com/group/repo.git@" in text
    assert "s3cret" not in text
    assert str(repo) not in text


# --- what certify refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda: Path("models/adapter/adapter_config.json").write_text("{}"), "models/adapter is not what sft made"),
        (
            lambda: edit(Path("reports/gate.json"), lambda v: v["rules"][0].update(value=0.79)),
            "reports/gate.json is not what gate",
        ),
        (lambda: Path("reports/eval/tuned/predictions.jsonl").write_text("{}\n"), "reports/eval is not what eval made"),
        (lambda: Path("data/raw/tickets.jsonl").write_text("{}\n"), "data/raw is not what split read"),
        (lambda: replace_in(Path("params.yaml"), "r: 16", "r: 8"), "param sft is not what sft ran with"),
        (lambda: Path("dvc.lock").unlink(), "dvc.lock: no such file"),
        (lambda: Path("dvc.lock").write_text("<<<<<<< mine\n"), "an unfinished merge"),
    ],
)
def test_what_does_not_belong_together_is_not_certified(repo: Path, break_it: Callable[[], Any], message: str) -> None:
    before = sha256_folder(RELEASE)
    break_it()
    with pytest.raises(HallmarkError, match="remedy") as error:
        again()
    assert message in str(error.value)
    assert sha256_folder(RELEASE) == before


def test_what_nobody_has_filled_in_is_not_certified(repo: Path) -> None:
    before = sha256_folder(RELEASE)
    certified = load_params().certify
    filled = {"intended_use": f"It {FILL_IN}.", "limits": ["It is slow.", FILL_IN], "languages": [FILL_IN]}
    params = load_params().model_copy(update={"certify": certified.model_copy(update=filled)})
    with pytest.raises(HallmarkError) as caught:
        certify.run(params)
    named = re.findall(r"(\S+) is FILL-IN", caught.value.problem)
    assert named == ["certify.languages", "certify.intended_use", "certify.limits"]
    assert sha256_folder(RELEASE) == before
    assert unfilled(certified, Path("params.yaml")) == []


def test_private_data_in_a_prediction_is_an_error_that_does_not_show_it(repo: Path) -> None:
    file = Path("reports/eval/tuned/predictions.jsonl")
    row = json.loads(file.read_text(encoding="utf-8"))
    for field in ("input", "prediction"):
        file.write_text(json.dumps(row | {field: "write to Ann.Lee@corp-mail.org"}) + "\n")
        relock()
        with refused(row=1) as error:
            again()
        assert "EMAIL" in str(error.value) and "corp-mail" not in str(error.value)


def test_private_data_in_answers_can_be_counted_instead(repo: Path) -> None:
    replace_in(Path("params.yaml"), "private_data: error", "private_data: count")
    for model in ("base", "tuned"):
        file = Path(f"reports/eval/{model}/predictions.jsonl")
        row = json.loads(file.read_text(encoding="utf-8")) | {"prediction": "write to Ann.Lee@corp-mail.org"}
        file.write_text(json.dumps(row) + "\n")
    relock()
    again()
    text = (RELEASE / prov.CARD).read_text(encoding="utf-8")
    assert "EMAIL_ADDRESS: 1" in text
    assert "corp-mail" not in text


# --- every change is found ---------------------------------------------------------------------------------------


def test_a_clone_of_other_data_or_code_is_told(repo: Path) -> None:
    Path("data/raw/tickets.jsonl").write_text('{"id": "1", "text": "other"}\n')
    Path("make.py").unlink()
    found = wrong(clone=repo)
    assert "data/raw/tickets.jsonl is not the same in the clone (raw data)" in found
    assert "make.py is missing in the clone (code)" in found


def test_the_form_of_the_statements_stays(repo: Path) -> None:
    """A release outlives the code that made it: whoever changes this form must still read the old one, or name a new type."""
    provenance, verdict = read_json(RELEASE / "provenance.json"), read_json(RELEASE / "verdict.json")
    assert prov.BUILD_TYPE == "urn:hallmark:dvc-pipeline:v1"
    build, details = provenance["predicate"]["buildDefinition"], provenance["predicate"]["runDetails"]
    keys = {"_type", "subject", "predicateType", "predicate"}
    assert provenance.keys() == verdict.keys() == keys
    assert build.keys() == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
    assert details.keys() == {"builder", "byproducts"}
    assert build["externalParameters"].keys() == {"command", "params"}
    stages = build["internalParameters"]["stages"].values()
    assert {key for stage in stages for key in stage} == {"cmd", "deps", "params", "outs"}
    tests = {f"{outcome}Tests" for outcome in ("passed", "warned", "failed")}
    assert verdict["predicate"].keys() == {"result", "configuration", *tests}
    named = [entry["name"] for entry in verdict["predicate"]["configuration"]]
    assert named == ["provenance.json", "reports/gate.json"]
    assert {entry["annotations"]["role"] for entry in details["byproducts"]} == {"release file", "report"}


# --- a failed gate, the command line, release and signature ------------------------------------------------------


def test_a_release_whose_verdict_has_the_older_form_still_checks(repo: Path) -> None:
    """Until November 2026 a rule that did not apply was among the warnings."""
    edit(Path("reports/gate.json"), lambda gate: gate["rules"].append(gate["rules"][0] | {"outcome": "not_applicable"}))
    shell("git commit -qam gate && dvc commit -q -f gate", repo)
    again()
    statement = read_json(RELEASE / prov.PROVENANCE)
    subjects = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
    gate, digest = read_json(Path("reports/gate.json")), sha256_file(RELEASE / prov.PROVENANCE)
    assert prov.verdict(subjects, digest, gate) == read_json(RELEASE / prov.VERDICT)
    older = prov.verdict(subjects, digest, gate, older=True)
    assert older != prov.verdict(subjects, digest, gate)
    write_json(RELEASE / prov.VERDICT, older)
    assert check(RELEASE).wrong == []
    older["predicate"]["warnedTests"] = []
    write_json(RELEASE / prov.VERDICT, older | {"predicate": older["predicate"] | {"passedTests": []}})
    assert check(RELEASE).wrong == ["verdict.json contradicts the gate's report in it"]


def test_a_failed_gate_is_said_first_and_refused(repo: Path, tmp_path: Path) -> None:
    edit(Path("reports/gate.json"), lambda v: (v.update(verdict="fail"), v["rules"][0].update(outcome="fail")))
    relock()
    again()
    text = (RELEASE / prov.CARD).read_text(encoding="utf-8").split("---\n")[2].strip()
    assert text.startswith("**The gate did not pass this adapter")
    verdict = read_json(RELEASE / prov.VERDICT)["predicate"]
    assert (verdict["result"], verdict["failedTests"]) == ("FAILED", ["exact_match_gain"])
    assert wrong() == ""
    relock()
    with pytest.raises(HallmarkError, match="the gate did not pass"):
        release(RELEASE, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()
    with refused("--ungated"):
        merge(RELEASE, Path("models/base"), tmp_path / "merged")


def test_a_waived_rule_is_said_first_in_red_and_ships(repo: Path, tmp_path: Path) -> None:
    """The reason is shown as it stands: it can't bring its own HTML, Markdown or lines."""
    reason = "![x](http://x.test) <script>alert(1)</script> | **ok** `a`"
    params = Path("params.yaml").read_text(encoding="utf-8")
    asked = params.replace("waive: {}", f"waive: {json.dumps({'superiority.base': reason})}")
    Path("params.yaml").write_text(asked, encoding="utf-8")
    waived = {"name": "superiority.base", "outcome": "fail", "waiver": reason}
    change = {"verdict": "pass_with_waivers"}
    edit(Path("reports/gate.json"), lambda v: (v.update(change), v["rules"].append(v["rules"][0] | waived)))
    relock()
    again()
    text = (RELEASE / prov.CARD).read_text(encoding="utf-8").split("---\n")[2].strip()
    assert text.startswith("**The gate passed this adapter only with waivers")
    assert text.count("🔴") == 2  # at the start, and with the rules
    assert not any(part in text for part in ("<script", "![x]", "](http:", "**ok**"))
    verdict = read_json(RELEASE / prov.VERDICT)["predicate"]
    assert (verdict["result"], verdict["warnedTests"], verdict["failedTests"]) == ("WARNED", ["superiority.base"], [])
    found = check(RELEASE)
    assert found.passed and found.wrong == []
    relock()
    release(RELEASE, tmp_path / "out", None)
    assert (tmp_path / "out" / prov.CARD).read_text(encoding="utf-8").count("🔴") == 2


# The first would ship what the gate did not pass; the others would look as if they checked.
@pytest.mark.parametrize(("command", "option"), [("export", "--ungated"), ("merge", "--key")])
def test_an_option_that_would_be_ignored_is_an_error(command: str, option: str, tmp_path: Path) -> None:
    done = run_here(ROOT, f"hallmark.commands.{command}", str(tmp_path / "out"), option)
    assert (done.returncode, f"unrecognized arguments: {option}" in done.stderr) == (2, True)


def test_the_command_line_checks_a_folder_alone(repo: Path, tmp_path: Path) -> None:
    away = shutil.copytree(RELEASE, tmp_path / "away")

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        return run_here(ROOT, "hallmark.commands.check", str(away), *options)

    good = command()
    assert good.returncode == 3  # it may be a forgery as a whole
    assert good.stdout.startswith("unproven: ") and "everything fits" not in good.stdout
    proven = command("--clone", str(repo))
    assert (proven.returncode, proven.stdout.splitlines()[-1]) == (0, "everything fits")
    append(away / prov.CARD, "now with \x1b[31mmore\n")
    (away / "\x1b[2Jx").write_text("")
    bad = command()
    assert bad.returncode == 1
    assert "DOES NOT FIT: README.md" in bad.stdout and r"DOES NOT FIT: \x1b[2Jx" in bad.stdout
    assert "\x1b" not in bad.stdout


# --- small parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trick", ["graft", "replace"])
def test_history_that_a_clone_only_pretends_to_have_proves_nothing(trick: str, repo: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    shutil.copytree(RELEASE, release)
    good = Path("dvc.lock").read_text()
    named = check(release).release
    shell("git checkout -q --orphan fork && git commit -qm fork && git checkout -q -B main main~", repo)
    Path("dvc.lock").write_text(good.replace(named, "0" * 32 + ".dir"))
    shell("git add dvc.lock && git checkout -q --orphan new && git commit -qm new", repo)
    if trick == "graft":
        shell("mkdir -p .git/info && echo $(git rev-parse HEAD fork) > .git/info/grafts", repo)
    else:
        shell("git replace $(git rev-parse HEAD:dvc.lock) $(git rev-parse fork:dvc.lock)", repo)
    assert any("no dvc.lock in the clone's history" in line for line in check(release, clone=repo).wrong)
