"""The release: its content, and that every change to it is found. On a small pipeline with real git and real DVC."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
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
from tests.made_up import BENCHMARKED, parity
from tests.small_pipeline import ROOT, shell


@pytest.fixture
def repo(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to break, as the working directory."""
    copy = tmp_path / "repo"
    shutil.copytree(small_run, copy)
    monkeypatch.chdir(copy)
    return copy


def again() -> None:
    certify.run(load_params())


def edit(file: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file, and write it as the pipeline would."""
    value = read_json(Path(file))
    change(value)
    write_json(Path(file), value)


def wrong(clone: Path | None = None, folder: Path = RELEASE) -> str:
    return "\n".join(check(folder, clone).wrong)


def relock() -> None:
    """Make `dvc.lock` describe the current files, as after a run."""
    shell("dvc commit -q -f", Path())


# --- what a release says -----------------------------------------------------------------------------------------


def test_a_release_says_what_it_was_made_of(repo: Path) -> None:
    finding = check(RELEASE, clone=repo)
    assert finding.wrong == []
    assert finding.passed
    told = "\n".join(finding.made_of)
    for part in (
        "adapter: tickets, 3 files",
        "records: calibration 1, holdout 2, online 0, train 5, validation 2",
        f"commit {shell('git rev-parse HEAD~', repo).strip()}, without changes; 1 files",
        "rank 16",
        "gate: pass (PASSED); rules: 1 pass, 0 fail, 0 too little data, 0 not applicable",
        sha256_file(Path("data/raw/tickets.jsonl")),
        "compared with the working directory",
    ):
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
    assert "With 90 % confidence, at most 10 % of the answers that a customer gets are wrong" in card


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
    assert card.text.strip().startswith("**The gate passed this adapter.**")
    assert "| Exact match | 5.0 % (1.0 to 9.0) | 80.0 % (76.0 to 84.0) |" in card.text
    assert "| Wrong value | 0 | 3 |" in card.text
    assert "ticket 1" not in card.text


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (BENCHMARKED | {"parity": parity()}, "measured 2026-11-26 on AMD EPYC 9B45, 2 threads, AVX512"),
        ({"server": "transformers"}, "when and where is not recorded"),  # of a report made before it was
    ],
)
def test_the_card_says_when_and_on_what_its_speed_was_measured(repo: Path, measured: Any, words: str) -> None:
    level = {"latency_s": {"p50": 2.6043, "p95": 3.2637}, "output_tokens_per_second": 61.92, "requests_per_second": 1.4}
    level |= {"requests": 8, "errors": 0, "timeouts": 0}
    model = {"levels": [level], "largest_load": {"words": "4 at once"}}
    write_json(Path("reports/benchmark.json"), measured | {"models": {"tuned": model}})
    relock()
    again()
    card = (RELEASE / prov.CARD).read_text(encoding="utf-8")
    assert f"Served: latency p50 2.604 s, p95 3.264 s, output 61.92 tokens/s ({words})." in card
    shipped = "| Adapter over its base (bfloat16) | 0 of 64 | as evaluated | - | - | - | - | - |"
    assert (shipped in card) == ("## What ships" in card) == ("parity" in measured)


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
    card = bill["metadata"]["component"]["modelCard"]
    measured = {metric["type"]: metric for metric in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert measured["exact_match"]["confidenceInterval"] == {"lowerBound": "0.76", "upperBound": "0.84"}


def test_the_same_inputs_give_the_same_release(repo: Path, tmp_path: Path) -> None:
    before = sha256_folder(RELEASE)
    shutil.copytree(repo, tmp_path / "elsewhere")
    code = "from stages import certify; from hallmark.params.loader import load_params; certify.run(load_params())"
    shell(f"git checkout -q HEAD~ -- . && TZ=Asia/Tokyo PYTHONHASHSEED=3 python -c '{code}'", tmp_path / "elsewhere")
    after = sha256_folder(tmp_path / "elsewhere" / RELEASE)
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {prov.PROVENANCE, prov.VERDICT}  # another commit is checked out, and no more
    changed = prov.differences(*(read_json(at / RELEASE / prov.PROVENANCE) for at in (repo, tmp_path / "elsewhere")))
    assert changed == ["predicate.buildDefinition.resolvedDependencies"]


def test_changed_inputs_are_named(repo: Path) -> None:
    with Path("make.py").open("a") as file:
        file.write("# a change that is not committed\n")
    relock()
    again()
    assert wrong() == ""
    assert "with changes in make.py" in "\n".join(check(RELEASE).made_of)


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
        (lambda: Path("data/raw/tickets.jsonl").write_text("{}\n"), "data/raw/tickets.jsonl is not what split read"),
        (lambda: edit("reports/eval/tuned/metrics.json", lambda v: v.update(records=9)), "reports/eval is not what"),
        (lambda: _param("r: 16", "r: 8"), "param sft is not what sft ran with"),
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


def _param(old: str, new: str) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new), encoding="utf-8")


def test_what_nobody_has_filled_in_is_not_certified(repo: Path) -> None:
    before = sha256_folder(RELEASE)
    certified = load_params().certify
    filled = {"intended_use": f"It {FILL_IN}.", "limits": ["It is slow.", FILL_IN], "languages": [FILL_IN]}
    params = load_params().model_copy(update={"certify": certified.model_copy(update=filled)})
    with pytest.raises(HallmarkError) as caught:
        certify.run(params)
    assert caught.value.field == "certify.languages, certify.intended_use, certify.limits"
    assert sha256_folder(RELEASE) == before
    assert unfilled(certified) == []


@pytest.mark.parametrize("field", ["input", "target", "prediction"])
def test_private_data_in_a_prediction_is_an_error_that_does_not_show_it(repo: Path, field: str) -> None:
    file = Path("reports/eval/tuned/predictions.jsonl")
    row = json.loads(file.read_text(encoding="utf-8")) | {field: "write to Ann.Lee@corp-mail.org"}
    file.write_text(json.dumps(row) + "\n")
    relock()
    with pytest.raises(HallmarkError, match="EMAIL") as error:
        again()
    assert "row 1" in str(error.value)
    assert "corp-mail" not in str(error.value)


def test_private_data_in_the_holdout_lock_is_an_error(repo: Path) -> None:
    Path("data/holdout.lock.json").write_text('{"records": {"joe.bloggs@acme-tools.io": "0"}}')
    with pytest.raises(HallmarkError, match=r"data/holdout\.lock\.json"):
        again()


def test_private_data_in_answers_can_be_counted_instead(repo: Path) -> None:
    _param("private_data: error", "private_data: count")
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


def test_a_flipped_bit_in_any_file_is_found(repo: Path) -> None:
    for file in sorted(RELEASE.iterdir()):
        good = file.read_bytes()
        for place in {0, len(good) // 3, len(good) // 2, len(good) - 1}:
            for bit in (1, 32):  # 32 turns a letter's case, which JSON often survives
                file.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
                assert wrong() != "", f"{file.name}, byte {place}, bit {bit}"
        file.write_bytes(good)
    assert wrong() == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["predicate"].update(result="FAILED"), "contradicts the gate's report"),
        (
            lambda v: v["predicate"]["configuration"][1]["annotations"].update(verdict="fail"),
            "gate's report in verdict",
        ),
        (lambda v: v["predicate"].update(passedTests=["exact_match_gain", "latency"]), "contradicts the gate"),
        (lambda v: v["predicate"].update(url="https://example.com"), "at predicate.url: Extra inputs"),
        (lambda v: v["subject"].pop(), "contradicts the gate"),
        (lambda v: v.update(predicate=None), "at predicate: Input should be"),
        (lambda v: v["predicate"]["configuration"][1]["annotations"].update(rules=[]), "at rules: List should have"),
    ],
)
def test_an_edited_verdict_is_found(repo: Path, change: Callable[[Any], Any], message: str) -> None:
    edit(str(RELEASE / prov.VERDICT), change)
    assert message in wrong()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["buildDefinition"]["externalParameters"]["params"]["sft"]["lora"].update(r=8),
        lambda p: p["buildDefinition"]["resolvedDependencies"].pop(),
        lambda p: p["runDetails"]["byproducts"].pop(),
    ],
)
def test_an_edited_provenance_is_found(repo: Path, change: Callable[[Any], Any]) -> None:
    edit(str(RELEASE / prov.PROVENANCE), lambda value: change(value["predicate"]))
    assert "provenance.json does not belong to verdict.json" in wrong()


def _forge(change: Callable[[Any], Any]) -> None:
    """Change the provenance and make the verdict fit it again, as a careful forger would."""
    edit(str(RELEASE / prov.PROVENANCE), lambda value: change(value["predicate"]["buildDefinition"]))
    digest = sha256_file(RELEASE / prov.PROVENANCE)
    edit(
        str(RELEASE / prov.VERDICT),
        lambda value: value["predicate"]["configuration"][0]["digest"].update(sha256=digest),
    )


def test_what_is_forged_all_through_is_found_against_a_clone(repo: Path) -> None:
    _forge(lambda build: build["externalParameters"]["params"]["sft"]["lora"].update(r=8))
    assert wrong() == ""
    found = wrong(clone=repo)
    assert "no dvc.lock in the clone's history has this release" in found
    assert "param sft.lora.r is not the same in the clone" in found


def test_swapped_data_is_found_against_a_clone(repo: Path) -> None:
    Path("data/raw/tickets.jsonl").write_text('{"id": "1", "text": "other"}\n')
    assert wrong(clone=repo) == "data/raw/tickets.jsonl is not the same in the clone (raw data)"


def test_code_that_is_not_in_a_clone_is_found(repo: Path) -> None:
    Path("make.py").unlink()
    assert wrong(clone=repo) == "make.py is missing in the clone (code)"


def test_an_edited_lock_is_found_against_a_clone(repo: Path) -> None:
    text = Path("dvc.lock").read_text(encoding="utf-8")
    trained = prov.read_lock(text)["sft"]["outs"]["models/adapter"]
    Path("dvc.lock").write_text(text.replace(trained, "0" * 32 + ".dir"), encoding="utf-8")
    assert "dvc.lock of the clone differs at sft.outs.models/adapter" in wrong(clone=repo)


def test_an_older_release_is_found_in_the_history_of_a_bare_clone(repo: Path, tmp_path: Path) -> None:
    commit = shell("git rev-parse HEAD", repo).strip()
    old = shutil.copytree(RELEASE, tmp_path / "old")
    _param("r: 16", "r: 8")
    shell(f"dvc repro -q && git add -A && git commit -qm next && git clone -q . '{tmp_path}/clone'", repo)
    assert wrong(clone=tmp_path / "clone") == ""
    finding = check(old, clone=tmp_path / "clone")
    assert finding.wrong == []
    assert f"compared with commit {commit}" in "\n".join(finding.made_of)
    assert "are missing" in "\n".join(finding.made_of)  # DVC's outputs are not in git


def test_a_release_of_before_the_code_moved_still_checks(repo: Path, tmp_path: Path) -> None:
    def repro(pipeline: str) -> None:
        Path("dvc.yaml").write_text(pipeline, encoding="utf-8")
        shell("dvc repro -q && git add -A && git commit -qm next", repo)

    before, after = Path("stages/common/loss.py"), Path("hallmark/model/loss.py")
    before.parent.mkdir()
    before.write_text("LOSS = 1\n", encoding="utf-8")
    pipeline = Path("dvc.yaml").read_text(encoding="utf-8")
    for first in (
        "make.py, models/quantized, data",
        "models/adapter, reports/gate",
    ):  # of what sft and certify depend on
        assert f"deps: [{first}" in pipeline
        pipeline = pipeline.replace(f"deps: [{first}", f"deps: [{before}, {first}")
    repro(pipeline)
    old = shutil.copytree(RELEASE, tmp_path / "old")
    before.rename(after)
    repro(pipeline.replace(str(before), str(after)))
    assert sha256_folder(old) != sha256_folder(RELEASE)
    finding = check(old, clone=repo)
    assert finding.wrong == []
    assert f"compared with commit {shell('git rev-parse HEAD~', repo).strip()}" in "\n".join(finding.made_of)
    dependencies = read_json(old / prov.PROVENANCE)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {entry["name"] for entry in dependencies if entry["annotations"]["role"] == "code"} == {
        str(before),
        "make.py",
    }


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
    assert {key for stage in build["internalParameters"]["stages"].values() for key in stage} == {
        "cmd",
        "deps",
        "params",
        "outs",
    }
    tests = {f"{outcome}Tests" for outcome in ("passed", "warned", "failed")}
    assert verdict["predicate"].keys() == {"result", "configuration", *tests}
    assert [entry["name"] for entry in verdict["predicate"]["configuration"]] == [
        "provenance.json",
        "reports/gate.json",
    ]
    assert {entry["annotations"]["role"] for entry in details["byproducts"]} == {"release file", "report"}


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("data/raw/tickets.jsonl", "raw data"),
        ("data/schema.json", "output schema"),
        ("stages/common/files.py", "code"),
        ("hallmark/base/files.py", "code"),
        ("hallmark/page/report.css", "other input"),
        ("models/base/config.json", "base weights"),
        ("models/quantized/config.json", "quantized weights"),
        ("data/holdout.lock.json", "holdout lock"),
        ("data/split/train.parquet", "split"),
        ("data/gold/spans.jsonl", "gold labels"),
        ("data/masked.parquet", "data"),
        ("requirements.lock", "library lock"),
    ],
)
def test_the_role_of_a_file_has_the_name_that_releases_have(path: str, role: str) -> None:
    assert prov.role_of(path, "data/raw/tickets.jsonl", "data/schema.json") == role


def test_names_in_a_hostile_release_do_not_lead_out_of_the_clone(repo: Path) -> None:
    secret = {"name": "../outside", "digest": {"sha256": "0" * 64}, "annotations": {"role": "code"}}
    _forge(lambda build: build["resolvedDependencies"].append(secret))
    (repo.parent / "outside").write_text("x")
    assert "../outside is missing in the clone (code)" in wrong(clone=repo)


# --- a failed gate, the command line, release and signature ------------------------------------------------------


def test_a_rule_that_does_not_apply_was_no_test() -> None:
    outcomes = ("pass", "fail", "too_little_data", "not_applicable")
    gate = {"verdict": "fail", "rules": [{"name": f"rule.{outcome}", "outcome": outcome} for outcome in outcomes]}
    found = prov.verdict({}, "0" * 64, gate)["predicate"]
    tests = {key: value for key, value in found.items() if key.endswith("Tests")}
    assert tests == {
        "passedTests": ["rule.pass"],
        "warnedTests": ["rule.too_little_data"],
        "failedTests": ["rule.fail"],
    }
    assert found["configuration"][1]["annotations"] == gate


def test_a_release_whose_verdict_has_the_older_form_still_checks(repo: Path) -> None:
    """Until November 2026 a rule that did not apply was among the warnings."""
    edit("reports/gate.json", lambda gate: gate["rules"].append(gate["rules"][0] | {"outcome": "not_applicable"}))
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
    edit("reports/gate.json", lambda v: (v.update(verdict="fail"), v["rules"][0].update(outcome="fail")))
    relock()
    again()
    text = (RELEASE / prov.CARD).read_text(encoding="utf-8").split("---\n")[2].strip()
    assert text.startswith("**The gate did not pass this adapter (verdict: fail). Do not release it.**")
    verdict = read_json(RELEASE / prov.VERDICT)["predicate"]
    assert (verdict["result"], verdict["failedTests"]) == ("FAILED", ["exact_match_gain"])
    assert wrong() == ""
    relock()
    with pytest.raises(HallmarkError, match="the gate did not pass"):
        release(RELEASE, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()
    with pytest.raises(HallmarkError, match=r"the gate did not pass[\s\S]*add --ungated"):
        merge(RELEASE, Path("models/base"), tmp_path / "merged")


def test_a_waived_rule_is_said_first_in_red_and_ships(repo: Path, tmp_path: Path) -> None:
    """The reason is shown as it stands: it can't bring its own HTML, Markdown or lines."""
    reason = "![x](http://x.test) <script>alert(1)</script> | **ok** `a`"
    params = Path("params.yaml").read_text(encoding="utf-8")
    asked = params.replace("waive: {}", f"waive: {json.dumps({'superiority.base': reason})}")
    Path("params.yaml").write_text(asked, encoding="utf-8")
    waived = {"name": "superiority.base", "outcome": "fail", "waiver": reason}
    change = {"verdict": "pass_with_waivers"}
    edit("reports/gate.json", lambda v: (v.update(change), v["rules"].append(v["rules"][0] | waived)))
    relock()
    again()
    text = (RELEASE / prov.CARD).read_text(encoding="utf-8").split("---\n")[2].strip()
    assert text.startswith(
        "**The gate passed this adapter only with waivers (verdict: pass with waivers).**\n\n- <span"
    )
    assert '<span style="color: #c00">🔴 Exact match&#58; fail, waived because&#58; ' in text
    assert text.count("🔴") == 2  # at the start, and with the rules
    assert not any(part in text for part in ("<script", "![x]", "x.test)", "**ok**", "`a`"))
    verdict = read_json(RELEASE / prov.VERDICT)["predicate"]
    assert (verdict["result"], verdict["warnedTests"], verdict["failedTests"]) == ("WARNED", ["superiority.base"], [])
    found = check(RELEASE)
    assert found.passed and found.wrong == []
    assert f"waived: superiority.base (fail): {reason}" in found.lines
    relock()
    release(RELEASE, tmp_path / "out", None)
    assert (tmp_path / "out" / prov.CARD).read_text(encoding="utf-8").count("🔴") == 2


# The first would ship what the gate did not pass; the others would look as if they checked.
@pytest.mark.parametrize(
    ("command", "option"),
    [("export", "--ungated"), ("merge", "--key"), ("merge", "--clone"), ("merge", "--sign")],
)
def test_an_option_that_would_be_ignored_is_an_error(command: str, option: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", f"hallmark.commands.{command}", str(tmp_path / "out"), option]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, f"unrecognized arguments: {option}" in done.stderr) == (2, True)


def test_the_command_line_checks_a_folder_alone(repo: Path, tmp_path: Path) -> None:
    away = shutil.copytree(RELEASE, tmp_path / "away")

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "hallmark.commands.check", str(away), *options]
        return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)

    good = command()
    assert good.returncode == 3  # it may be a forgery as a whole
    assert good.stdout.startswith("unproven: neither --key nor --clone was given")
    assert "everything fits" not in good.stdout
    proven = command("--clone", str(repo))
    assert (proven.returncode, proven.stdout.splitlines()[-1]) == (0, "everything fits")
    assert proven.stdout.startswith("proven by the clone's dvc.lock (the working directory)")
    with (away / prov.CARD).open("a") as card:
        card.write("now with \x1b[31mmore\n")
    (away / "\x1b[2Jx").write_text("")
    bad = command()
    assert bad.returncode == 1
    assert bad.stdout.startswith("damaged, changed or forged: 2 things do not fit")
    assert "DOES NOT FIT: README.md" in bad.stdout
    assert r"DOES NOT FIT: \x1b[2Jx has a name that can't be shown" in bad.stdout
    assert "\x1b" not in bad.stdout
    shutil.rmtree(away)
    assert "remedy" in command().stderr


