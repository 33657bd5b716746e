"""What is known of a base model before it runs, for `python -m hallmark.commands.choose`: its config and tokenizer, no weights."""

from __future__ import annotations

import logging
import math
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED
from hallmark.base.model_folder import COUNT_OF_LAYERS, WHOLE, check_files, explained
from hallmark.base.reading import check_regular, is_folder, read_object
from hallmark.model.base_params import FolderBase, HubBase, PackageBase
from hallmark.model.fetching import packaged
from hallmark.model.lengths import context_of

if TYPE_CHECKING:
    import polars
    from transformers import PreTrainedTokenizerBase

    from hallmark.params.loader import Params

log = logging.getLogger("choose")

SMALL = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "tokenizer.model", "merges.txt", "vocab.txt", "vocab.json"),
)
LARGEST = 256 * 2**20  # bytes that no such file needs
GIB = 2**30
MOST_LAYERS = 1000  # that an architecture may have to be built here, without memory
FEW = 0.01  # share of the weights below which a class of layers is not named
SPREAD, LONGEST = 4_000, 500  # records whose tokens are counted: evenly spread ones, and the longest in characters


@dataclass(frozen=True)
class Exclusion:
    """Why a base can't be chosen: the constraint, and what was found, in words."""

    constraint: str
    reason: str


@dataclass(frozen=True)
class Memory:
    """Estimated peaks in bytes. `limit`: what there is for them, None if unknown; `basis`: how they were got."""

    training: int
    evaluation: int
    serving: int
    limit: int | None
    basis: str

    @property
    def most(self) -> tuple[str, int]:
        parts = {"training": self.training, "evaluation": self.evaluation, "serving": self.serving}
        return max(parts.items(), key=lambda part: part[1])

    @property
    def too_large(self) -> Exclusion | None:
        what, needed = self.most
        if self.limit is None or needed <= self.limit:
            return None
        words = f"{what} takes {needed / GIB:.1f} GiB at the longest records, of {self.limit / GIB:.1f} GiB"
        return Exclusion("memory", words)


@dataclass
class Facts:
    """A base as far as it is known. None: not looked at, or not stated. Tokens are those of a record with its prompt."""

    name: str
    source: str
    licence: str
    chat_template: bool | None = None
    context: int | None = None
    parameters: int | None = None
    nf4: float | None = None  # share of the weights in its layers that bitsandbytes can keep in 4 bits
    nf4_leaves: list[str] = field(default_factory=list)  # classes of layers that it can't
    tokens: float | None = None  # mean
    longest: int | None = None
    memory: Memory | None = None
    planned_minutes: float | None = None  # of training and evaluation
    notes: list[str] = field(default_factory=list)


def examine(params: Params, records: polars.DataFrame, scratch: Path) -> tuple[Facts, Exclusion | None]:
    """What the small files say of `params.base`, put into `scratch`, and whether a hard limit excludes it for these records."""
    base = params.base
    facts = Facts(base.name, base.source, base.licence)
    if params.choose.licences is not None and base.licence not in params.choose.licences:
        allowed = ", ".join(params.choose.licences) or "none"
        return facts, Exclusion("licence", f"{base.licence}; choose.licences allows {allowed}")
    try:
        small_files(base, scratch)
    except HallmarkError as error:
        return facts, Exclusion("files", told(error))
    try:
        facts.context = context_of(scratch)
        tokenizer = settled_tokenizer(params, scratch)
        facts.chat_template = True
        facts.tokens, facts.longest = counted(params, tokenizer, records)
    except HallmarkError as error:
        facts.chat_template = facts.chat_template or False
        return facts, Exclusion("tokenizer" if facts.chat_template else "chat template", told(error))
    try:
        facts.parameters, facts.nf4, facts.nf4_leaves = architecture(scratch)
        if (found := excluded(facts, params)) is None:
            facts.memory, facts.planned_minutes = planned(params, scratch)
    except HallmarkError as error:
        return facts, Exclusion("params" if error.file == "params.yaml" else "architecture", told(error))
    return facts, found or (facts.memory.too_large if facts.memory else None)


def planned(params: Params, folder: Path) -> tuple[Memory, float | None]:
    """The memory that the base would take, within what `choose.memory_gib` or the machine allows, and minutes of its run."""
    from hallmark.plan.estimate import estimate
    from hallmark.plan.machine import usable

    with _quiet():
        found = estimate(params, folder)
    limit = None if found.limit_bytes is None else usable(found.limit_bytes)
    if params.choose.memory_gib is not None:
        limit = int(params.choose.memory_gib * GIB)
    basis = found.basis.replace(str(folder), params.base.name)
    memory = Memory(found.training_bytes, found.evaluation_bytes, found.serving_bytes, limit, basis)
    seconds = found.training_seconds + found.evaluation_seconds
    return memory, None if math.isnan(seconds) else seconds / 60


def excluded(facts: Facts, params: Params) -> Exclusion | None:
    """Which limit the facts break; what only deserves a word goes into their notes."""
    if facts.longest and facts.context and facts.longest > facts.context and params.split.too_long == "error":
        return Exclusion("context", f"the longest record: {facts.longest:,} tokens; the base reads {facts.context:,}")
    if facts.longest and facts.longest > params.sft.max_length:
        facts.notes.append(
            f"the longest record has {facts.longest:,} tokens, over sft.max_length = {params.sft.max_length:,}: raise it "
            "in `set` if split refuses the record"
        )
    if facts.nf4 is not None and params.sft.method == "qlora" and facts.nf4 < 1 - FEW:
        words = f"4 bits hold only {100 * facts.nf4:.0f} % of its layers' weights (not {', '.join(facts.nf4_leaves)})"
        if not facts.nf4:
            return Exclusion("quantization", f"{words}; with sft.method: lora in `set` it needs none")
        facts.notes.append(words)
    return None


