"""The whole model: what an adapter was trained over, with the adapter merged in, in a folder that needs neither."""

from __future__ import annotations

from pathlib import Path


def write_merged(adapter: Path, weights: Path, dtype: str, folder: Path) -> None:
    """Write the whole model to `folder`, weights and tokenizer, with the adapter merged into what it was trained over."""
    from hallmark.model.loading import load_tokenizer, load_tuned

    model = load_tuned(weights, adapter, dtype=dtype, attention="eager", device="cpu", merge=True)
    model.save_pretrained(folder)
    load_tokenizer(adapter).save_pretrained(folder)
