"""The one typed loader of `params.yaml`: `load_params()` checks every key and type, or says what to mend.

No field has a default and no value is changed on the way, so `params.yaml` alone decides what runs. That is why
this module is not a dependency in `dvc.yaml`: DVC tracks the values themselves. YAML is read as version 1.2, as
DVC reads it, so `2e-4` is a number to both.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.errors import HallmarkError

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1)]
Kind = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z_]*[A-Z]$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _compiles(regex: str) -> str:
    try:
        re.compile(regex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return regex


Regex = Annotated[str, StringConstraints(min_length=1), AfterValidator(_compiles)]


class Block(BaseModel):
    """A strict block: unknown keys and wrong types are errors; nothing is coerced but an integer to a float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Compute(Block):
    device: Literal["cpu", "cuda"]
    threads: Positive
    portable: bool

    @model_validator(mode="after")
    def _portable_on_cpu(self) -> Compute:
        if self.portable and self.device != "cpu":
            raise ValueError("compute.portable: is for device cpu; another GPU gives other bytes whatever is set")
        return self


class Data(Block):
    path: Text
    id: Text
    group: Text
    input: Text
    target: Text | list[Text]
    context: Text | None
    tools: Text | None
    rejected: Text | None
    tags: Text | None


class Task(Block):
    kind: Literal["extraction", "classification", "tool_call", "text"]
    system_prompt: Text
    schema_file: Text | None = Field(alias="schema")
    tool_format: Literal["json", "template"]
    refusal: Text | None

    @model_validator(mode="after")
    def _schema_where_needed(self) -> Task:
        if self.kind != "text" and self.schema_file is None:
            raise ValueError(f"task.schema: a {self.kind} task needs a JSON Schema file")
        return self

    @model_validator(mode="after")
    def _calls_where_they_are_formatted(self) -> Task:
        if self.tool_format == "template" and self.kind != "tool_call":
            raise ValueError("task.tool_format: only tasks of kind tool_call have calls; set it to json")
        return self


class Ner(Block):
    engine: Literal["spacy", "transformers", "gliner", "none"]
    model: Text | None

    @model_validator(mode="after")
    def _model_where_needed(self) -> Ner:
        if (self.engine == "none") != (self.model is None):
            raise ValueError("mask.ner.model: name a model, or null with engine none")
        return self


class Pattern(Block):
    kind: Kind
    regex: Regex


class Mask(Block):
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
    ner: Ner
    identity_columns: dict[Text, Kind]
    style: Literal["placeholder", "surrogate"]
    actions: dict[Kind, Literal["placeholder", "surrogate", "keep", "drop"]]
    dates_before: Annotated[int, Field(ge=1000, le=9999)] | None
    deny: list[Text]
    allow: list[Text]
    patterns: list[Pattern]
    secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None
    max_chars: Positive
    window: Annotated[int, Field(ge=200)]
    workers: Positive
    gold: Text | None

    @model_validator(mode="after")
    def _secret_where_needed(self) -> Mask:
        if self.secret is None and (self.style == "surrogate" or "surrogate" in self.actions.values()):
            raise ValueError("mask.secret: surrogates need the name of an environment variable that holds a secret")
        return self


class AnyBase(Block):
    name: Text
    licence: Text
    chat_template_kwargs: dict[Variable, bool | int | float | str]


class PackageBase(AnyBase):
    source: Literal["package"]
    package: Text
    file: Text
    sha256: Sha256


class HubBase(AnyBase):
    source: Literal["hub"]
    revision: Annotated[
        str, StringConstraints(pattern=r"^[0-9a-f]{40}$"), Field(description="a full 40-digit commit hash")
    ]


class FolderBase(AnyBase):
    source: Literal["folder"]
    path: Text


