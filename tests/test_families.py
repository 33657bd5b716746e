"""Each family that a repo can start from, through `base`, `sft`, `eval`, merge and reload, as a tiny model of its kind.

The models are those of `tests/families.py`; what is peculiar to a family stands in the file that a stamped repo takes
over (`template/choices/bases/`), so that these are what is tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from hallmark.base.errors import HallmarkError
from hallmark.base.files import ADAPTER, BASE, HOLDOUT, QUANTIZED, REPORTS, TRAIN, VALIDATION
from hallmark.base.reading import read_json
from hallmark.base.records import schema, write_records
from hallmark.model.chat_template import end_of_turn, render, tokenize
from hallmark.model.loading import IGNORED, load_base, load_tokenizer, load_tuned
from hallmark.params.loader import Params, load_params
from stages import base, dpo, quantize, sft
from stages import eval as stage_eval
from tests.families import FAMILIES, make_family
from tests.rows import record, refused
from tests.workspace import ROOT, TINY, make_workspace

QLORA = ("smollm2-135m", "llama-3.2-3b")  # the others: LoRA
ANSWERS = [{"role": "assistant", "content": '{"intent":"refuse"}'}]
AGREE = {"atol": 2e-4, "rtol": 0}  # of logits between about -4 and 4, in fp32


def records(count: int) -> pl.DataFrame:
    """Records that all have the same answer, which a tiny model can learn."""
    texts = [f"{number} my kettle is broken" + " again" * (number % 4) for number in range(count)]
    answer = ANSWERS[0]["content"]
    rows = [record(f"T-{number}", text, answer, f"C-{number % 3}") for number, text in enumerate(texts)]
    return pl.DataFrame(rows, schema=schema())


def choice(family: str) -> dict[str, Any]:
    """What a stamped repo takes over for a family, or for a base of one's own."""
    own, file = (ROOT / f"template/choices/bases/{name}.yaml" for name in ("own", family))
    return YAML(typ="safe").load((file if file.exists() else own).read_text(encoding="utf-8")) or {}


def made(folder: Path, family: str, monkeypatch: pytest.MonkeyPatch, **overrides: Any) -> Params:
    """The parameters of a workspace, which is then the current folder, whose base is the tiny model of the family."""
    chosen = choice(family)
    kwargs = chosen.pop("base", {}).get("chat_template_kwargs", {})
    base = {"source": "folder", "name": family, "licence": "mit", "path": "tiny", "chat_template_kwargs": kwargs}
    method = "qlora" if family in QLORA else "lora"
    fast = {"sft.dtype": "float32", "sft.learning_rate": 0.02, "sft.method": method, "eval.dtype": "float32"}
    steps = {"sft.max_steps": 40, "sft.eval_steps": 40, "sft.lora.r": 16}
    make_workspace(folder, TINY | chosen | {"base": base} | fast | steps | overrides, rows=1)
    make_family(family, folder / "tiny")
    monkeypatch.chdir(folder)
    for file, count in ((TRAIN, 24), (VALIDATION, 4), (HOLDOUT, 5)):
        write_records(file, records(count))
    return load_params()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.full
def test_a_family_goes_all_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """It learns one answer and to stop after it, and gives it with the adapter separate, merged, and reloaded."""
    import torch

    from hallmark.model.loading import write_merged

    params = made(tmp_path, family, monkeypatch)
    base.run(params)
    quantize.run(params)
    sft.run(params)
    dpo.run(params)
    stage_eval.run(params, "tuned")
    rows = [json.loads(line) for line in (REPORTS / "eval/tuned/predictions.jsonl").read_text().splitlines()]
    assert {(row["prediction"], row["finish"]) for row in rows} == {('{"intent":"refuse"}', "stop")}

    options: dict[str, Any] = {"dtype": "float32", "attention": "eager", "device": "cpu"}
    tokenizer = load_tokenizer(BASE)
    prompt = records(1)["prompt"][0].to_list()
    ids = torch.tensor([tokenize(tokenizer, prompt, ANSWERS)[0]])
    separate = load_tuned(QUANTIZED, ADAPTER, **options, merge=False)
    write_merged(ADAPTER, QUANTIZED, "float32", Path("merged"))
    merged = load_base(Path("merged"), **options)
    with torch.no_grad():
        expected = separate(input_ids=ids).logits
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, **AGREE)
        assert (load_base(BASE, **options)(input_ids=ids).logits - expected).abs().max() > 1, (
            "the adapter does something"
        )
    again = load_tokenizer(Path("merged"))
    assert tokenize(again, prompt, ANSWERS) == tokenize(tokenizer, prompt, ANSWERS)
    written = merged.generate(
        torch.tensor([render(again, prompt, tokenize=True, add_generation_prompt=True)]),
        max_new_tokens=40,
        do_sample=False,
    )
    assert written[0, -1] == end_of_turn(tokenizer), "whatever loads the merged folder stops there"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_trained_is_what_is_asked_and_the_answer_with_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    from hallmark.answer.answers import prompts_of
    from hallmark.answer.decoding import padded
    from hallmark.answer.generation import LocalModel
    from hallmark.model.tokenized import tokenized_records

    params = made(tmp_path, family, monkeypatch)
    base.run(params)
    tokenizer = load_tokenizer(BASE)
    model = load_base(BASE, dtype="float32", attention="eager", device="cpu")
    local = LocalModel(model, tokenizer, batch_size=2, max_new_tokens=8)
    trained = tokenized_records(HOLDOUT, tokenizer, params)
    due = records(5).rows(named=True)
    asked = [local.text(prompt) for prompt in prompts_of(due)]
    batch, mask = padded([local.encode(text) for text in asked], tokenizer.pad_token_id)
    for row, text, ids, kept in zip(trained, asked, batch.tolist(), mask.tolist(), strict=True):
        start = next(place for place, label in enumerate(row["labels"]) if label != IGNORED)
        assert row["labels"] == [IGNORED] * start + row["input_ids"][start:]
        assert local.encode(text) == row["input_ids"][:start]
        assert [token for token, keep in zip(ids, kept, strict=True) if keep] == row["input_ids"][:start]
        said = tokenizer.decode(row["labels"][start:])
        end = tokenizer.decode([end_of_turn(tokenizer)])
        assert said.startswith('{"intent":"refuse"}' + end), "nothing before the answer, and the end is trained"
        assert family != "llama-3.2-3b" or row["input_ids"].count(tokenizer.bos_token_id) == 1, "not once more"
    assert end_of_turn(tokenizer) in local.ends


