"""Choosing a base: what is known of each before it runs, the limits, the experiments, and the table."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED, HOLDOUT, TRAIN, VALIDATION, write_json
from hallmark.base.records import schema
from hallmark.commands import candidates, choice, experiments
from hallmark.commands import choose as tool
from hallmark.commands.candidates import Exclusion, Facts, Memory
from hallmark.commands.choice import Choice, Measured, Row, Run
from hallmark.model.base_params import HubBase
from hallmark.params.loader import Params, load_params, merged, resolved
from stages import compare, gate
from tests.made_up import outcomes, without_comparators, write_models, write_other_reports
from tests.rows import record, refused, shipped, write_masked
from tests.tiny import tiny_files
from tests.workspace import NO_COMPARATORS, ROOT, append, change_params, git_init, run, run_here, spell_out

# One stage plays the pipeline: what it reports is made up, with the verdict that goes with the base.
MAKE = """
import json
from pathlib import Path
from ruamel.yaml import YAML

params = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
name, rate = params["base"]["name"], params["sft"]["learning_rate"]
if rate > 1:
    raise SystemExit("sft: error: the loss is not a number\\n  remedy: lower sft.learning_rate")
Path("ran.txt").write_text(name)
for file in Path("made").rglob("*.json"):
    content = json.loads(file.read_text())
    if file.name == "gate.json":
        content["verdict"] = "pass" if name == "large" else "fail"
        for rule in content["rules"]:
            rule["outcome"] = content["verdict"]
    target = Path("reports") / file.relative_to("made")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))
"""
REPORTS = ("gate.json", "comparison.json", "benchmark.json", *(f"measured/{name}.json" for name in choice.TIMED))
PIPELINE = f"""
stages:
  gate: {{cmd: python make.py, params: [base, sft], deps: [make.py, made, data/raw],
    outs: [{", ".join(f"reports/{name}: {{cache: false, persist: true}}" for name in REPORTS)}]}}
