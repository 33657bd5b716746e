"""The Hugging Face model card of a release: what it is, what it was measured to do, and what it can't do.

It is made from reports and params only, never from a record, so no text of the data can get into it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.figures import percent, rate, share
from hallmark.base.outcomes import in_words
from hallmark.judge.cascade import HUMAN, CascadeReport
from hallmark.judge.reported import passes_per_step
from hallmark.judge.results import Results
from hallmark.judge.tables import Table
from hallmark.judge.verdict import PASS, VERDICTS, WAIVED, Rule, Verdict
from hallmark.model.base_params import HubBase
from hallmark.release.usage import base_words, usage

if TYPE_CHECKING:
    from hallmark.judge.params import Certify
    from hallmark.params.loader import Params

FILL_IN = "FILL-IN"  # what `propose` writes where only the user knows what the card should say
CARD_SAYS = {
    "intended_use": "in a sentence what the model is for",
    "limits": "what a person must know before they rely on it, such as what it has never seen",
    "languages": "the codes of the languages that it reads, such as en",
}


def unfilled(certify: Certify, file: Path) -> list[str]:
    """What nobody has said yet of these data: the line of the params file, its param, and what to write for `FILL_IN`."""
    text, found = file.read_text(encoding="utf-8"), []
    for name in (name for name, value in certify if FILL_IN in str(value)):
        place = re.search(rf"^certify:.*?^ +{name}:.*?{FILL_IN}", text, re.MULTILINE | re.DOTALL)
        line = f"line {text[: place.end()].count(chr(10)) + 1}, " if place else ""
        found.append(f"{line}certify.{name} is {FILL_IN}: write {CARD_SAYS.get(name, 'what is true of it')}")
    return found


def model_card(params: Params, results: Results, reports: dict[str, Any], private_data: dict[str, int]) -> str:
    """The card as Markdown with a YAML head.

    `reports` has the JSON of base and dpo; `rows`, the number of records of each part of the split; `ends`, the tokens that
    end an answer; `installed`, the versions of libraries; and `given`, what records have besides the prompt. `private_data` counts the private data that the check saw in
    the predictions, by kind.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name, base = params.certify.name, base_words(params.base, reports["base"])
    on_hub = isinstance(params.base, HubBase)
    head = ModelCardData(
        model_name=name,
        base_model=params.base.name if on_hub else None,
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
                metric_type=hub,
                metric_name=measure.words,
                metric_value=measure.tuned.value,
            )
            for measure, hub in results.hub_metrics
        ],
        base_model_relation="adapter" if on_hub else None,
    )
    sections = [
        f"---\n{head.to_yaml(line_break=chr(10))}\n---",
        _first_line(results.verdict),
        f"# {name}",
        f"{params.certify.intended_use.strip()}\n\nA LoRA adapter, licence {params.base.licence} (`LICENSE`), for {base}.\n\n"
        "`provenance.json` says what it was made of, file by file; `verdict.json` holds the gate's verdict; "
        "`sbom.cdx.json` is its bill of materials.",
    ]
    decision, options, shipped = results.decision, results.options, results.shipped
    for title, text in (
        (
            "Use",
            usage(
                params, reports["base"], reports.get("ends", []), reports.get("installed", {}), reports.get("given", ())
            ),
        ),
        ("Results", _results(results)),
        ("What to use", f"{_plain(decision.words)}\n\n{_whole(options)}" if decision and options else ""),
        ("What ships", f"{_whole(shipped)} Speed: {results.served_measured}." if shipped else ""),
        ("Failures", _failures(results)),
        ("Gate", _gate(results.verdict)),
        ("Cascade", _cascade(reports.get("cascade"))),
        ("Data", _data(reports["rows"])),
        ("Training", _training(params, reports["dpo"])),
        ("Limits", _limits(params, results.comparison.records, private_data)),
        ("Rebuild and check", _rebuild(base)),
    ):
        sections += [f"## {title}\n\n{text}"] if text else []
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _first_line(gate: Verdict) -> str:
    if gate.verdict == PASS:
        return "**The gate passed this adapter.**"
    verdict = VERDICTS[gate.verdict].lower()
    if gate.verdict == WAIVED:
        waived = "\n".join(f"- {_waived(rule)}" for rule in gate.waived)
        return f"**The gate passed this adapter only with waivers (verdict: {verdict}).**\n\n{waived}"
    return f"**The gate did not pass this adapter (verdict: {verdict}). Do not release it.** {_plain(gate.words)}"


def _waived(rule: Rule) -> str:
    """A waived rule, in red: a hub keeps the colour, and any page keeps the sign."""
    reason = _plain(f"{rule.about}: {VERDICTS[rule.outcome].lower()}, waived because: {rule.waiver}")
    return f'<span style="color: #c00">🔴 {reason}</span>'


def _plain(text: str) -> str:
    """A text as it stands, on one line: what would be HTML, Markdown or a link in it is escaped, and nothing else."""
    line = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.split())).replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", r"\\\g<0>", line)


def _results(results: Results) -> str:
    comparison = results.comparison
    rows = [("Records", *(str(column.records) for column in results.models))]
    rows += [(row.words, *(share(column.measures[row.name]) for column in results.models)) for row in results.measures]
    note = f"On {comparison.records} holdout records of {comparison.groups} groups that training never saw"
    note += "".join(
        f"; {model.title} answered {model.records} of them, drawn evenly by group"
        for model in results.models
        if model.records < comparison.records
    )
    note += "".join(f"; {column.title}: {column.opponent}" for column in results.models[1:-1])
    note += f"; {percent(comparison.confidence)} intervals in brackets."
    tuned = results.benchmark.first("tuned")
    if tuned and (latency := tuned.latency_s) and latency.p50 is not None and latency.p95 is not None:
        speed = f"latency p50 {latency.p50:.4g} s, p95 {latency.p95:.4g} s, "
        speed += f"output {tuned.output_tokens_per_second:.4g} tokens/s"
        note += f" Served: {speed} ({results.served_measured})."
    return _table(("Metric", *(column.title for column in results.models)), rows) + "\n\n" + note