def told(error: HallmarkError) -> str:
    return f"{f'{error.field}: ' if error.field else ''}{error.problem}: {error.remedy}"


def small_files(base: PackageBase | HubBase | FolderBase, folder: Path) -> None:
    """Put config and tokenizer of a base into the folder; a HallmarkError if they can't be had."""
    if isinstance(base, PackageBase):
        _from_package(base, folder)
        return
    source = _snapshot(base) if isinstance(base, HubBase) else Path(base.path)
    # In the hub's cache a snapshot is links to `blobs` next to it.
    within = (source.parent.parent if isinstance(base, HubBase) else source).resolve()
    if not is_folder(source):
        raise HallmarkError("no such folder", param="choose.bases", remedy="give a folder in Hugging Face layout")
    if not (source / "config.json").exists():
        raise HallmarkError("no config.json", file=base.name, remedy=WHOLE)
    for file in (source / name for name in SMALL if (source / name).exists()):
        if file.is_symlink() and (isinstance(base, FolderBase) or not file.resolve().is_relative_to(within)):
            remedy = "copy the folder with `cp -rL`, which makes plain files"
            raise HallmarkError(f"{file.name} is a link", file=base.name, remedy=remedy)
        check_regular(file, WHOLE)
        if file.stat().st_size > LARGEST:
            raise HallmarkError(f"{file.name} is over 256 MiB", file=base.name, remedy=WHOLE)
        shutil.copyfile(file, folder / file.name)


def _snapshot(base: HubBase) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(base.name, revision=base.revision, allow_patterns=list(SMALL)))
    except Exception as error:  # the library raises many types: no network, no access, no such model or commit
        raise HallmarkError(
            f"its config and tokenizer can't be downloaded ({type(error).__name__})",
            file=base.name,
            remedy="check name, commit and network; for a gated model, request access on its page and run `hf auth login`",
        ) from None


def _from_package(base: PackageBase, folder: Path) -> None:
    """Write config and tokenizer of a GGUF file in an installed package, whose weights are not read."""
    from transformers import AutoConfig, AutoTokenizer

    file, _ = packaged(base)
    with explained(f"{file.name} can't be read as a GGUF model", file, remedy="pin the hash of a whole GGUF file"):
        for auto in (AutoConfig, AutoTokenizer):
            auto.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False).save_pretrained(folder)


def settled_tokenizer(params: Params, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer with its template settled, there too as `base` leaves it; a HallmarkError if it can't be used."""
    from hallmark.model.chat_template import check_dates, check_template, settle_template
    from hallmark.model.loading import load_tokenizer

    tokenizer = load_tokenizer(folder)
    settle_template(tokenizer, folder, params.base.chat_template_kwargs, params.task)
    check_template(tokenizer)
    check_dates(tokenizer)
    return tokenizer


def counted(params: Params, tokenizer: PreTrainedTokenizerBase, records: polars.DataFrame) -> tuple[float, int]:
    """The mean (of many: of `SPREAD` even ones) and the most tokens of a record, prompt and answer, as training counts them."""
    import polars as pl

    from hallmark.model.chat_template import tool_form
    from hallmark.model.lengths import record_lengths

    said = (
        pl.col(name).list.eval(pl.element().struct.field("content").str.len_chars())
        for name in ("prompt", "completion")
    )
    characters = sum((each.list.sum() for each in said), pl.col("tools").str.len_chars().fill_null(0))
    spread = records.gather_every(max(1, -(-len(records) // SPREAD))).rows(named=True)
    longest = records.top_k(LONGEST, by=characters).rows(named=True)
    lengths = record_lengths([*spread, *longest], tokenizer, tool_form(params.task, tokenizer), DEDUPED)
    return sum(lengths[: len(spread)]) / max(1, len(spread)), max(lengths, default=0)


def architecture(folder: Path) -> tuple[int, float, list[str]]:
    """Parameters, the share of its layers' weights that bitsandbytes replaces for 4 bits, and the classes it leaves.

    The model is built from `config.json` without memory for its weights. Embeddings and the head are never in 4 bits.
    """
    check_files(folder)
    for key, value in read_object(folder / "config.json", WHOLE).items():
        if COUNT_OF_LAYERS.fullmatch(key) and isinstance(value, int) and value > MOST_LAYERS:
            raise HallmarkError(f"{value} layers", file=folder / "config.json", field=key, remedy=WHOLE)
    import torch

    with _quiet():
        from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
        from transformers.integrations import replace_with_bnb_linear
        from transformers.quantizers.base import get_keys_to_not_convert
    with _quiet(), explained("no model can be built from it", folder / "config.json"), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        parameters = sum(weight.numel() for weight in model.parameters())
        replace_with_bnb_linear(model, get_keys_to_not_convert(model), BitsAndBytesConfig(load_in_4bit=True))
    head = getattr(model.get_output_embeddings(), "weight", None)
    held: Counter[str] = Counter()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            continue
        for weight in module.parameters(recurse=False):
            if weight.dim() > 1 and weight is not head:
                held[type(module).__name__] += weight.numel()
    total, replaced = held.total(), held.pop("Linear4bit", 0)
    leaves = sorted(name for name, count in held.items() if count > FEW * total)
    return parameters, replaced / total if total else 0.0, leaves


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of libraries about kernels that are not there, and a model that has no weights."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(logging.NOTSET)