@pytest.mark.parametrize("family", FAMILIES)
def test_all_linear_and_the_family_s_names_are_the_same_matrices(tmp_path: Path, family: str) -> None:
    from peft import get_peft_model

    from hallmark.model.lora import lora_config
    from hallmark.model.params import Lora

    folder = make_family(family, tmp_path / "tiny")

    def adapted(modules: str | list[str], layers: int | None) -> set[str]:
        model = load_base(folder, dtype="float32", attention="eager", device="cpu")
        lora = Lora(r=4, alpha=8, dropout=0.0, target_modules=modules, layers=layers)
        tuned = get_peft_model(model, lora_config(model, lora))
        return {name.split(".lora_A")[0] for name, _ in tuned.named_parameters() if ".lora_A" in name}

    names = choice(family).get("sft.lora.target_modules", "all-linear")
    every = adapted("all-linear", None)
    assert adapted(names, None) == every
    assert adapted(names, 1) == adapted("all-linear", 1) == {name for name in every if ".layers.1." in name}
    assert len(every) == 2 * (4 if family == "phi-3.5-mini" else 7)
    with refused(field="sft.lora.layers"):
        adapted(names, 3)


def test_names_of_another_family_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT would silently adapt only the two that exist."""
    names = choice("llama-3.2-3b")["sft.lora.target_modules"]
    params = made(tmp_path, "phi-3.5-mini", monkeypatch, **{"sft.lora.target_modules": names})
    base.run(params)
    quantize.run(params)
    with refused("down_proj, gate_up_proj, o_proj, qkv_proj"):
        sft.run(params)


def test_what_the_template_reads_is_fixed_for_all_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"enable_thinking": False, "text": 'a "b" \\ \n{{ ü }} 😀', "number": 1.5}
    params = made(tmp_path, "qwen3-0.6b", monkeypatch, **{"base.chat_template_kwargs": odd})
    base.run(params)
    tokenizer = load_tokenizer(BASE)
    prompt = records(1)["prompt"][0].to_list()
    for asked in ({}, {"enable_thinking": True}):
        text = render(tokenizer, prompt, add_generation_prompt=True, **asked)
        assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    written = tokenizer.get_chat_template() + "{{ text ~ number }}"
    assert render(tokenizer, prompt, chat_template=written).endswith(str(odd["text"]) + "1.5")


def test_a_prompt_that_changes_once_it_is_answered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where thinking is begun for the model, and a finished answer is written without it."""
    params = made(tmp_path, "qwen3-0.6b", monkeypatch)
    file = tmp_path / "tiny/chat_template.jinja"
    text = file.read_text(encoding="utf-8").replace("{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}", "{{ '<think>\\n' }}{% endif %}{% endif %}")  # fmt: skip
    file.write_text(text.replace("loop.last", "false"), encoding="utf-8")
    base.run(params)
    with pytest.raises(HallmarkError, match="<think>"):
        sft.run(params)


def test_generation_stops_where_the_template_ends_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose configuration names only the end of a whole text: `base` adds the end of a turn."""
    params = made(tmp_path, "phi-3.5-mini", monkeypatch)
    (tmp_path / "tiny/generation_config.json").unlink()
    base.run(params)
    assert read_json(BASE / "generation_config.json")["eos_token_id"] == [0, 4]
    template = tmp_path / "tiny/chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8").replace("<|end|>", ""), encoding="utf-8")
    base.run(params)  # what is left ends in the end of the text
    template.write_text(template.read_text(encoding="utf-8").replace("{{ eos_token }}", ""), encoding="utf-8")
    with pytest.raises(HallmarkError, match="could not learn to stop"):
        base.run(params)
