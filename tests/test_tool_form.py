"""Tool calls in the chat template's own form: read off real templates, trained on, read back, and scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.endpoint import answer_of
from hallmark.answer.scoring import Score, Scorer
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, HOLDOUT, MASKED, TRAIN
from hallmark.judge.linear import right_labels
from hallmark.model.chat_template import SAMPLE, TOOLS, answer_text, calling, render, tool_form, with_calls, with_tools
from hallmark.model.loading import IGNORED, load_base, load_tokenizer
from hallmark.model.tool_form import ToolForm, calls_in
from hallmark.params.loader import Params
from hallmark.serve.admission import Limits
from hallmark.task.answers import compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task
from stages import base, mask
from tests.families import FAMILIES as KNOWN
from tests.families import make_family
from tests.made_up import prediction, typed
from tests.rows import refused, task_of
from tests.test_admission import Inner, ask, guarded
from tests.test_families import choice, made
from tests.test_files import JSON
from tests.test_gateway import ask as ask_gateway
from tests.toy_gateway import Gateway
from tests.workspace import give_records

QWEN = ToolForm("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", "name", "arguments")
LLAMA = ToolForm("", None, "", "name", "parameters")
ONE = {"name": "mend", "arguments": {"item": "kettle"}}
TWO = [ONE, {"name": "send", "arguments": {"to": "Bern", "days": 2}}]
CALL = {
    "type": "object",
    "required": ["name", "arguments"],
    "additionalProperties": False,
    "properties": {"name": {"enum": ["mend", "send"]}, "arguments": {"type": "object"}},
}
SCHEMA = {"type": "array", "items": CALL}
OFFERED = json.dumps([{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("mend", "send")])
TEMPLATE = {"task.kind": "tool_call", "task.tool_format": "template", "eval.max_new_tokens": 72}
MASKED_BY_RULES = {
    "mask.ner": {"engine": "none", "model": None}, "mask.gold": None, "mask.workers": 1,
    "mask.allow": [], "mask.allow_patterns": [], "task.refusal": None, "data.pseudonyms": "none", "data.key": None,
}  # fmt: skip
FAMILIES = {"qwen3-0.6b": QWEN, "llama-3.2-3b": LLAMA}
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=3)
CALLS = st.lists(
    st.fixed_dictionaries({"name": st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True), "arguments": ARGUMENTS}),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tokenizers of the tiny families, their templates settled as `base` does."""
    folder = tmp_path_factory.mktemp("families")
    found = {family: load_tokenizer(make_family(family, folder / family)) for family in FAMILIES}
    for family, tokenizer in found.items():
        kwargs = choice(family)["base"]["chat_template_kwargs"]
        head = "".join(f"{{% set {name} = {json.dumps(value)} %}}" for name, value in kwargs.items())
        tokenizer.chat_template = head + tokenizer.chat_template
    return found


def calls_of(folder: Path, schema: Any = SCHEMA, refusal: str | None = None) -> Task:
    return task_of(folder, "tool_call", schema, refusal, "template")


def template_of(tokenizer: Any) -> ToolForm:
    form = tool_form(TaskParams.model_construct(tool_format="template"), tokenizer)
    assert form
    return form


@pytest.mark.parametrize(
    ("name", "family", "form"),
    [
        ("qwen3", "qwen3-0.6b", QWEN),
        ("qwen2_5", "qwen3-0.6b", QWEN),
        ("llama3_2", "llama-3.2-3b", LLAMA),
        ("phi3_5", "qwen3-0.6b", "does not show tools to the model"),
        ("glm4moe", "qwen3-0.6b", "does not write tool calls as JSON"),  # as XML
    ],
)
def test_the_published_templates_are_read(
    tokenizers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, family: str, form: Any
) -> None:
    """As TRL has them; of Qwen and Llama word for word what is in the models' repositories."""
    import trl

    tokenizer = tokenizers[family]
    head = "{% set enable_thinking = false %}{% set date_string = '26 Jul 2024' %}"
    text = (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    monkeypatch.setattr(tokenizer, "chat_template", head + text)
    if isinstance(form, str):
        with pytest.raises(HallmarkError, match=form):
            template_of(tokenizer)
        return
    assert template_of(tokenizer) == form
    for calls in ([ONE], TWO) if form.between else ([ONE],):
        text = answer_text(tokenizer, SAMPLE, calling(calls), TOOLS)
        assert text == form.write(calls)
        assert form.read(text) == calls


@given(calls=CALLS)
def test_what_the_template_writes_is_read_as_the_same_calls(tokenizers: dict[str, Any], calls: list[Any]) -> None:
    for family, form in FAMILIES.items():
        chosen = calls if form.between else calls[:1]
        text = answer_text(tokenizers[family], SAMPLE, calling(chosen), TOOLS)
        assert form.read(text) == chosen
        assert form.read(form.write(chosen)) == chosen
        assert form.read(f"\n {text} \n") == chosen


PIECES = st.sampled_from(
    [*'{}[],:" \n', "<tool_call>", "</tool_call>", "\n</tool_call>\n", '{"name": ', '"parameters": ', '"arguments": ',
     '"mend"', '{"name": "mend", "arguments": {}}', '{"name": "mend", "parameters": {}}', "NaN", "1e999", "\ud800"]
)  # fmt: skip
HOSTILE = st.text() | st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)