def test_a_signed_release_holds_for_its_key_only(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="extra sign")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for name in ("ours", "theirs"):
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (tmp_path / f"{name}.pem").write_bytes(private)
        (tmp_path / f"{name}.pub").write_bytes(public)
    out = tmp_path / "out"
    release(RELEASE, out, tmp_path / "ours.pem")
    assert not (RELEASE / prov.SIGNATURE).exists()
    out = out.rename(tmp_path / "renamed")
    (out / ".gitattributes").write_text("added by a hub")
    signed = check(out, repo, tmp_path / "ours.pub")
    assert signed.wrong == []
    assert "signature: valid for ours.pub" in signed.made_of
    assert "not checked" in "\n".join(check(out).made_of)
    assert "is not valid for theirs.pub" in "\n".join(check(out, None, tmp_path / "theirs.pub").wrong)
    assert "no model.sig" in "\n".join(check(RELEASE, None, tmp_path / "ours.pub").wrong)
    with (out / "adapter_config.json").open("a") as file:
        file.write(" ")
    changed = check(out, None, tmp_path / "ours.pub").wrong
    assert any("signature" in line and "adapter_config.json" in line for line in changed)


# --- small parts -------------------------------------------------------------------------------------------------


def test_dvc_hashes_are_those_of_dvc(repo: Path) -> None:
    lock = prov.read_lock(Path("dvc.lock").read_text(encoding="utf-8"))
    for stage in lock.values():
        for path, md5 in {**stage["deps"], **stage["outs"]}.items():
            assert prov.dvc_md5(Path(path)) == md5


