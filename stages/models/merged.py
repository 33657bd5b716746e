"""The whole model: the base with an adapter merged in, in a folder that needs neither of them."""

from __future__ import annotations

from pathlib import Path


def write_merged(adapter: Path, base: Path, dtype: str, folder: Path) -> None:
    """Write the whole model, weights and tokenizer, with the adapter merged in, to `folder`."""
    from stages.models.loading import load_tokenizer, load_tuned

    model = load_tuned(base, adapter, dtype=dtype, attention="eager", device="cpu", merge=True)
    model.save_pretrained(folder)
    load_tokenizer(adapter).save_pretrained(folder)
