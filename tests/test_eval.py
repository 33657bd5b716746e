"""The evaluation on a tiny model: exact texts, fixed batches, left padding, the same bytes twice, and clear errors."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.answers import prompts_of
from hallmark.answer.comparator import Asked, Questions
from hallmark.answer.comparators import COMPARATORS
from hallmark.answer.comparators.adapter import digest_of_base
from hallmark.answer.comparators.few_shot import FewShotSettings
from hallmark.answer.fair_order import drawn_fairly
from hallmark.answer.scoring import Score
from hallmark.base.errors import HallmarkError
from hallmark.base.files import ADAPTER, BASE, CALIBRATION, HOLDOUT, QUANTIZED, REPORTS, TRAIN, sha256_file, write_json
from hallmark.base.records import write_records
from hallmark.judge.metrics import metrics
from hallmark.model.adapter import CONFIG, TENSORS, TRAINING, weights_in
from hallmark.model.loading import load_tokenizer
from hallmark.params.loader import load_params
from hallmark.task.predictions import Prediction, predictions_of, read_predictions
from hallmark.task.task import Task
from hallmark.task.values import FieldResult
from stages import eval as stage_eval
from tests.made_up import prediction, typed
from tests.rows import refused
from tests.test_sft import some_records
from tests.tiny import make_tiny_base, quantize
from tests.workspace import ROOT, change_params, make_workspace

SETTINGS = {
    "eval.max_new_tokens": 12,
    "eval.batch_size": 4,
    "eval.dtype": "float32",
    "eval.constrained": 0,
    "eval.sample": {},
    "eval.comparators": {},
    "gate.superiority": {"base": 0.1},
    "gate.margins_against": "base",
    "compute.threads": 1,
}


def some_holdout() -> pl.DataFrame:
    """Ten records of five customers, with prompts of all lengths, tags, and a refusal that is due."""
    records = some_records(10)
    texts = [f"{'my kettle is broken ' * (number % 4)}{number}" for number in range(10)]
    system = {"role": "system", "content": "Answer with JSON."}
    prompts = [[system, {"role": "user", "content": text}] for text in texts]
    answers = ['{"intent":"refuse"}', *['{"intent":"refund"}'] * 9]
    return records.with_columns(
        prompt=pl.Series(prompts),
        completion=pl.Series([[{"role": "assistant", "content": text}] for text in answers]),
        tags=pl.Series([["typos"] if number % 2 else [] for number in range(10)]),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with base, adapter and holdout, at the point where `eval` is next."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, set_seed

    folder = make_workspace(tmp_path_factory.mktemp("eval"), SETTINGS)
    make_tiny_base(folder / BASE)
    tokenizer = folder / BASE / "tokenizer_config.json"  # as in SmolLM2, padding is the end token: only the mask tells
    write_json(tokenizer, json.loads(tokenizer.read_text(encoding="utf-8")) | {"pad_token": "<|im_end|>"})
    write_records(folder / HOLDOUT, some_holdout())
    set_seed(1)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(folder / BASE), lora).save_pretrained(folder / ADAPTER)
    weights = quantize(folder / BASE, nf4=False, dtype="float32")
    write_json(folder / ADAPTER / TRAINING, {"base_precision": "float32", "weights": weights_in(weights)})
    return folder


@pytest.fixture
def at(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    change_params(made, SETTINGS)
    write_records(HOLDOUT, some_holdout())
    return made


def evaluate(model: str = "base", **overrides: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the stage here; its predictions and metrics."""
    change_params(Path(), {f"eval.{name}": value for name, value in overrides.items()})
    if model in stage_eval.WEIGHTS:
        stage_eval.run(load_params(), model)
    elif model in stage_eval.APART:
        stage_eval.run_apart(load_params(), model)
    else:
        stage_eval.run_comparators(load_params())
    metrics = json.loads(predictions_of(model).with_name("metrics.json").read_text(encoding="utf-8"))
    assert len(read_predictions(model)) == metrics["records"]
    lines = predictions_of(model).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines if line], metrics


def texts(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["id"]: row["prediction"] for row in rows}


def chat_texts(tokenizer: Any, records: list[dict[str, Any]]) -> list[str]:
    return [tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True) for row in records]