def test_upstream_leaves_out_what_did_not_go_in() -> None:
    def stage(deps: list[str], outs: list[str]) -> dict[str, Any]:
        return {"cmd": "", "deps": dict.fromkeys(deps, ""), "params": {}, "outs": dict.fromkeys(outs, "")}

    stages = {
        "a": stage(["raw"], ["data"]),
        "b": stage(["data/part", "code.py"], ["model"]),
        "gone": stage(["raw"], ["old"]),
        "after": stage(["model"], ["release"]),
    }
    assert list(prov.upstream(stages, ["model"])) == ["a", "b"]
    assert prov.sources(prov.upstream(stages, ["model"])) == ["code.py", "raw"]


def test_differences_name_the_place() -> None:
    assert prov.differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3, "d": None}}) == ["a.c", "a.d"]
    assert prov.differences({"a": True}, {"a": 1}) == ["a"]


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


def test_a_clone_whose_git_never_answers_is_an_error(
    repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import os

    from hallmark.release import clone

    monkeypatch.setattr(clone, "SECONDS", 0.2)
    release = tmp_path / "release"
    shutil.copytree(RELEASE, release)
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace(check(release).release, "0" * 32 + ".dir"))
    os.mkfifo("fifo")
    with Path(".git/config").open("a") as file:
        file.write("[include]\n\tpath = ../fifo\n")
    with pytest.raises(HallmarkError, match="git did not read its history"):
        check(release, clone=repo)