def _failures(results: Results) -> str:
    if not results.failures:
        return "None was counted."
    tuned = results.models[-1].failed
    names = sorted(results.failures, key=lambda name: (-tuned[name], in_words(name)))
    heads = [f"{model.title}, of {model.records}" for model in results.models]
    rows = [(in_words(name), *(str(model.failed[name]) for model in results.models)) for name in names]
    return _table(("Class", *heads), rows)


def _gate(gate: Verdict) -> str:
    rows = [(rule.about, rule.needed, f"{rule.measured}. {rule.note}", VERDICTS[rule.outcome]) for rule in gate.rules]
    waived = "".join(f"\n\n{_waived(rule)}" for rule in gate.waived)
    table = _table(("Rule", "Needed", "Measured", "Outcome"), rows)
    return f"Verdict: **{VERDICTS[gate.verdict].lower()}**.{waived}\n\n{table}"


def _cascade(report: CascadeReport | None) -> str:
    """What `cascade.json` promises and what it does not; empty without a threshold."""
    chosen = report.chosen if report else None
    if report is None or chosen is None or chosen.holdout is None:
        return ""
    found, bound = chosen.holdout, chosen.bound
    rest = "A person" if report.fallback == HUMAN else f"The comparator {_plain(report.fallback)}"
    return (
        "`cascade.json` has the lowest score at which this adapter should answer, and how to compute the score from the "
        f"log-probabilities of an answer's tokens. {rest} answers the rest.\n\n"
        f"With {percent(report.confidence)} confidence, at most {percent(chosen.risk)} of the answers that a customer gets are "
        f"wrong, on average over customers who get any. It was shown on {bound.groups} customers that neither training nor the "
        f"score had seen; the adapter answered {rate(bound.coverage)} of their records. On the holdout it answers "
        f"{share(found.coverage)} of the records; of these answers {share(found.risk)} are wrong.\n\n"
        "The bound holds for customers like these. It says nothing about a single customer or a single answer, "
        "nor about other kinds of text, and it does not hold for a merged or quantized model whose log-probabilities differ."
    )


def _data(records: dict[str, int]) -> str:
    parts = ("train", "validation", "calibration", "holdout", "online")
    counts = [(name, str(records[name])) for name in parts if records.get(name)]
    lines = [_table(("Split", "Records"), counts)] if counts else []
    lines.append(
        "The private data that was found was masked before anything else read the records. Near duplicates were "
        "dropped, and no two splits share a group or a near duplicate. The data is not part of this "
        "release; its hashes are in `provenance.json`."
    )
    return "\n\n".join(lines)


def _training(params: Params, dpo: Any) -> str:
    sft, lora = params.sft, params.sft.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else ", ".join(lora.target_modules)
    rows = [
        ("Method", {"qlora": "QLoRA (NF4, double quantization)", "lora": "LoRA"}[sft.method]),
        ("Rank, alpha, dropout", f"{lora.r}, {_number(lora.alpha)}, {_number(lora.dropout)}"),
        ("Target modules", modules),
        ("Learning rate, schedule", f"{_number(sft.learning_rate)}, {sft.lr_scheduler}"),
        ("Records a step", str(sft.batch_size * passes_per_step(sft)))
        if sft.batch_tokens is None
        else ("Tokens a step, at most", str(sft.batch_tokens * passes_per_step(sft))),
        ("Computed in", sft.dtype),
        ("Seed", str(params.seed)),
    ]
    after = f"\n\n{dpo.words}" if dpo.words else ""
    return f"{_table(('Param', 'Value'), rows)}\n\nLoss on the completion only. All params are in `provenance.json`.{after}"


def _limits(params: Params, records: int, private_data: dict[str, int]) -> str:
    lines = list(params.certify.limits)
    lines.append(
        f"Measured on {records} records only; the intervals say how far the numbers can be off. "
        "Results on texts unlike the training data can be worse."
    )
    if params.task.schema_file:
        lines.append("An answer can be valid under the schema and still be wrong: see the failures above.")
    kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(private_data.items()))
    if kinds:
        lines.append(
            f"Some answers on the holdout look like private data ({kinds}); the same checks found none in the prompts, "
            "so it was probably made up."
        )
    else:
        lines.append(
            "Private data in the answers on the holdout: none found by these checks (patterns with check digits or a fixed "
            "form; they can't find names)."
        )
    return "\n".join(f"- {line}" for line in lines)


def _rebuild(base: str) -> str:
    return f"""In a clone of the repository, `check` finds the commit whose `dvc.lock` has this release (give the path of
your copy), and compares data, params and code:

```sh
python -m hallmark.commands.check models/release --clone .
```

At that commit, `verify` builds the same bytes again:

<!-- not run: builds everything again -->

```sh
python -m pip install nox
python -m nox -s verify
```

Base: {base}. `provenance.json` has the SHA-256 of each file."""


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _whole(table: Table) -> str:
    rows = f"{_table(table.head, table.rows)}\n\n" if table.rows else ""
    return f"{rows}{table.note}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
