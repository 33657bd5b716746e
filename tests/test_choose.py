"""Choosing a base: what is known of each before it runs, the limits, the experiments, and the table, report and page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED, HOLDOUT, TRAIN, VALIDATION, write_json
from hallmark.base.records import schema, write_records
from hallmark.commands import candidates, committed, experiments
from hallmark.commands import choice as shown
from hallmark.commands import choose as tool
from hallmark.commands.candidates import Exclusion, Facts, Memory
from hallmark.commands.choice import Choice, Limits, Row
from hallmark.commands.experiments import Measured, Run
from hallmark.judge.comparison import Comparison
from hallmark.model.base_params import Candidate, Choose, HubBase
from hallmark.params.loader import Params, load_params, resolved
from stages import compare, gate
from tests.made_up import outcomes, without_comparators, write_models, write_other_reports
from tests.rows import record, shipped
from tests.tiny import tiny_files
from tests.workspace import NO_COMPARATORS, ROOT, change_params, git_init, run, run_here, spell_out

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
    target = Path("reports") / file.relative_to("made")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))
"""
REPORTS = ("gate.json", "comparison.json", "benchmark.json", *(f"measured/{name}.json" for name in experiments.TIMED))
PIPELINE = f"""
stages:
  gate: {{cmd: python make.py, params: [base, sft, data.path], deps: [make.py, made, "${{data.path}}"],
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
    for name in experiments.TIMED:
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
    with (root / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("/bases/\n/ran.txt\n")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    spell_out(root)
    for name, layers in SIZES.items():
        write_base(root / "bases" / name, layers, **({"max_position_embeddings": 16} if name == "narrow" else {}))
    # On a GPU that isn't there: memory is estimated, and no speed is measured.
    here = {"data.path": "data/raw/mine.jsonl", "task.schema": "made/gate.json", "compute.device": "cuda"}
    change_params(
        root, here | NO_COMPARATORS | {"choose.bases": [base_of(name) for name in SIZES], "sft.lora.layers": None}
    )
    git_init(root)
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw/mine.jsonl").write_text("{}\n", encoding="utf-8")
    rows = [record(str(number), "my kettle is broken " * (1 + number % 3)) for number in range(6)]
    records = pl.DataFrame(rows, schema=schema())
    for file, part in ((DEDUPED, records), (TRAIN, records[:4]), (VALIDATION, records[4:5]), (HOLDOUT, records[5:])):
        write_records(root / file, part)
    return root


@pytest.fixture
def here(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repo)
    return repo


def given(number: int) -> tuple[Candidate, Params, dict[str, Any], dict[str, Any]]:
    """A base of params.yaml as it is now, its params checked and as they are in the file, and the file."""
    raw = resolved()
    return *tool.candidates(load_params(), raw)[number], raw


def tried_again(number: int) -> Row:
    """What becomes of a base when it is its turn, without looking at its files again."""
    candidate, own, wanted, raw = given(number)
    row = Row(Facts(candidate.base.name, "folder", "mit"))
    tool.tried(row, candidate, own, raw, wanted, NO_LIMITS)
    return row


def test_bases_are_run_smallest_first_until_one_passes(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With real `dvc exp run`: one base breaks a limit, one the gate, the third passes; then nothing is run twice."""
    done = run_here(here, "hallmark.commands.choose", "--price-per-hour", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads((here / "reports/choose.json").read_text(encoding="utf-8"))
    assert [(base["facts"]["name"], base["verdict"], base["passes"]) for base in report["bases"]] == [
        ("small", "Fail", False),
        ("narrow", "Excluded: context", False),
        ("large", "Pass", True),
    ]
    assert report["chosen"] == "large"
    large = report["bases"][2]
    assert large["facts"]["memory"]["training"] > report["bases"][0]["facts"]["memory"]["training"] > 0
    assert large["run"]["measure"]["words"] == "Exact match"
    assert 0 < large["run"]["measure"]["low"] < large["run"]["measure"]["value"] <= large["run"]["measure"]["high"]
    assert large["price_per_1000_right"] == pytest.approx(
        1 / 3.6 / large["run"]["requests_per_second"] / large["run"]["right"]
    )
    assert "narrow reads" not in done.stdout and "the longest record has 79 tokens, it reads 16" in done.stdout
    assert str(here) not in (here / "reports/choose.json").read_text(encoding="utf-8")
    # The working directory stays as it is; the experiment has all that was changed.
    assert not (here / "ran.txt").exists()
    assert run(here, "git", "status", "--porcelain").stdout.split() == ["??", "reports/"]
    name = large["run"]["experiment"]
    assert f"next: `dvc exp apply {name}`" in done.stdout
    params = prov.git("show", f"{large['run']['commit']}:params.yaml")
    assert params is not None and b"name: large" in params

    caplog.set_level("INFO")
    again = tried_again(2)
    assert again.run is not None and again.run.experiment == name
    assert f"large: experiment {name} has it already" in caplog.text
    assert "running as experiment" not in caplog.text
    # A failed run is a row with its reason.
    change_params(here, {"choose.bases": [base_of("small", **{"sft.learning_rate": 2.0})]})
    failed = tried_again(0)
    assert failed.verdict == "Run failed"
    assert failed.why == "sft: error: the loss is not a number: lower sft.learning_rate"


def test_an_experiment_counts_only_for_the_same_data_code_and_params(here: Path) -> None:
    """After the test above, which leaves two experiments."""
    run(here, "git", "checkout", "--quiet", "params.yaml")
    candidate, _, wanted, _ = given(0)
    name = experiments.name_of(candidate)
    if experiments.find(name, wanted) is None:
        pytest.skip("the test that runs it was not chosen")
    for file in (here / "data/raw/mine.jsonl", here / "make.py", here / "made/benchmark.json"):
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        assert experiments.find(name, wanted) is None, file
        file.write_bytes(before)
    assert experiments.find(name, wanted | {"sft": wanted["sft"] | {"learning_rate": 0.5}}) is None
    assert experiments.find(name, wanted | {"gate": {}}) is not None, "which the pipeline here does not read"
    assert experiments.find(name[:-1], wanted) is None
    _, commit = experiments.find(name, wanted) or ("", "")
    stages = experiments.stages_to()
    assert experiments.is_current(commit, wanted, stages)
    assert not experiments.is_current(commit, wanted, stages | {"another": ("python x.py", set(), set())})
    assert not experiments.is_current("HEAD", wanted, stages)
    with pytest.raises(HallmarkError, match="not in the experiment's commit"):
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
        (lambda base: (base / "chat_template.jinja").unlink(), "chat template", "no chat template"),
        (lambda base: (base / "chat_template.jinja").write_text("{{ 1"), "chat template", "template"),
        (lambda base: linked(base / "tokenizer.json"), "files", "is a link"),
        (lambda base: edited(base, num_hidden_layers=10**6), "architecture", "1000000 layers"),
        (lambda base: edited(base, model_type="nothing"), "architecture", "no model can be built"),
        (lambda base: edited(base, max_position_embeddings=16), "context", "it reads 16"),
    ],
)
def test_what_a_base_lacks_excludes_it_and_ends_nothing(folder: Path, spoil: Any, constraint: str, words: str) -> None:
    spoil(folder / "base")
    _, excluded = looked_at(folder)
    assert excluded is not None
    assert (excluded.constraint, words in excluded.reason) == (constraint, True), excluded