"""
SIZES = {"small": 2, "narrow": 3, "large": 4}  # layers


def base_of(name: str, **changes: Any) -> dict[str, Any]:
    block = {"source": "folder", "name": name, "licence": "mit", "path": f"bases/{name}", "chat_template_kwargs": {}}
    return {"base": block | changes.pop("base", {}), "set": changes}


def write_base(folder: Path, layers: int, **config: Any) -> None:
    """Config and tokenizer of the tiny model, with other layers; choosing reads no weights."""
    folder.mkdir(parents=True)
    for name, content in tiny_files(0).items():
        if name == "config.json":
            content = json.dumps(json.loads(content) | {"num_hidden_layers": layers} | config).encode()
        if not name.endswith(".safetensors"):
            (folder / name).write_bytes(content)


def write_reports(scratch: Path, made: Path) -> None:
    """What the stages report of made-up answers, into the folder `made`."""
    params = without_comparators(shipped())
    write_other_reports(scratch)
    write_models(scratch, outcomes(1, 200, wrong_format=0.5, wrong_value=0.4), outcomes(2, 200, wrong_value=0.3))
    for name in choice.TIMED:
        write_json(scratch / f"reports/measured/{name}.json", {"seconds": 60.0})
    with contextlib.chdir(scratch):
        compare.run(params)
        gate.run(params)
    for name in REPORTS:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scratch / "reports" / name, made / name)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three bases; the data and the bases are not in git. `narrow` reads too few tokens."""
    root = tmp_path_factory.mktemp("repo")
    write_reports(tmp_path_factory.mktemp("made-up"), root / "made")
    (root / "make.py").write_text(MAKE, encoding="utf-8")
    (root / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    shutil.copyfile(ROOT / ".gitignore", root / ".gitignore")
    append(root / ".gitignore", "/bases/\n/ran.txt\n")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    spell_out(root)
    for name, layers in SIZES.items():
        write_base(root / "bases" / name, layers, **({"max_position_embeddings": 16} if name == "narrow" else {}))
    # On a GPU that isn't there: memory is estimated, and no speed is measured.
    here = {"task.schema": "made/gate.json", "compute.device": "cuda"}
    change_params(
        root, here | NO_COMPARATORS | {"choose.bases": [base_of(name) for name in SIZES], "sft.lora.layers": None}
    )
    git_init(root)
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw/mine.jsonl").write_text("{}\n", encoding="utf-8")
    rows = [record(str(number), "my kettle is broken " * (1 + number % 3)) for number in range(6)]
    for file, part in ((DEDUPED, rows), (TRAIN, rows[:4]), (VALIDATION, rows[4:5]), (HOLDOUT, rows[5:])):
        write_masked(part, root / file)
    return root


@pytest.fixture
def here(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repo)
    return repo


@pytest.mark.full
def test_bases_are_run_smallest_first_until_one_passes(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With real `dvc exp run`: one base breaks a limit, one the gate, the third passes; then nothing is run twice."""
    done = run_here(here, "hallmark.commands.choose", "--price-per-hour", "1")
    assert done.returncode == 0, done.stderr
    text = (here / "reports/choose.json").read_text(encoding="utf-8")
    report = json.loads(text)
    assert [(base["facts"]["name"], base["verdict"], base["passes"]) for base in report["bases"]] == [
        ("small", "Fail", False),
        ("narrow", "Excluded: context", False),
        ("large", "Pass", True),
    ]
    assert (report["chosen"], str(here) in text) == ("large", False)
    large = report["bases"][2]
    found, name = large["run"], large["run"]["experiment"]
    assert large["facts"]["memory"]["training"] > report["bases"][0]["facts"]["memory"]["training"] > 0
    assert found["measure"]["words"] == "Exact match"
    assert 0 < found["measure"]["low"] < found["measure"]["value"] <= found["measure"]["high"]
    assert large["price_per_1000_right"] == pytest.approx(1 / 3.6 / found["requests_per_second"] / found["right"])
    assert (here / "reports/choose.md").read_text(encoding="utf-8").partition("\n\n")[2] in done.stdout
    assert f"next: `dvc exp apply {name}`" in done.stdout
    # The working directory stays as it is; the experiment has all that was changed.
    assert not (here / "ran.txt").exists()
    assert run(here, "git", "status", "--porcelain").stdout.split() == ["??", "reports/"]
    assert b"name: large" in (prov.git("show", f"{found['commit']}:params.yaml") or b"")

    caplog.set_level("INFO")
    tried = tool.choose(load_params(), resolved())
    assert tried.chosen is not None and tried.chosen.run is not None and tried.chosen.run.experiment == name
    assert f"{name}: it is there already" in caplog.text and ": running" not in caplog.text
    # A failed run is a row with its reason.
    change_params(here, {"choose.bases": [base_of("small", **{"sft.learning_rate": 2.0})]})
    failed = run_here(here, "hallmark.commands.choose")
    run(here, "git", "checkout", "--quiet", "params.yaml")
    assert failed.returncode == 1 and "no base passes the gate within the limits" in failed.stderr
    (row,) = json.loads((here / "reports/choose.json").read_text(encoding="utf-8"))["bases"]
    assert (row["verdict"], row["why"]) == (
        "Run failed",
        "sft: error: the loss is not a number: lower sft.learning_rate",
    )


def test_an_experiment_counts_only_for_the_same_data_code_and_params(here: Path) -> None:
    raw, stages = resolved(), experiments.stages_to("gate")
    key = experiments.key_of(stages, raw)
    for file in (here / "data/raw/mine.jsonl", here / "make.py", here / "made/benchmark.json"):
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        assert experiments.key_of(stages, raw) != key, file
        file.write_bytes(before)
    assert experiments.key_of(stages, experiments.with_values(raw, {"sft.learning_rate": 0.5})) != key
    assert experiments.key_of({"gate": stages["gate"] | {"cmd": "python x.py"}}, raw) != key
    assert experiments.key_of(stages, raw | {"gate": {}}) == key, "which the pipeline here does not read"
    added = here / "mine.dvc"
    added.write_text(f"outs: [{{md5: {'a' * 32}, path: data/raw/mine.jsonl}}]\n", encoding="utf-8")
    with_data = experiments.key_of(experiments.stages_to("gate"), raw)
    added.unlink()
    assert with_data == key, "of data in DVC, the content counts"
    with refused(file="reports/gate.json"):
        experiments.report_in("HEAD", "gate", dict)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base that can be used, in the folder `base`, and an empty one, `scratch`."""
    write_base(tmp_path / "base", 2)
    (tmp_path / "scratch").mkdir()
    return tmp_path


def looked_at(folder: Path, base: dict[str, Any] | None = None, **changes: Any) -> tuple[Facts, Exclusion | None]:
    """What is found of the base, on a GPU that isn't there."""
    block = base or {"source": "folder", "path": str(folder / "base")} | SHARED
    values = shipped().model_dump(mode="json", by_alias=True)
    values["base"], values["compute"]["device"], values["sft"]["lora"]["layers"] = block, "cuda", None
    values["choose"] |= changes
    records = pl.DataFrame([record("1", "my kettle is broken"), record("2", "x " * 40)], schema=schema())
    return candidates.examine(Params.model_validate(values), records, folder / "scratch")


SHARED = {"name": "org/model", "licence": "mit", "chat_template_kwargs": {}}


def test_the_licence_comes_before_any_file(folder: Path) -> None:
    facts, excluded = looked_at(folder, licences=["apache-2.0"])
    assert excluded == Exclusion("licence", "mit; choose.licences allows apache-2.0")
    assert facts.chat_template is None and not any((folder / "scratch").iterdir())


@pytest.mark.parametrize(
    ("spoil", "constraint", "words"),
    [
        (lambda base: shutil.rmtree(base), "files", "no such folder"),
        (lambda base: (base / "config.json").unlink(), "files", "no config.json"),
        (lambda base: linked(base / "tokenizer.json"), "files", "is a link"),
        (lambda base: (base / "chat_template.jinja").write_text("{{ 1"), "chat template", "template"),
        (lambda base: edited(base, num_hidden_layers=10**6), "architecture", "1000000 layers"),
        (lambda base: edited(base, max_position_embeddings=16), "context", "the base reads 16"),
    ],
)
def test_what_a_base_lacks_excludes_it_and_ends_nothing(folder: Path, spoil: Any, constraint: str, words: str) -> None:
    spoil(folder / "base")
    _, excluded = looked_at(folder)
    assert excluded is not None and excluded.constraint == constraint and words in excluded.reason


def linked(file: Path) -> None:
    file.rename(file.with_name("away"))
    file.symlink_to(file.with_name("away"))


def edited(base: Path, **values: Any) -> None:
    file = base / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_memory_is_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in zip("012", (TRAIN, VALIDATION, HOLDOUT), strict=True):
        write_masked([record(name, "my kettle is broken")], folder / file)
    monkeypatch.chdir(folder)
    facts, excluded = looked_at(folder, memory_gib=0.001)
    assert facts.memory is not None and facts.memory.limit == 1_073_741
    assert excluded is not None and excluded.constraint == "memory"
    assert "of 0.0 GiB" in excluded.reason
    assert str(folder / "scratch") not in facts.memory.basis


def test_a_model_of_the_hub_is_read_from_its_cache_or_excluded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the small files are taken, and a link only within the cache."""
    block = {"source": "hub", "revision": "a" * 40} | SHARED
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "cache"))
    _, excluded = looked_at(folder, block)
    assert excluded is not None and excluded.constraint == "files" and "hf auth login" in excluded.reason
    snapshot = folder / "cache/models--org--model/snapshots" / ("a" * 40)
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(folder / "base", snapshot)
    (snapshot / "model.safetensors").write_bytes(b"")
    candidates.small_files(HubBase.model_validate(block), folder / "scratch")
    taken = {file.name for file in (folder / "scratch").iterdir()}
    assert "tokenizer.json" in taken and "model.safetensors" not in taken
    (snapshot / "vocab.txt").symlink_to("/etc/hostname")
    with pytest.raises(HallmarkError, match=r"vocab\.txt is a link"):
        candidates.small_files(HubBase.model_validate(block), folder / "scratch")


TEXTS = ["it's", 'a "quoted" \\" one\\', "[a, {b: c}]", "++x=1", "a\\nb", "choice(1,2)", "1e5", "null", " x ", "日本"]


def test_what_dvc_sets_is_what_is_wanted_or_an_error(tmp_path: Path) -> None:
    """Through DVC's own reading of `-S`: other keys of the base, other kinds of server, texts that look like its grammar."""
    from dvc.utils.hydra import apply_overrides

    file = tmp_path / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", file)
    raw = resolved(file)
    variables = {f"v{number}": text for number, text in enumerate(TEXTS)} | {"on": True, "low": 1e-05}
    changes = {
        "base": {"source": "hub", "revision": "a" * 40} | SHARED | {"chat_template_kwargs": variables},
        "sft.learning_rate": 2e-4,
        "sft.lora.layers": None,
        "sft.lora.target_modules": ["q_proj", "k"],
        "benchmark.server": {"kind": "endpoint", "url": "http://a/v1", "names": {"base": "b", "tuned": "t"}},
    }
    wanted = merged(experiments.with_values(raw, changes))
    apply_overrides(file, experiments.overrides(raw, wanted, file))
    assert resolved(file) == wanted
    assert experiments.overrides(wanted, wanted, file) == []
    with pytest.raises(HallmarkError, match="on one line"):  # DVC's bug: a block over several lines can't become {}
        experiments.overrides(wanted, raw, file)
    for name, value in (
        ("base.name", "${oc.env:HOME}"),
        ("mask.deny", [{"a": 1}]),
        ("base.chat_template_kwargs", {"a.b": 1}),
    ):
        with pytest.raises(HallmarkError, match=f"DVC can't set {name}"):
            experiments.overrides(wanted, experiments.with_values(wanted, {name: value}), file)


def problem_of(tmp_path: Path, *entries: dict[str, Any], **limits: Any) -> HallmarkError:
    """The error with which choosing stops before it looks at a base."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    changes = {"choose.bases": list(entries), "benchmark.price_per_hour": None}
    change_params(tmp_path, changes | {f"choose.{name}": value for name, value in limits.items()})
    with pytest.raises(HallmarkError) as caught:
        tool.choose(load_params(tmp_path / "params.yaml"), resolved(tmp_path / "params.yaml"))
    return caught.value


@pytest.mark.parametrize(
    ("entries", "field"),
    [
        ([base_of("a", **{"gate.min_records": 1})], "choose.bases.0.set"),
        ([base_of("a", base={"source": "zip"})], "choose.bases.base.source"),
        ([base_of("a", **{"sft.batch_size": 0})], "choose.bases.0.set"),
        ([base_of("a"), base_of("b", **{"sft.rank": 8})], "choose.bases.1.set"),
        ([base_of("a"), base_of("a")], "choose.bases"),
    ],
)
def test_a_list_that_nothing_can_be_chosen_from_is_an_error(tmp_path: Path, entries: list[Any], field: str) -> None:
    assert str(problem_of(tmp_path, *entries).field).startswith(field)


def test_a_limit_on_the_price_needs_one_and_an_empty_list_is_an_error(tmp_path: Path) -> None:
    assert problem_of(tmp_path, base_of("a"), price_per_1000_right=1.0).field == "choose.price_per_1000_right"
    assert problem_of(tmp_path).field == "choose.bases"


def made_up(price_per_hour: float | None = 3.6, **limits: Any) -> Choice:
    """Bases in every state that there is; names and reasons are hostile."""
    bounds = shipped().choose.model_copy(update={"latency_p95_s": None, "price_per_1000_right": None} | limits)
    memory = Memory(3 * 2**30, 2**30, 2**30, 8 * 2**30, "counted")
    measure = Measured("Exact match", 0.664, 0.547, 0.759)
    good = Run("choose-good", "f" * 40, 21.7, measure, 0.5, 5.75, 2.0, "pass", "It says so.", "measured")
    rows = [
        Row(Facts("org/tiny", "hub", "mit", True, 8192, 135_000_000, 1.0, [], 231.4, 700, memory, 3.0)),
        Row(Facts("org/\u202e<script>", "hub", "gemma"), Exclusion("licence", "gemma\x1b[31m; <b>no|</b>")),
        Row(Facts("org/broken", "hub", "mit"), error="sft: error: the loss is not a number"),
        Row(Facts("org/good", "hub", "mit", parameters=3_200_000_000, notes=["a note"])),
        Row(Facts("org/huge", "hub", "mit", memory=memory, planned_minutes=300.0)),
    ]
    rows[0].measured(dataclasses.replace(good, verdict="fail"), bounds, price_per_hour)
    rows[3].measured(good, bounds, price_per_hour)
    return Choice(rows, bounds, price_per_hour, False, False, 6, [])


def test_the_table_says_what_became_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = made_up()
    text = "\n".join(choice.write(found))
    assert found.chosen is found.rows[3] and found.headline in text
    assert [row.verdict for row in found.rows] == ["Fail", "Excluded: licence", "Run failed", "Pass", "Not run"]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if line.startswith("| org/")]
    assert cells[0][1:8] == ["135", "231", "3.0", "21.7", "66.4 [54.7, 75.9]", "5.75", "1"]
    assert cells[4][3:6] == ["3.0", "~300.0", "-"]
    assert "| org/\\u202e<script>" in text and "<b>no|</b>" in text and "\x1b" not in text
    written = Path("reports/choose.md").read_text(encoding="utf-8")
    assert "| org/\\u202e&lt;script>" in written and "&lt;b>no\\|&lt;/b>" in written and "<" not in written
    assert "- org/broken: sft: error: the loss is not a number\n- org/good: a note" in text


def test_limits_hold_after_the_gate_too() -> None:
    slow = made_up(latency_p95_s=5.0)
    assert (slow.chosen, slow.headline) == (None, "No base passes.")
    assert slow.rows[3].verdict == "Pass, but latency"
    assert made_up(price_per_1000_right=0.99).rows[3].verdict == "Pass, but price"
    assert made_up(price_per_1000_right=1.0, latency_p95_s=5.75).chosen is not None
    assert made_up(price_per_1000_right=1.0, price_per_hour=None).chosen is None, (
        "what was not measured is within no limit"
    )
    assert slow.rows[3].run is not None and dataclasses.replace(slow.rows[3].run, right=0.0).price(1.0) is None
