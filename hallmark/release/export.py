"""The card of what a release is exported to (a merged model, a GGUF file): the release's own, with its verdict and numbers.

The adapter's files are gone there, so only the head and the section on use change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.files import sha256_file, write_text
from hallmark.base.reading import read_text
from hallmark.release.checking import release_files
from hallmark.release.usage import gguf_usage, merged_usage

USE = re.compile(r"(?<=^## Use\n\n).*?(?=^## )", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"^# .*\n", re.MULTILINE)
COPIED = (prov.LICENCE, prov.VERDICT)


def describe_export(release: Path, folder: Path, *, dtype: str, gguf: str | None = None) -> None:
    """Write card and licence of `release` to `folder`, and its verdict as it is; `gguf` names the GGUF file in it."""
    provenance = sha256_file(release / prov.PROVENANCE)
    write_text(folder / prov.CARD, exported_card(card_of(release), provenance, dtype=dtype, gguf=gguf))
    for name in COPIED:
        if (release / name) in release_files(release):  # older releases have no licence
            (folder / name).write_bytes((release / name).read_bytes())


def card_of(release: Path) -> str:
    """The card of a release that was checked."""
    return read_text(release / prov.CARD, "use an unchanged release")


def exported_card(card: str, provenance: str, *, dtype: str, gguf: str | None = None) -> str:
    """The card of a release, changed into that of the whole model; `provenance` is the SHA-256 of its provenance.json."""
    from huggingface_hub import ModelCard

    parsed = ModelCard(card)
    data: Any = parsed.data
    text = parsed.text
    data.library_name = "gguf" if gguf else "transformers"
    data.tags = [tag for tag in data.tags or [] if tag != "lora"]
    if data.base_model:
        data.base_model_relation = "quantized" if gguf else "finetune"
    what = f"`{gguf}`, the GGUF file of the whole model" if gguf else "the whole model, in safetensors"
    note = (
        f"**This is {what}: the adapter of a release, merged into its base.** The release's `provenance.json` has the SHA-256 "
        f"`{provenance}`; its `verdict.json` is here. What is said of the adapter below was measured before it was exported"
        + (", and a GGUF file can give other answers: see What ships.\n" if gguf else ".\n")
    )
    text = TITLE.sub(lambda title: f"{title[0]}\n{note}", text, count=1)
    section = USE.search(text)
    if section:
        use = gguf_usage(section[0], gguf) if gguf else merged_usage(section[0], dtype)
        text = f"{text[: section.start()]}{use.strip()}\n\n{text[section.end() :]}"
    head = data.to_yaml(line_break="\n")
    return f"---\n{head}\n---\n\n{text.lstrip()}"


def gguf_metadata(name: str, card: str) -> dict[str, str]:
    """What a GGUF file says of itself, since it is often passed on alone: its name, and the first lines of the card.

    These have the verdict. The keys are those of llama.cpp's converter.
    """
    from huggingface_hub import ModelCard

    first = TITLE.split(ModelCard(card).text, maxsplit=1)[0]
    return {"general.name": name, "general.description": " ".join(first.replace("**", "").split())}