@given(text=HOSTILE)
def test_reading_and_scoring_never_raise(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    for form in FAMILIES.values():
        calls = form.read(text)
        score = Scorer(calls_of(tmp_path_factory.getbasetemp()), {}, form).score(
            input="mend it", context=None, target=compact_json([ONE]), prediction=text
        )
        assert score.read is not None
        if calls is None:
            assert score.outcome in ("wrong_format", "omission"), "no calls (`[]`), or nothing that can be read"
            assert score.schema_valid == (score.read.split() != [] and json.loads(score.read) == [])
        else:
            assert calls_in(score.read) == calls
            assert form.read(form.write(calls)) == calls


def test_nested_without_end_is_no_calls(tmp_path: Path) -> None:
    for text in ("[" * 100_000, '{"name":"mend","parameters":' + '{"a":' * 100_000, "<tool_call>\n" + "{" * 100_000):
        for form in FAMILIES.values():
            assert form.read(text) is None
            scorer = Scorer(calls_of(tmp_path), {}, form)
            assert scorer.score(input="", context=None, target="[]", prediction=text).outcome == "wrong_format"
    for depth in (300, 990, 1500):  # some of these Python still reads, but nothing can walk through
        deep = '{"name": "mend", "parameters": ' + '{"a": ' * depth + "1" + "}" * depth + "}"
        score = Scorer(calls_of(tmp_path), {}, LLAMA).score(input="", context=None, target="[]", prediction=deep)
        assert score.outcome in ("wrong_format", "hallucination")


def scored(folder: Path, target: Any, prediction: str, form: ToolForm = QWEN, **options: Any) -> Score:
    scorer = Scorer(calls_of(folder, **options), {"swears": "darn"}, form)
    return scorer.score(input="mend the kettle", context=None, target=compact_json(target), prediction=prediction)


MEND = '<tool_call>\n{"name": "mend", "arguments": {"item": "kettle"}}\n</tool_call>'
SEND = '<tool_call>\n{"name": "send", "arguments": {"to": "Bern", "days": 2}}\n</tool_call>'


@pytest.mark.parametrize(
    ("target", "prediction", "outcome"),
    [
        ([ONE], MEND, "pass"),
        (TWO, f"{MEND}\n{SEND}", "pass"),
        (TWO, f"{SEND}\n{MEND}", "wrong_value"),  # as two JSON lists in another order are
        ([ONE], MEND.replace("kettle", "toaster"), "hallucination"),
        ([ONE], "[]", "omission"),
        ([ONE], compact_json([ONE]), "wrong_format"),  # right, but no server would take it for a call
        ([ONE], MEND.replace('"mend"', '"eat"'), "wrong_format"),  # the schema has no such tool
        ([ONE], MEND.replace("kettle", "jane.roe@acme-tools.io"), "unsafe_answer"),
    ],
)  # fmt: skip
def test_outcomes(tmp_path: Path, target: Any, prediction: str, outcome: str) -> None:
    score = scored(tmp_path, target, prediction)
    assert score.outcome == outcome, score.reason
    assert (score.outcome == "pass") == score.exact_match
    if score.read and score.outcome != "unsafe_answer":  # then it fares as the same calls in JSON do
        plain = Scorer(calls_of(tmp_path)).score(
            input="mend the kettle", context=None, target=compact_json(target), prediction=score.read
        )
        assert (plain.outcome, plain.fields, plain.scores) == (score.outcome, score.fields, score.scores)


def test_one_call_is_read_as_the_target_or_the_schema_has_it(tmp_path: Path) -> None:
    both = {"anyOf": [CALL, SCHEMA, {"const": {"refuse": True}}]}
    text = LLAMA.write([ONE])
    for schema, target in ((CALL, ONE), (SCHEMA, [ONE]), (both, ONE), (both, [ONE])):
        score = scored(tmp_path, target, text, LLAMA, schema=schema)
        assert (score.exact_match, score.scores["tool_calls"], json.loads(score.read or "")) == (True, True, target)
    for schema, meant in ((CALL, ONE), (SCHEMA, [ONE])):
        score = scored(tmp_path, {"refuse": True}, text, LLAMA, schema=schema, refusal='{"refuse":true}')
        assert (score.outcome, json.loads(score.read or "")) == ("missed_refusal", meant)
    refused = scored(tmp_path, {"refuse": True}, '{"refuse": true}', LLAMA, refusal='{"refuse":true}')
    assert (refused.outcome, refused.refused) == ("pass", True)


def test_labels_and_page_take_the_calls_and_the_file_keeps_the_text(tmp_path: Path) -> None:
    task = calls_of(tmp_path)
    texts = [MEND, compact_json([ONE]), "[]", "nothing"]
    rows = [
        typed(prediction(1, "g", "pass", prediction=text, read=scored(tmp_path, [ONE], text).read)) for text in texts
    ]
    assert [row.answer for row in rows] == [compact_json([ONE]), "", "[]", ""]
    assert typed(prediction(1, "g", "pass", prediction="as it is")).answer == "as it is"
    pairs = [(compact_json([ONE]), row.answer) for row in rows]
    assert right_labels(task, ["name"], pairs) == {"name": [True, False, False, False]}


def test_calls_that_a_server_took_out_of_the_text_are_put_back_as_trained() -> None:
    calls = [
        {"function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}}
        for call in json.loads(json.dumps(TWO))
    ]
    assert QWEN.read(answer_of({"choices": [{"message": {"tool_calls": calls}}]}, QWEN).text) == TWO
    assert LLAMA.read(answer_of({"choices": [{"message": {"tool_calls": calls[:1]}}]}, LLAMA).text) == [ONE]
    calls[0]["function"]["arguments"] = "{no"
    assert QWEN.read(answer_of({"choices": [{"message": {"tool_calls": calls}}]}, QWEN).text) is None


def row_of(completion: Any, **columns: Any) -> dict[str, Any]:
    text = completion if isinstance(completion, str) else compact_json(completion)
    row = {"id": "R-7", "prompt": SAMPLE, "tools": OFFERED, "completion": [{"role": "assistant", "content": text}]}
    return row | columns


@pytest.mark.parametrize(
    ("family", "completion"),
    [
        ("llama-3.2-3b", TWO),
        ("qwen3-0.6b", [{"name": "mend", "arguments": "{}"}]),
        ("qwen3-0.6b", [{"name": 'me"nd', "arguments": {}}]),
    ],
)
def test_a_record_that_the_template_can_not_write_is_named(
    tokenizers: dict[str, Any], family: str, completion: Any
) -> None:
    with refused("set task.tool_format to json", file=TRAIN, field="completion") as caught:
        with_calls(tokenizers[family], FAMILIES[family], row_of(completion), "completion", TRAIN)
    assert "record 'R-7'" in str(caught.value)


@pytest.mark.parametrize("text", ["[]", '{"refuse":true}', "Nothing fits.", "[" * 9999])
def test_what_calls_nothing_stays_a_text(tokenizers: dict[str, Any], text: str) -> None:
    row = row_of(text)
    for family, form in FAMILIES.items():
        assert with_calls(tokenizers[family], form, row, "completion", TRAIN) == row["completion"]


def workspace(folder: Path, family: str, monkeypatch: pytest.MonkeyPatch, **overrides: Any) -> Params:
    """As in `tests/test_families.py`, for a task of calls in the family's form."""
    params = made(folder, family, monkeypatch, **(TEMPLATE | overrides))
    Path(params.task.schema_file or "").write_text(json.dumps(SCHEMA), encoding="utf-8")
    return params


def test_base_refuses_a_template_without_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = workspace(tmp_path, "phi-3.5-mini", monkeypatch)
    with refused("set it to json"):
        base.run(params)
    assert not BASE.exists()


# What a corpus may offer: types as Python names them, and no description.
MIXED = [
    {"name": "mend", "parameters": {"type": "dict", "properties": {"item": {"type": "str"}}}},
    {"function": {"name": "send"}},
]
AS_READ = [
    {"type": "function", "function": {"name": "mend", "description": "", "parameters": {"type": "object", "properties": {"item": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "send", "description": "", "parameters": {"type": "object", "properties": {}}}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "tool_format"),
    [
        ("llama-3.2-3b", "json"),
        *((family, "template") for family in FAMILIES),
        *(pytest.param(family, "json", marks=pytest.mark.full) for family in KNOWN if family != "llama-3.2-3b"),
    ],
)
def test_a_record_and_a_live_request_make_the_same_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, tool_format: str
) -> None:
    """In training, evaluation, the counts of tokens, the harness's task, and through gateway and admission to a server."""
    from transformers.cli.serving.utils import BaseHandler, Modality

    from hallmark.answer.answers import prompts_of
    from hallmark.answer.generation import LocalModel
    from hallmark.commands.harness_task import in_text
    from hallmark.model.lengths import prompt_lengths
    from hallmark.model.tokenized import tokenized_records
    from hallmark.plan.lengths import counter

    params = workspace(tmp_path, family, monkeypatch, **{"task.tool_format": tool_format} | MASKED_BY_RULES)
    row = {"id": "R-1", "group": "g", "prompt": "mend it, says bo@x.example", "target": [ONE], "tools": MIXED}
    give_records(Path(), [row])
    mask.run(params)
    pl.read_parquet(MASKED).drop("source", "part").write_parquet(HOLDOUT)
    base.run(params)
    tokenizer = load_tokenizer(BASE)
    (record,) = pl.read_parquet(HOLDOUT).rows(named=True)
    assert json.loads(record["tools"]) == AS_READ

    model = load_base(BASE, dtype="float32", attention="eager", device="cpu")
    local = LocalModel(model, tokenizer, batch_size=2, max_new_tokens=8)
    asked = local.text(prompts_of([record])[0])
    if tool_format == "json":
        shown = f"{params.task.system_prompt}\n\nTools: {json.dumps(AS_READ)}"
        assert asked.partition(shown)[2].lstrip().startswith(("<", row["prompt"][:7])), "the next turn, or its text"
    assert asked.count('"name": "mend"') == asked.count("<EMAIL_1>") == 1
    trained = tokenized_records(HOLDOUT, tokenizer, params)
    start = next(place for place, label in enumerate(trained[0]["labels"]) if label != IGNORED)
    assert trained[0]["input_ids"][:start] == local.encode(asked)
    assert in_text(prompts_of([record])) == [{"prompt": asked}]
    assert prompt_lengths([record], tokenizer) == [start]
    # `propose` may count with a base that was settled for other params, or not at all.
    for folder in (BASE,) if params.base.chat_template_kwargs else (BASE, Path("tiny")):
        assert counter(params.task, folder)[0]([record])[0] == [start]

    gateway, inner = Gateway(), Inner()
    system = {"role": "system", "content": params.task.system_prompt}
    live = {"messages": [system, {"role": "user", "content": row["prompt"]}], "tools": MIXED}
    assert ask_gateway(gateway, {"model": "tuned"} | live).status_code == 200
    body = {"model": "tuned"} | gateway.models.asked[0]
    assert ask(guarded(inner, Limits(("tuned",), lambda: 10_000)), body).status_code == 200
    (sent,) = inner.asked
    messages = BaseHandler.get_processor_inputs_from_messages(sent["messages"], Modality.LLM)
    options: dict[str, Any] = {"tools": sent["tools"], "add_generation_prompt": True, "tokenize": False}
    assert tokenizer.apply_chat_template(messages, **options) == asked


def test_without_tools_the_template_writes_what_it_wrote(tokenizers: dict[str, Any]) -> None:
    task = TaskParams.model_construct(tool_format="json")
    for tokenizer in tokenizers.values():
        template = with_tools(tokenizer.chat_template, task)
        assert template == with_tools(template, task) != tokenizer.chat_template, "once"
        for messages in (SAMPLE, SAMPLE[1:], [*SAMPLE, {"role": "assistant", "content": "Hi"}]):
            for tools in (None, []):
                assert render(tokenizer, messages, tools=tools, chat_template=template) == render(tokenizer, messages)
    assert with_tools("x", TaskParams.model_construct(tool_format="template")) == "x"


@pytest.mark.parametrize("name", ["qwen3", "llama3_2", "phi3_5", "glm4moe", "gptoss"])
def test_the_published_templates_show_tools_as_json(tokenizers: dict[str, Any], name: str) -> None:
    """The same as with a system message that has them, with or without one of the caller's."""
    import trl

    tokenizer = tokenizers["llama-3.2-3b" if "llama" in name else "qwen3-0.6b"]
    head = "{% set enable_thinking = false %}{% set date_string = '26 Jul 2024' %}"
    text = head + (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    template, shown = with_tools(text, TaskParams.model_construct(tool_format="json")), f"Tools: {json.dumps(TOOLS)}"
    for messages, system in ((SAMPLE, f"Be brief.\n\n{shown}"), (SAMPLE[1:], shown)):
        same = [{"role": "system", "content": system}, SAMPLE[1]]
        plain = render(tokenizer, same, chat_template=text, add_generation_prompt=True)
        assert shown in plain
        assert render(tokenizer, messages, tools=TOOLS, chat_template=template, add_generation_prompt=True) == plain
