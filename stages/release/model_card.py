"""The Hugging Face model card of a release: what it is, what it was measured to do, and what it can't do.

It is made from reports and params only, never from a record, so no text of the data can get into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stages.core.machine import when_and_where
from stages.models.params import HubBase

if TYPE_CHECKING:
    from stages.params.loader import Params

# (key in metrics.json, words, metric name on the Hugging Face hub)
METRICS = (
    ("schema_validity", "Valid under the schema", "schema_validity"),
    ("exact_match", "Exact match", "exact_match"),
    ("field_f1", "Field F1", "f1"),
    ("label_accuracy", "Label accuracy", "accuracy"),
    ("macro_f1", "Macro F1", "f1"),
    ("tool_names", "Right tools", "accuracy"),
    ("tool_calls", "Right tool calls", "accuracy"),
    ("token_f1", "Token F1", "f1"),
)


def model_card(params: Params, reports: dict[str, Any], private_data: dict[str, int]) -> str:
    """The card as Markdown with a YAML head.

    `reports` has the JSON of base, sft, dpo, base_metrics, tuned_metrics, benchmark, gate, mask, dedupe, split (a missing
    one is an empty dict); `private_data` counts what the private-data check found in the predictions, by kind.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name, base = params.certify.name, reports["base"]
    tuned = reports["tuned_metrics"]
    passed = reports["gate"].get("verdict") == "pass"
    head = ModelCardData(
        model_name=name,
        base_model=params.base.name,
        license=params.base.licence.lower(),
        language=list(params.certify.languages),
        library_name="peft",
        pipeline_tag="text-generation",
        tags=sorted({"lora", "hallmark", params.task.kind, *params.certify.tags}),
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type="holdout",
                dataset_name=f"{name} holdout",
                dataset_split="holdout",
                metric_type=hub_name,
                metric_name=words,
                metric_value=tuned[key]["value"],
            )
            for key, words, hub_name in METRICS
            if _measured(tuned, key)
        ],
        base_model_relation="adapter",
    )
    sections = [
        f"---\n{head.to_yaml(line_break=chr(10))}\n---",
        _first_line(reports["gate"], passed),
        f"# {name}",
        f"{params.certify.intended_use.strip()}\n\nA LoRA adapter for [{params.base.name}]"
        f"(https://huggingface.co/{params.base.name}), licence {params.base.licence}. "
        "`provenance.json` says what it was made of, file by file; `verdict.json` holds the gate's verdict; "
        "`sbom.cdx.json` is its bill of materials.",
        f"## Use\n\n{_use(params)}",
        f"## Results\n\n{_results(params, reports)}",
        f"## Failures\n\n{_failures(reports)}",
        f"## Gate\n\n{_gate(reports['gate'])}",
        f"## Data\n\n{_data(params, reports)}",
        f"## Training\n\n{_training(params, reports)}",
        f"## Limits\n\n{_limits(params, tuned, private_data)}",
        f"## Rebuild and check\n\n{_rebuild(base)}",
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _first_line(gate: dict[str, Any], passed: bool) -> str:
    if passed:
        return "**The gate passed this adapter.**"
    why = f" {gate['words'].strip()}" if gate.get("words") else ""
    return f"**The gate did not pass this adapter (verdict: {gate.get('verdict')}). Do not release it.**{why}"


def _use(params: Params) -> str:
    revision = f', revision="{params.base.revision}"' if isinstance(params.base, HubBase) else ""
    load = f'AutoModelForCausalLM.from_pretrained("{params.base.name}"{revision}, dtype="{params.sft.dtype}"'
    imports, note = "AutoModelForCausalLM, AutoTokenizer", ""
    if params.sft.method == "qlora":
        imports += ", BitsAndBytesConfig"
        load = f"""nf4 = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype="{params.sft.dtype}",
)
base = {load}, quantization_config=nf4).dequantize()"""
        note = (
            "It was trained over the base in 4-bit NF4 and has learned around that rounding, so the base is loaded "
            "with it; over the unrounded weights it is a worse model.\n\n"
        )
    else:
        load = f"base = {load})"
    tools = "tools=tools, " if params.data.tools else ""
    if params.task.tool_format == "template":
        note += "Calls of `tools` (JSON Schemas) come in the form of its chat template.\n\n"
    return f"""{note}```python
from peft import PeftModel
from transformers import {imports}

{load}
model = PeftModel.from_pretrained(base, ".")  # this folder
tokenizer = AutoTokenizer.from_pretrained(".")
messages = [{{"role": "system", "content": system_prompt}}, {{"role": "user", "content": text}}]
inputs = tokenizer.apply_chat_template(messages, {tools}add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, max_new_tokens={params.eval.max_new_tokens}, do_sample=False)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

The system prompt it was trained with:

{_fenced(params.task.system_prompt.strip())}"""


def _results(params: Params, reports: dict[str, Any]) -> str:
    base, tuned = reports["base_metrics"], reports["tuned_metrics"]
    rows = [
        (words, _interval(base.get(key)), _interval(tuned.get(key)))
        for key, words, _ in METRICS
        if _measured(base, key) or _measured(tuned, key)
    ]
    measured = reports["benchmark"].get("headline", {})
    speed = ", ".join(
        f"{words} {measured[key]:.4g}{unit}"
        for key, words, unit in (
            ("latency_p50_s", "latency p50", " s"),
            ("latency_p95_s", "p95", " s"),
            ("tokens_per_second", "output", " tokens/s"),
        )
        if isinstance(measured.get(key), int | float)
    )
    note = f"On {tuned.get('records', 0)} holdout records of {tuned.get('groups', 0)} groups that training never saw; "
    note += f"{100 * params.eval.confidence:g} % intervals in brackets."
    if speed:
        note += f" Served: {speed} ({when_and_where(reports['benchmark'])})."
    return _table(("Metric", "Base", "Tuned"), rows) + "\n\n" + note


def _failures(reports: dict[str, Any]) -> str:
    base, tuned = (reports[key].get("failures", {}) for key in ("base_metrics", "tuned_metrics"))
    classes = sorted({*base, *tuned}, key=lambda name: (-tuned.get(name, 0), name))
    if not classes:
        return "None was counted."
    return _table(
        ("Class", "Base", "Tuned"), [(name, str(base.get(name, 0)), str(tuned.get(name, 0))) for name in classes]
    )


def _gate(gate: dict[str, Any]) -> str:
    rows = [(rule["words"], rule["reason"], rule["outcome"].replace("_", " ")) for rule in gate["rules"]]
    return f"Verdict: **{gate['verdict'].replace('_', ' ')}**.\n\n" + _table(("Rule", "Found", "Outcome"), rows)


def _data(params: Params, reports: dict[str, Any]) -> str:
    counts = [(name, reports["rows"][name]) for name in ("train", "validation", "holdout") if name in reports["rows"]]
    lines = [_table(("Split", "Records"), [(name, str(rows)) for name, rows in counts])] if counts else []
    lines.append(
        "Private data was masked before anything else read the records; near duplicates were "
        f"joined; the splits do not share a `{params.data.group}` or a near duplicate. The data is not part of this "
        "release; its hashes are in `provenance.json`."
    )
    return "\n\n".join(lines)


def _training(params: Params, reports: dict[str, Any]) -> str:
    sft, lora = params.sft, params.sft.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else ", ".join(lora.target_modules)
    rows = [
        ("Method", {"qlora": "QLoRA (NF4, double quantization)", "lora": "LoRA"}[sft.method]),
        ("Rank, alpha, dropout", f"{lora.r}, {_number(lora.alpha)}, {_number(lora.dropout)}"),
        ("Target modules", modules),
        ("Learning rate, schedule", f"{_number(sft.learning_rate)}, {sft.schedule}"),
        ("Records a step", str(sft.batch_size * sft.accumulation * sft.parallel.processes)),
        ("Computed in", sft.dtype),
        ("Seed", str(params.seed)),
    ]
    after = f"\n\n{reports['dpo']['words']}" if reports["dpo"].get("enabled") else ""
    return f"{_table(('Param', 'Value'), rows)}\n\nLoss on the completion only. All params are in `provenance.json`.{after}"


def _limits(params: Params, tuned: dict[str, Any], private_data: dict[str, int]) -> str:
    lines = list(params.certify.limits)
    lines.append(
        f"Measured on {tuned.get('records', 0)} records only; the intervals say how far the numbers can be off. "
        "Texts unlike the training data can do worse."
    )
    if params.task.schema_file:
        lines.append("An answer can be valid under the schema and still be wrong: see the failures above.")
    found = ", ".join(f"{kind}: {count}" for kind, count in sorted(private_data.items()))
    if found:
        lines.append(
            f"Some answers on the holdout look like private data ({found}); the prompts held none, so it was made up."
        )
    else:
        lines.append(
            "No answer on the holdout looks like private data (patterns with check digits; names are not among them)."
        )
    return "\n".join(f"- {line}" for line in lines)


def _rebuild(base: dict[str, Any]) -> str:
    return f"""With a clone of the repository, `--check` finds the commit whose `dvc.lock` has this release, and
compares data, params and code; `verify` at that commit makes the same bytes again:

```sh
python -m pip install nox
python -m stages.certify --check path/to/this/folder --clone .
python -m nox -s verify
```

Base weights: `{base.get("name")}` at revision `{base.get("revision")}`, SHA-256 of each file in `provenance.json`."""


def _measured(metrics: dict[str, Any], key: str) -> bool:
    return isinstance(metrics.get(key), dict) and metrics[key].get("value") is not None


def _interval(metric: dict[str, Any] | None) -> str:
    """`80.0 % (76.0 to 84.0)` of a measure between 0 and 1."""
    if not metric or metric.get("value") is None:
        return "not measured"
    value, low, high = (100 * metric[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