def test_every_record_has_its_line_in_holdout_order_and_offline(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    rows, metrics = evaluate()
    holdout = some_holdout()
    assert [row["id"] for row in rows] == holdout["id"].to_list()
    assert [row["target"] for row in rows] == [completion[0]["content"] for completion in holdout["completion"]]
    first = rows[1]
    assert (first["input"], first["tags"]) == ("my kettle is broken 1", ["typos"])
    assert (first["finish"], first["tokens"]) == ("length", 12) and first["prediction"]
    assert (rows[0]["outcome"], first["outcome"]) == ("missed_refusal", "wrong_format")
    assert (metrics["records"], metrics["groups"], metrics["model"]) == (10, 5, "base")
    assert (metrics["exact_match"], metrics["failures"]["missed_refusal"]) == (0, 1)
    measured = json.loads(Path("reports/measured/eval_base.json").read_text(encoding="utf-8"))
    assert measured["tokens"] == sum(row["tokens"] for row in rows)
    assert "seconds" not in json.dumps(metrics)


def test_answers_are_what_plain_generation_writes_in_the_same_batches(at: Path) -> None:
    """Prompts sorted by length, longest first, left padded, batches of four: as a few lines of transformers do it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows, _ = evaluate()
    tokenizer = AutoTokenizer.from_pretrained(BASE, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="sdpa")
    prompts = chat_texts(tokenizer, some_holdout().rows(named=True))
    order = sorted(range(10), key=lambda place: (-len(tokenizer(prompts[place]).input_ids), prompts[place]))
    for start in range(0, 10, 4):
        batch = order[start : start + 4]
        inputs = tokenizer([prompts[place] for place in batch], padding=True, return_tensors="pt")
        out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        for place, tokens in zip(batch, out[:, inputs.input_ids.shape[1] :], strict=True):
            text = tokenizer.decode(tokens, skip_special_tokens=False).partition("<|im_end|>")[0]
            assert rows[place]["prediction"] == text


def test_the_adapter_counts_merged_or_not_and_the_base_does_without_it(at: Path) -> None:
    merged, _ = evaluate("tuned", merge=True)
    beside, _ = evaluate("tuned", merge=False)
    ADAPTER.rename("models/elsewhere")
    try:
        base, _ = evaluate("base")
    finally:
        Path("models/elsewhere").rename(ADAPTER)
    assert texts(merged) == texts(beside) != texts(base)


def test_every_answer_has_its_confidence_and_calibration_is_answered_alike(at: Path) -> None:
    rows, _ = evaluate("tuned")
    for row in rows:
        sure = row["confidence"]
        assert sure["sum"] <= sure["least"] <= sure["mean"] <= 0 and sure["fields"] == {}
        count = row["tokens"] + (row["finish"] == "stop")
        assert sure["mean"] == pytest.approx(sure["sum"] / count, abs=1e-5)
    write_records(CALIBRATION, some_holdout())
    again, counts = evaluate("calibration")
    assert again == rows, "the same model, engine and settings"
    right = sum(row["exact_match"] for row in rows)
    groups = len({row["group"] for row in rows})
    assert counts.items() >= {"records": 10, "groups": groups, "exact_match": right, "with_confidence": 10}.items()


def test_an_empty_calibration_part_is_no_error_and_loads_nothing(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_records(CALIBRATION, some_holdout().clear())
    monkeypatch.setattr("hallmark.model.loading.load_tuned", None)
    rows, counts = evaluate("calibration")
    assert (rows, counts["records"], counts["groups"]) == ([], 0, 0)
    assert read_predictions("calibration") == []
    assert (REPORTS / "measured/calibration.json").is_file()


def test_a_generation_config_of_the_model_does_not_reach_the_measurement(at: Path) -> None:
    plain, _ = evaluate()
    file = BASE / "generation_config.json"
    kept = file.read_text(encoding="utf-8")
    try:
        file.write_text(
            json.dumps(json.loads(kept) | {"do_sample": True, "temperature": 9.0, "repetition_penalty": 5.0})
        )
        assert texts(evaluate()[0]) == texts(plain)
    finally:
        file.write_text(kept, encoding="utf-8")


@pytest.fixture
def make_local(at: Path) -> Callable[..., Any]:
    from hallmark.answer.generation import LocalModel
    from hallmark.model.loading import load_base, load_tokenizer

    def make(**options: Any) -> Any:
        model = load_base(BASE, dtype="float32", attention="sdpa", device="cpu")
        settings = {"batch_size": 4, "max_new_tokens": 12} | options
        return LocalModel(model, load_tokenizer(BASE), **settings)

    return make


@pytest.mark.parametrize(
    ("written", "text", "tokens", "finish"),
    [
        (' {"a":  1 }\n<|im_end|><|endoftext|>', ' {"a":  1 }\n', None, "stop"),
        ("a<|im_start|>b<|im_end|>c<|im_end|>", "a<|im_start|>b", 3, "stop"),  # a special token is no silence
        ("ab", "ab", 2, "length"),
        ("<|im_end|>", "", 0, "stop"),
        ("don 't , I 'm", "don 't , I 'm", None, "length"),  # no space is tidied away
    ],
)
def test_a_text_is_exactly_what_was_written(
    make_local: Callable[..., Any], written: str, text: str, tokens: int | None, finish: str
) -> None:
    from hallmark.answer.decoding import Written

    local = make_local()
    answer = local.read(Written(local.tokenizer(written).input_ids, []))
    assert (answer.text, answer.finish) == (text, finish)
    assert tokens in (answer.tokens, None)


def test_a_prompt_over_the_window_counts_as_wrong_and_is_never_cut(at: Path) -> None:
    long = some_holdout().with_columns(
        prompt=pl.when(pl.col("id") == "T-3")
        .then(pl.Series([[{"role": "user", "content": "private " * 4000}]] * 10))
        .otherwise("prompt")
    )
    write_records(HOLDOUT, long)
    change_params(Path(), {"split.too_long": "count"})
    rows, metrics = evaluate("tuned")
    (unread,) = [row for row in rows if row["id"] == "T-3"]
    assert (unread["prediction"], unread["finish"], unread["tokens"], unread["exact_match"]) == ("", "length", 0, False)
    assert unread.get("confidence") is None
    assert (metrics["records"], metrics["out_of_reach"]) == (10, 1)
    change_params(Path(), {"split.too_long": "error"})
    with refused():
        evaluate("base")


def test_constrained_decoding_is_compared_with_free_decoding_and_ends_in_valid_answers(at: Path) -> None:
    free, _ = evaluate(max_new_tokens=40)
    rows, metrics = evaluate(constrained=6)
    assert texts(rows) == texts(free)
    held = {row["id"]: row["constrained"] for row in rows if "constrained" in row}
    drawn = drawn_fairly(*([row[name] for row in rows] for name in ("id", "group")), 6, load_params().seed)
    assert list(held) == [rows[number]["id"] for number in drawn]  # the same, whoever answers
    task = Task(load_params().task)
    whole = [said["prediction"] for said in held.values() if said["finish"] == "stop"]
    assert whole
    assert all(task.parse(text).kind != "invalid" for text in whole)
    found = metrics["constrained"]
    assert (found["records"], found["free"]["schema_validity"], found["lost"]) == (6, 0, 0)
    assert found["constrained"]["schema_validity"] == len(whole) == found["fixed"] + found["hidden"]
    assert found["constrained"]["cut_off"] == 6 - len(whole)
    again, _ = evaluate()
    assert again == rows


def test_labels_are_constrained_to_their_list_and_every_answer_ends(
    make_local: Callable[..., Any], tmp_path: Path
) -> None:
    from hallmark.answer.constrained import grammar_of

    schema = tmp_path / "labels.json"
    write_json(schema, {"enum": ['say "no"', "ja, später"]})
    task = Task(
        load_params().task.model_copy(
            update={"kind": "classification", "schema_file": str(schema), "refusal": "not allowed"}
        )
    )
    local = make_local(max_new_tokens=40, grammar=grammar_of(task))
    answers = local.answer(prompts_of(some_holdout().rows(named=True)))
    assert all(answer.finish == "stop" for answer in answers)
    assert {answer.text for answer in answers} <= {'say "no"', "ja, später", "not allowed"}


def scored(outcome: str, **values: Any) -> Score:
    passed = outcome == "pass"
    defaults: dict[str, Any] = {"parses": True, "schema_valid": True, "refusal_expected": False, "refused": False}
    return Score(**(defaults | {"exact_match": passed, "outcome": outcome} | values))


def lines(scores: list[Score]) -> list[Prediction]:
    rows = []
    for n, score in enumerate(scores):
        said = {name: getattr(score, name) for name in ("parses", "schema_valid", "exact_match")}
        said |= {"tags": ["a", "a"], "length": 150 * n, "fields": [asdict(field) for field in score.fields]}
        rows.append(typed(prediction(n, f"C-{n % 3}", score.outcome, **said)))
    return rows


def row(path: str, result: Any) -> FieldResult:
    return FieldResult(path, 1, 1, result)


def metrics_of(scores: list[Score]) -> dict[str, Any]:
    return metrics("tuned", lines(scores), Task(load_params(ROOT / "params.yaml").task))


def test_metrics_are_the_sums_of_their_records() -> None:
    scores = [
        scored("pass", fields=[row("a", "match"), row("b[]", "match"), row("b[]", "match")]),
        scored("wrong_value", fields=[row("a", "wrong"), row("b[]", "match"), row("c", "spurious")]),
        scored("omission", fields=[row("a", "missing")]),
        scored("wrong_format", parses=False, schema_valid=False),
        scored("pass", refusal_expected=True, refused=True),
        scored("wrong_refusal", refused=True),
    ]
    found = metrics_of(scores)
    assert found["exact_match"] == pytest.approx(2 / 6, abs=1e-6)
    assert found["parses"] == found["schema_validity"] == pytest.approx(5 / 6, abs=1e-6)
    assert found["field_precision"] == pytest.approx(4 / 6, abs=1e-6)
    assert found["field_recall"] == pytest.approx(4 / 6, abs=1e-6)
    assert found["by_field"] == [
        {"name": "a", "n": 3, "precision": 0.5, "recall": 0.333333, "f1": 0.4},
        {"name": "b[]", "n": 3, "precision": 1.0, "recall": 1.0, "f1": 1.0},
    ]
    assert sum(found["failures"].values()) == 4


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=25),
    share=st.floats(0, 1),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_group_has_its_fair_share_of_a_draw(sizes: list[int], share: float, seed: int, data: st.DataObject) -> None:
    groups = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    ids = [f"r{number}" for number in range(len(groups))]
    count = round(share * len(groups))
    drawn = drawn_fairly(ids, groups, count, seed)
    assert len(drawn) == count and drawn == sorted({*drawn})
    for group, size in enumerate(sizes):
        assert abs(sum(groups[row] == f"g{group}" for row in drawn) - size * count / len(groups)) < 3
    assert {*drawn_fairly(ids, groups, count // 2, seed)} <= {*drawn}  # a smaller draw is part of a larger one
    shuffled = data.draw(st.permutations(range(len(groups))))
    again = drawn_fairly([ids[row] for row in shuffled], [groups[row] for row in shuffled], count, seed)
    assert {shuffled[row] for row in again} == {*drawn}  # whatever the order of the rows


def test_a_sampled_model_answers_only_the_records_that_were_drawn(at: Path) -> None:
    whole, _ = evaluate(sample={})
    rows, metrics = evaluate(sample={"base": 6})
    drawn = drawn_fairly(*([row[name] for row in whole] for name in ("id", "group")), 6, load_params().seed)
    assert [row["id"] for row in rows] == [whole[number]["id"] for number in drawn]
    assert (metrics["records"], metrics["held_out"]) == (6, 10)
    assert sum(metrics["failures"].values()) == 6
    assert len(evaluate("tuned")[0]) == 10


FEW = {"kind": "few_shot", "examples": 2, "rule": "nearest", "max_tokens": 400}


def some_train() -> pl.DataFrame:
    """Records with words of the holdout's, and with others."""
    system = {"role": "system", "content": "Answer with JSON."}
    said = ["my kettle is broken", "where is my parcel", "the kettle is late", "no"]
    return some_records(4).with_columns(
        id=pl.Series([f"S-{number}" for number in range(4)]),
        prompt=pl.Series([[system, {"role": "user", "content": text}] for text in said]),
        completion=pl.Series(
            [[{"role": "assistant", "content": f'{{"intent":"{text}"}}'}] for text in ("a", "b", "a", "refuse")]
        ),
    )


def test_a_comparator_is_shown_the_examples_that_its_line_names(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_records(TRAIN, some_train())
    asked_of, kept = stage_eval.asked_of, []

    def keeping(*given: Any) -> Asked:
        kept.append(asked_of(*given))
        return kept[-1]

    monkeypatch.setattr(stage_eval, "asked_of", keeping)
    gone = predictions_of("gone")
    gone.parent.mkdir(parents=True)
    gone.touch()
    rows, metrics = evaluate("near", comparators={"near": FEW}, sample={"near": 7})
    assert not gone.parent.exists()  # as in a repo that never had it
    assert len(rows) == metrics["records"] == 7 and metrics["examples"] == 2.0
    rendered = kept[0].prompts
    for row, prompt in zip(rows, rendered, strict=True):
        roles = [message["role"] for message in prompt.messages]
        assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
        assert prompt.messages[-1]["content"] == row["input"]
    by_input = {row["input"]: row["examples"] for row in rows}
    assert any(shown[0] == "S-0" for text, shown in by_input.items() if "kettle" in text)  # ranked first,
    assert all(  # and stands last, next to the record
        prompt.messages[-3]["content"] == "my kettle is broken"
        for prompt in rendered
        if "kettle" in str(prompt.messages[-1])
    )
    assert read_predictions("near")[0].examples == rows[0]["examples"]


def questions_of(at: Path, **changes: Any) -> Questions:
    records = some_holdout().rows(named=True)
    parts: dict[str, Any] = {
        "task": Task(load_params().task),
        "records": records,
        "prompts": prompts_of(records),
        "form": None,
    }
    return Questions(**parts | {"tokenizer": load_tokenizer(at / BASE), "room": None, "seed": 7} | changes)


def test_examples_that_do_not_fit_are_left_out_the_last_ranked_first(at: Path) -> None:
    write_records(TRAIN, some_train())
    kind, settings = COMPARATORS["few_shot"], FewShotSettings.model_validate(FEW | {"examples": 4})
    questions = questions_of(at)
    whole = kind.asked(settings, questions)
    assert {len(shown) for shown in whole.examples} == {4}
    one = kind.asked(settings.model_copy(update={"max_tokens": 60}), questions)
    assert all(few == shown[: len(few)] for few, shown in zip(one.examples, whole.examples, strict=True))
    assert 0 < max(map(len, one.examples)) < 4
    none = kind.asked(settings, replace(questions, room=1))
    assert none.prompts == list(questions.prompts) and not any(none.examples)


def adapter_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    hashes = {"sha256": sha256_file(folder / TENSORS), "config_sha256": sha256_file(folder / CONFIG)}
    none = {"base": None, "base_sha256": None}
    return {"kind": "adapter", "folder": folder.as_posix()} | none | hashes | changes


def test_another_adapter_answers_as_the_tuned_model_does(at: Path, tmp_path: Path) -> None:
    tuned, _ = evaluate("tuned")
    rows, _ = evaluate("last", comparators={"last": adapter_settings(ADAPTER)}, sample={})
    assert texts(rows) == texts(tuned)
    base = tmp_path / "base"  # the same weights under a chat template of their own
    shutil.copytree(QUANTIZED, base)
    template = base / "chat_template.jinja"
    template.write_text(
        template.read_text(encoding="utf-8").replace("<|im_start|>assistant", "Answer:"), encoding="utf-8"
    )
    pinned = adapter_settings(ADAPTER, base=base.as_posix(), base_sha256=digest_of_base(base, ADAPTER / TRAINING))
    own, _ = evaluate("last", comparators={"last": pinned}, sample={})
    assert texts(own) != texts(tuned)


def test_another_adapter_is_pinned_safe_and_on_its_own_weights(at: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "release", make_tiny_base(tmp_path / "other", seed=3)
    shutil.copytree(ADAPTER, folder)
    settings = adapter_settings(folder)

    def wrong(said: str, **changes: str) -> None:
        with pytest.raises(HallmarkError, match=said):
            evaluate("last", comparators={"last": settings | changes}, sample={})

    wrong("pins", sha256="0" * 64)
    wrong("pins", config_sha256="0" * 64)
    wrong("other weights", base=other.as_posix())
    wrong("no such folder", folder=(tmp_path / "none").as_posix())
    write_json(folder / TRAINING, {"base_precision": "float32"})
    wrong("over which weights", base=QUANTIZED.as_posix())
    (folder / "more.bin").write_bytes(b"x")
    wrong("a pickle")