def linked(file: Path) -> None:
    file.rename(file.with_name("away"))
    file.symlink_to(file.with_name("away"))


def edited(base: Path, **values: Any) -> None:
    file = base / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_memory_is_a_limit_and_a_template_is_counted_with_its_variables(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pl.DataFrame([record(str(number), "my kettle is broken") for number in range(3)], schema=schema())
    for number, file in enumerate((TRAIN, VALIDATION, HOLDOUT)):
        write_records(folder / file, records[number : number + 1])
    monkeypatch.chdir(folder)
    facts, excluded = looked_at(folder, memory_gib=0.001)
    assert facts.memory is not None and facts.memory.limit == 1_073_741
    assert excluded is not None and excluded.constraint == "memory"
    assert "of 0.0 GiB" in excluded.reason
    assert str(folder / "scratch") not in facts.memory.basis
    template = folder / "base/chat_template.jinja"
    template.write_text(
        "{% if longer %}longer and longer and longer {% endif %}" + template.read_text(encoding="utf-8")
    )
    block = {"source": "folder", "path": "base"} | SHARED | {"chat_template_kwargs": {"longer": True}}
    shutil.rmtree(folder / "scratch")
    (folder / "scratch").mkdir()
    longer, _ = looked_at(folder, block, licences=None, memory_gib=0.001)
    assert facts.tokens is not None and longer.tokens is not None and longer.tokens > facts.tokens + 3


def test_a_model_of_the_hub_is_read_from_its_cache_or_excluded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the small files are taken, and a link only within the cache."""
    block = {"source": "hub", "revision": "a" * 40} | SHARED
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "cache"))
    facts, excluded = looked_at(folder, block)
    assert facts.gated is None
    assert excluded is not None and excluded.constraint == "files" and "hf auth login" in excluded.reason
    snapshot = folder / "cache/models--org--model/snapshots" / ("a" * 40)
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(folder / "base", snapshot)
    (snapshot / "model.safetensors").write_bytes(b"")
    (snapshot / "vocab.txt").symlink_to("/etc/hostname")
    candidates.small_files(HubBase.model_validate(block), folder / "scratch")
    taken = {file.name for file in (folder / "scratch").iterdir()}
    assert "tokenizer.json" in taken and not taken & {"model.safetensors", "vocab.txt"}


@pytest.mark.parametrize(("package", "words"), [("not-installed", "is not installed"), ("pytest", "another SHA-256")])
def test_a_package_that_is_another_excludes_the_base(folder: Path, package: str, words: str) -> None:
    block = {"source": "package", "package": package, "file": "pytest/__init__.py", "sha256": "a" * 64} | SHARED
    _, excluded = looked_at(folder, block)
    assert excluded is not None and excluded.constraint == "files" and words in excluded.reason


MIXTURE = {
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    **dict.fromkeys(("hidden_size", "intermediate_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "num_experts_per_tok"), 2),
    "num_local_experts": 8,
    "vocab_size": 320,
}
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "vocab_size": 320, "n_positions": 64}


def test_what_bitsandbytes_leaves_is_named(tmp_path: Path) -> None:
    """Experts are one tensor a layer, and stay whole; GPT-2's transposed layers are replaced."""
    for config, share, leaves in ((MIXTURE, (0.05, 0.3), ["MixtralExperts"]), (GPT2, (1.0, 1.0), [])):
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        _, nf4, found = candidates.architecture(tmp_path)
        assert share[0] <= nf4 <= share[1]
        assert found == leaves
    facts = Facts("a", "hub", "mit", nf4=0.1, nf4_leaves=["MixtralExperts"])
    assert candidates.excluded(facts, shipped()) is None
    assert facts.notes == ["4 bits hold only 10 % of its layers' weights (not MixtralExperts)"]
    facts.nf4 = 0.0
    found_none = candidates.excluded(facts, shipped())
    assert found_none is not None and "sft.method: lora" in found_none.reason


HOSTILE_TEXTS = [
    "it's",
    'a "quoted" \\" one\\',
    "[a, {b: c}]",
    "++x=1",
    "a\\nb",
    "choice(1,2)",
    "1e5",
    "null",
    " x ",
    "a:b,c=d",
    "日本",
]


def test_what_dvc_sets_is_what_is_wanted(tmp_path: Path) -> None:
    """Through DVC's own reading of `-S`: other keys of the base, other kinds of server, texts that look like its grammar."""
    from dvc.utils.hydra import apply_overrides

    file = tmp_path / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", file)
    raw = resolved(file)
    variables = {f"v{number}": text for number, text in enumerate(HOSTILE_TEXTS)} | {"on": True, "low": 1e-05}
    block = {"source": "hub", "revision": "a" * 40} | SHARED | {"chat_template_kwargs": variables}
    server = {"kind": "endpoint", "url": "http://127.0.0.1:8000/v1", "names": {"base": "b", "tuned": "t"}}
    changes = {
        "sft.learning_rate": 2e-4,
        "sft.lora.layers": None,
        "sft.lora.target_modules": ["q_proj", "k"],
        "benchmark.server": server,
    }
    wanted = experiments.changed(raw, Candidate.model_validate({"base": block, "set": changes}))
    apply_overrides(file, experiments.overrides(raw, wanted, file))
    assert resolved(file) == wanted
    assert "port" not in file.read_text(encoding="utf-8").partition("benchmark:")[2].partition("certify:")[0]
    experiments.check_set([], wanted, file)
    # DVC's own bug: the block with variables, which it wrote over several lines, can't become {}.
    with pytest.raises(HallmarkError, match=r"DVC can't set base.*\n.*on one line"):
        experiments.check_set(experiments.overrides(wanted, raw, file), raw, file)
    one_line = re.sub(
        r"chat_template_kwargs:.*?\n  revision",
        "chat_template_kwargs: {a: 1}  # x\n  revision",
        file.read_text("utf-8"),
        flags=re.DOTALL,
    )
    file.write_text(one_line, encoding="utf-8")
    flow = resolved(file)
    assert flow["base"]["chat_template_kwargs"] == {"a": 1}
    experiments.check_set(experiments.overrides(flow, raw, file), raw, file)
    assert experiments.overrides(raw, raw, file) == []
    for odd in ({"base.name": "${oc.env:HOME}"}, {"sft.x": [{"a": 1}]}, {"sft.x": {"a.b": 1}}):
        with pytest.raises(HallmarkError, match="can't be given to `dvc exp run`"):
            [(key, value)] = odd.items()
            experiments._assigned(key, value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (base_of("a", **{"gate.min_records": 1}), "'gate.min_records' must be the same for all bases"),
        (base_of("a", **{"eval.draws": 10}), "must be the same for all bases"),
        (base_of("a", sft={}), "choose.bases.0.set"),
        (base_of("a", base={"source": "zip"}), "must be one of folder, hub, package"),
        ({"base": base_of("a")["base"]}, "'choose.bases.0.set' is missing"),
        (base_of("a", base={"pth": "x"}), "did you mean 'path'"),
    ],
)
def test_a_wrong_entry_is_an_error_that_names_it(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    change_params(tmp_path, {"choose.bases": [entry]})
    with pytest.raises(HallmarkError, match=r"choose\.bases") as caught:
        load_params(tmp_path / "params.yaml")
    assert words in str(caught.value)


def problem_of(tmp_path: Path, *entries: dict[str, Any], **limits: Any) -> str:
    """The error with which choosing stops before it looks at a base."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    change_params(
        tmp_path,
        {"choose.bases": list(entries), "benchmark.price_per_hour": None}
        | {f"choose.{name}": value for name, value in limits.items()},
    )
    raw = resolved(tmp_path / "params.yaml")
    with pytest.raises(HallmarkError) as caught:
        tool.choose(load_params(tmp_path / "params.yaml"), raw)
    return str(caught.value)


def test_lists_that_nothing_can_be_chosen_from(tmp_path: Path) -> None:
    assert "params.yaml has no 'sft.rank'" in problem_of(tmp_path, base_of("a", **{"sft.rank": 8}))
    assert "with the params of a: 'sft.batch_size'" in problem_of(tmp_path, base_of("a", **{"sft.batch_size": 0}))
    assert "a is named twice" in problem_of(tmp_path, base_of("a"), base_of("a"))
    assert "give --price-per-hour" in problem_of(tmp_path, base_of("a"), price_per_1000_right=1.0)


def test_an_empty_list_says_what_to_write(tmp_path: Path) -> None:
    text = problem_of(tmp_path)
    shown_block = text.partition("has more):\n")[2]
    block = YAML(typ="safe", pure=True).load(shown_block)
    chosen = Choose.model_validate(shipped().choose.model_dump() | block)
    assert chosen.bases[0].base == shipped().base


def test_the_bases_of_the_docs_are_those_of_the_template() -> None:
    """Each with the params that its file in the template sets; all set the same ones."""
    text = (ROOT / "docs/decision.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"(?:^ {4}.*\n)*^ {4}choose:\n(?:^ {4}.*\n)+", text, re.MULTILINE)
    shown_block = YAML(typ="safe", pure=True).load(textwrap.dedent(block))["choose"]
    listed = Choose.model_validate(shipped().choose.model_dump() | shown_block).bases
    files = {
        file.stem: YAML(typ="safe", pure=True).load(file) or {}
        for file in (ROOT / "template/choices/bases").glob("*.yaml")
    }
    del files["own"], files["smollm2-135m"]
    by_name = {content["base"]["name"]: content for content in files.values()}
    assert listed[0].base == shipped().base
    assert {candidate.base.name for candidate in listed[1:]} == set(by_name)
    assert len({frozenset(candidate.set) for candidate in listed}) == 1
    for candidate in listed[1:]:
        content = dict(by_name[candidate.base.name])
        assert candidate.base.model_dump(mode="json") == content.pop("base")
        assert content.items() <= candidate.set.items() or all(
            candidate.set[key] == value for key, value in content.items()
        )


NO_LIMITS = Limits(None, None, None, None, None)


def a_run(name: str, verdict: str = "pass", **changes: Any) -> Run:
    values: dict[str, Any] = {
        "experiment": f"choose-{name}",
        "commit": "f" * 40,
        "minutes": 21.7,
        "words": "It <i>says</i> so.",
        "served": "measured",
    }
    measure = Measured("Exact match", 0.664, 0.547, 0.759)
    values |= {"measure": measure, "right": 0.5, "latency_p95_s": 5.75, "requests_per_second": 2.0, "verdict": verdict}
    return Run(**(values | changes))


def made_up(**limits: Any) -> Choice:
    """Bases in every state that there is; names and reasons are hostile."""
    bounds = dataclasses.replace(NO_LIMITS, price_per_hour=3.6, **limits)
    memory = Memory(3 * 2**30, 2**30, 2**30, 8 * 2**30, "counted")
    rows = [
        Row(
            Facts("org/tiny", "hub", "mit", False, True, 8192, 135_000_000, 1.0, [], 231.4, 700, memory, 3.0),
            run=a_run("tiny", "fail"),
        ),
        Row(Facts("org/\u202e<script>", "hub", "gemma"), Exclusion("licence", "gemma\x1b[31m; <b>no</b>")),
        Row(Facts("org/broken", "hub", "mit"), error="sft: error: the loss is not a number"),
        Row(Facts("org/good", "hub", "mit", parameters=3_200_000_000, notes=["a <u>note</u>"]), run=a_run("good")),
        Row(Facts("org/huge", "hub", "mit", memory=memory, planned_minutes=300.0)),
    ]
    for row in rows:
        if row.run:
            row.price_per_1000_right = shown.price_of(row.run, bounds.price_per_hour)
            row.excluded = shown.over_limit(row, bounds)
    return Choice(rows, bounds, False, False, 6, [])


def test_the_table_says_what_became_of_each() -> None:
    lines = shown.table(made_up())
    text = "\n".join(lines)
    assert [line.split()[0] for line in lines if line.startswith("  org/")] == [
        "org/tiny", "org/\\u202e<script>", "org/broken", "org/good", "org/huge"
    ]  # fmt: skip
    assert re.search(r"org/tiny +135 M +231 +3\.0 GiB +21\.7 +66\.4 % \[54\.7, 75\.9\] +5\.75 s +1\.00 +Fail", text)
    assert re.search(r"org/huge .*3\.0 GiB +~300\.0 .*Not run", text)
    assert "\x1b" not in text
    assert "      sft: error: the loss is not a number" in lines
    assert "      a <u>note</u>" in lines
    assert "org/good is the smallest base that will do." in made_up().headline


def test_limits_hold_after_the_gate_too() -> None:
    slow = made_up(latency_p95_s=5.0)
    assert slow.chosen is None and slow.headline == "No base passes."
    assert slow.rows[3].verdict == "Pass, but latency"
    assert slow.rows[3].why == "p95 5.75 s; choose.latency_p95_s allows 5.00 s"
    dear = made_up(price_per_1000_right=0.99)
    assert dear.rows[3].verdict == "Pass, but price"
    assert made_up(price_per_1000_right=1.0, latency_p95_s=5.75).chosen is not None
    unknown = Row(Facts("a", "hub", "mit"), run=a_run("a", latency_p95_s=None))
    assert shown.over_limit(unknown, dataclasses.replace(NO_LIMITS, latency_p95_s=9.0)) is not None
    assert shown.price_of(a_run("a", right=0.0), 1.0) is None
    assert shown.price_of(a_run("a"), None) is None


def test_the_page_escapes_all_and_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown.write(made_up())
    page = (tmp_path / "reports/choose.html").read_text(encoding="utf-8")
    assert "[U+202E]&lt;script&gt;" in page and "<script" not in page
    for tag in ("<i>", "<b>no", "<u>", "\x1b", "http:", "https:"):
        assert tag not in page
    assert page.count("<tr>") == 6 and page.count("<b>chosen</b>") == 1
    report = json.loads((tmp_path / "reports/choose.json").read_text(encoding="utf-8"))
    assert report["chosen"] == "org/good"
    assert [base["verdict"] for base in report["bases"]] == [
        "Fail",
        "Excluded: licence",
        "Run failed",
        "Pass",
        "Not run",
    ]
    assert committed.within("reports/choose.json", "reports") and not committed.WEIGHTS.fullmatch("choose.json")


def test_the_measure_is_the_one_that_the_gate_asks_for(repo: Path) -> None:
    comparison = TypeAdapter(Comparison).validate_json((repo / "made/comparison.json").read_bytes())
    assert experiments.main_measure(comparison, ["schema_validity", "exact_match", "field_f1"]).words == "Exact match"
    assert experiments.main_measure(comparison, ["schema_validity", "field_f1"]).words == "Field F1"
    assert experiments.main_measure(comparison, ["schema_validity", "macro_f1"]).words == "Exact match"


def test_the_reason_of_a_failure_is_the_last_error() -> None:
    lines = [
        "x\n",
        "base: error: a\n",
        "sft: error: out of \x1b[31mmemory\n",
        "  remedy: smaller\n",
        "ERROR: failed to reproduce 'sft'\n",
    ]
    assert experiments.reason(lines) == "sft: error: out of \\x1b[31mmemory: smaller"
    assert experiments.reason(["ERROR: it is locked\n"]) == "it is locked"
    assert experiments.reason([]) == "dvc exp run failed without a message"


def test_a_list_that_is_not_in_order_is_told_of() -> None:
    facts = [Facts(name, "hub", "mit", parameters=size) for name, size in (("a", 2), ("b", None), ("c", 1), ("d", 3))]
    assert tool.warnings(facts) == ["c is smaller than a, which is before it: choose.bases is tried in its order."]