class Sft(Block):
    method: Literal["qlora", "lora"]
    lora: Lora
    dequantize_once: bool
    length_power: Annotated[float, Field(ge=0, le=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    batch_size: Positive
    accumulation: Positive
    epochs: Annotated[float, Field(gt=0)]
    max_steps: Positive | None
    gradient_checkpointing: bool
    dtype: Literal["bfloat16", "float32"]
    attention: Literal["eager", "sdpa"]
    max_length: Positive
    too_long: Literal["error", "drop"]
    eval_steps: Positive
    parallel: Parallel


class Lora(Block):
    r: Positive
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: Text | list[Text]
    layers: Positive | None


class Parallel(Block):
    processes: Positive
    strategy: Literal["ddp", "fsdp"]


class Dpo(Block):
    enabled: bool
    loss: Literal["sigmoid", "ipo", "robust"]
    beta: Annotated[float, Field(gt=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Positive
    accumulation: Positive
    epochs: Annotated[float, Field(gt=0)]
    max_steps: Positive | None
    max_length: Positive
    too_long: Literal["error", "drop"]
    eval_steps: Positive

    @model_validator(mode="after")
    def _smoothing_where_it_counts(self) -> Dpo:
        if self.label_smoothing and self.loss != "robust":
            raise ValueError("dpo.label_smoothing: only dpo.loss robust has it; with another it is 0")
        return self


class Dedupe(Block):
    over: Literal["prompt", "prompt_and_completion"]
    shingle: Annotated[int, Field(ge=2, le=32)]
    threshold: Annotated[float, Field(ge=0.3, le=1)]
    permutations: Annotated[int, Field(ge=32, le=1024)]
    conflicts: Literal["drop", "majority", "keep"]
    max_cluster: Positive
    gold: Text | None


class Split(Block):
    holdout: Share
    validation: Share
    salt: Text

    @model_validator(mode="after")
    def _something_left_for_training(self) -> Split:
        if self.holdout + self.validation >= 1:
            raise ValueError(
                "split.holdout and split.validation: together under 1, so that something is left for training"
            )
        return self


class TransformersServer(Block):
    kind: Literal["transformers"]
    port: Annotated[int, Field(ge=0, le=65535)]
    dtype: Literal["bfloat16", "float16", "float32"]
    attention: Literal["eager", "sdpa", "flash_attention_2"]
    cache_blocks: Positive | None
    batch_tokens: Positive
    startup_timeout: Positive


class VllmServer(Block):
    kind: Literal["vllm"]
    python: Text
    port: Annotated[int, Field(ge=0, le=65535)]
    dtype: Literal["bfloat16", "float16", "float32"]
    adapter: Literal["merged", "lora"]
    max_length: Positive
    max_num_seqs: Positive
    cache_gib: Annotated[float, Field(gt=0)]
    prefix_cache: bool
    startup_timeout: Positive


class EndpointServer(Block):
    kind: Literal["endpoint"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    names: dict[str, Text]


class Objective(Block):
    ttft: Annotated[float, Field(gt=0)]
    latency: Annotated[float, Field(gt=0)]
    share: Annotated[float, Field(gt=0, le=1)]


class Search(Block):
    max_concurrency: Positive


class Benchmark(Block):
    server: Annotated[TransformersServer | VllmServer | EndpointServer, Field(discriminator="kind")]
    models: Annotated[list[Literal["base", "tuned"]], Field(min_length=1)]
    requests: Positive
    warmup: Positive
    concurrency: list[Positive]
    rates: list[Annotated[float, Field(gt=0)]]
    search: Search | None
    max_tokens: Positive
    timeout: Annotated[float, Field(gt=0)]
    objective: Objective
    price_per_hour: Annotated[float, Field(ge=0)] | None

    @model_validator(mode="after")
    def _complete(self) -> Benchmark:
        if not self.concurrency and not self.rates:
            raise ValueError("benchmark: give a level in concurrency or in rates")
        if isinstance(self.server, EndpointServer) and (lost := set(self.models) - set(self.server.names)):
            raise ValueError(f"benchmark.server.names: name the model to ask for as {', '.join(sorted(lost))}")
        if len(set(self.models)) < len(self.models):
            raise ValueError("benchmark.models: a model is named twice")
        return self


class Certify(Block):
    name: Text
    languages: list[Text]
    tags: list[Text]
    intended_use: Text
    limits: list[Text]
    private_data: Literal["error", "count"]


# Worst first: what does harm without a word stands before what a consumer's parser catches.
FailureClass = Literal[
    "unsafe_answer",
    "missed_refusal",
    "hallucination",
    "wrong_value",
    "omission",
    "wrong_refusal",
    "wrong_format",
]
Measure = Literal[
    "parses",
    "schema_validity",
    "exact_match",
    "field_precision",
    "field_recall",
    "field_f1",
    "span_strict_f1",
    "span_exact_f1",
    "span_partial_f1",
    "span_type_f1",
    "macro_f1",
]
Limit = Annotated[float, Field(ge=0, le=1)]


class HfEngine(Block):
    kind: Literal["hf"]


class EndpointEngine(Block):
    kind: Literal["endpoint"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    names: dict[Text, Text]
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None
    concurrency: Positive
    timeout: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _both_models(self) -> EndpointEngine:
        if lost := {"base", "tuned"} - set(self.names):
            raise ValueError(f"eval.engine.names: name the model to ask for as {', '.join(sorted(lost))}")
        return self


class VllmEngine(VllmServer):
    concurrency: Positive
    timeout: Annotated[float, Field(gt=0)]


class General(Block):
    tasks: list[Text]
    folder: Text | None
    limit: Positive | None


class Eval(Block):
    engine: Annotated[HfEngine | EndpointEngine | VllmEngine, Field(discriminator="kind")]
    batch_size: Positive
    max_new_tokens: Positive
    dtype: Literal["bfloat16", "float32"]
    attention: Literal["eager", "sdpa"]
    merge: bool
    again: NotNegative
    constrained: NotNegative
    spans: list[Text]
    general: General
    confidence: Share
    draws: Annotated[int, Field(ge=200)]
    policy: dict[Text, Regex]
    facts: dict[Text, Regex]

    @model_validator(mode="after")
    def _likelihoods_for_general_tasks(self) -> Eval:
        if self.general.tasks and self.engine.kind != "hf":
            raise ValueError("eval.general.tasks: the chat API gives no likelihoods; they need eval.engine.kind hf")
        return self

    @model_validator(mode="after")
    def _one_value_a_fact(self) -> Eval:
        if wide := [name for name, regex in self.facts.items() if re.compile(regex).groups > 1]:
            raise ValueError(
                f"eval.facts: one group at most says what the value is; make the others of {', '.join(wide)} (?:...)"
            )
        return self


class Classical(Block):
    ngrams: Annotated[int, Field(ge=1, le=5)]
    min_records: Positive
    strength: Annotated[float, Field(gt=0)]


class Compare(Block):
    confidence: Share
    draws: Annotated[int, Field(ge=200)]
    difference: Share
    power: Share


class GateServing(Block):
    latency_p95_s: Annotated[float, Field(gt=0)]
    tokens_per_second: Annotated[float, Field(ge=0)]
    error_rate: Limit


class GateData(Block):
    leaks: NotNegative
    private_residue: NotNegative


class Gate(Block):
    min_records: Positive
    min_groups: Positive
    superiority: dict[Literal["base", "classical"], Annotated[float, Field(gt=-1, lt=1)]]
    floors: dict[Measure, Limit]
    ceilings: dict[FailureClass, Limit]
    margins: dict[FailureClass, Limit]
    serving: GateServing
    data: GateData

    @model_validator(mode="after")
    def _every_class_has_a_margin(self) -> Gate:
        missing = [name for name in get_args(FailureClass) if name not in self.margins]
        if missing:
            raise ValueError(f"gate.margins: no margin for {', '.join(missing)}")
        if "base" not in self.superiority:
            raise ValueError("gate.superiority: no margin over the base")
        return self


class ReportPage(Block):
    field_chars: Positive


class Verify(Block):
    band: Annotated[float, Field(ge=0, lt=1)]


class Params(Block):
    seed: NotNegative
    compute: Compute
    data: Data
    task: Task
    base: Annotated[PackageBase | HubBase | FolderBase, Field(discriminator="source")]
    mask: Mask
    dedupe: Dedupe
    split: Split
    sft: Sft
    dpo: Dpo
    eval: Eval
    classical: Classical
    compare: Compare
    benchmark: Benchmark
    gate: Gate
    report: ReportPage
    certify: Certify
    verify: Verify

    @model_validator(mode="after")
    def _pairs_where_they_are_learned_from(self) -> Params:
        if self.dpo.enabled and self.data.rejected is None:
            raise ValueError(
                "dpo.enabled: there are no worse answers to learn from; name their column in data.rejected, or set it to false"
            )
        return self

    @model_validator(mode="after")
    def _facts_of_replies_in_words(self) -> Params:
        if self.eval.facts and self.task.kind != "text":
            raise ValueError("eval.facts: only a reply in words (task.kind text) needs them; set it to {}")
        return self

    @model_validator(mode="after")
    def _tools_where_the_template_shows_them(self) -> Params:
        if self.task.tool_format == "template" and self.data.tools is None:
            raise ValueError(
                "task.tool_format: with template the chat template shows the model its tools; name their column in "
                "data.tools, or set it to json"
            )
        if self.task.tool_format == "template" and self.eval.constrained:
            raise ValueError(
                "eval.constrained: constrained decoding knows JSON only; set it to 0, or task.tool_format to json"
            )
        return self

    @model_validator(mode="after")
    def _schema_is_a_file(self) -> Params:
        if self.task.schema_file is None:  # the stages could do without, but DVC takes no null as a dependency
            raise ValueError('task.schema: name a file; for free text it holds {"type": "string"}')
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters. A bad file ends in one `HallmarkError` that lists every problem."""
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HallmarkError(
            "no such file", file=path, remedy="run from the root of the repository, or name the file with --params"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise HallmarkError(
            f"not valid YAML: {getattr(error, 'problem', None) or error}",
            file=path,
            row=mark.line + 1 if mark else None,
            remedy="mend the syntax at that row",
        ) from None
    if not isinstance(raw, dict):
        raise HallmarkError("holds no parameters", file=path, remedy="restore the file: `git checkout params.yaml`")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = [_explain(detail, raw) for detail in error.errors()]
        fields = ", ".join(field for field, _, _ in problems)
        raise HallmarkError(
            "; ".join(problem for _, problem, _ in problems),
            file=path,
            field=fields or None,
            remedy="; ".join(dict.fromkeys(remedy for _, _, remedy in problems)),
        ) from None


def _explain(detail: Any, raw: dict[str, Any]) -> tuple[str, str, str]:
    """Turn one pydantic error into (dotted field, problem, remedy)."""
    tags = {
        "package",
        "hub",
        "folder",
        "transformers",
        "vllm",
        "endpoint",
        "hf",
    }  # pydantic names the kind of a block in its path
    location = [str(part) for part in detail["loc"] if part not in tags or len(detail["loc"]) == 1]
    field, kind = ".".join(location), detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(known))}"
        return field, f"'{field}' is not a known parameter", f"remove or rename '{field}' ({hint})"
    if field == "base.revision":
        return (
            field,
            "the base model is not pinned to a commit",
            "set base.revision to the full 40-digit commit hash shown in the model page's 'Files' tab "
            "(a branch name such as 'main' can change under you)",
        )
    if kind == "missing":
        return field, f"'{field}' is missing", f"add '{field}' (the template's params.yaml has it with its comment)"
    given = type(detail["input"]).__name__
    return field, f"'{field}': {detail['msg']} (got {given})", f"give '{field}' a value of the type its comment states"


def _known_keys(location: list[str]) -> list[str]:
    models: list[type[BaseModel]] = [Params]
    for part in location:
        found: list[type[BaseModel]] = []
        for model in models:
            for name, info in model.model_fields.items():
                if part in (name, info.alias):
                    found += _block_types(info.annotation)
        models = found
    return sorted({info.alias or name for model in models for name, info in model.model_fields.items()})


def _block_types(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [block for argument in getattr(annotation, "__args__", ()) for block in _block_types(argument)]
