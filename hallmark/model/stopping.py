"""Where generation stops: at the token that ends an answer, as `generation_config.json` of a model folder says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.reading import read_object

log = logging.getLogger("base")


def stop_at(end: int, tokenizer: Any, folder: Path) -> None:
    """Write the token `end` into the folder as one that generation stops at, unless it is one already."""
    file, config = folder / "generation_config.json", read_object(folder / "config.json")
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    generation = (
        read_object(file, "get the folder again, or delete the file: `base` writes another")
        if file.exists()
        else {name: config[name] for name in names if config.get(name) is not None}
    )
    where = file if file.exists() else folder / "config.json"
    for name in names:
        stated = generation.get(name)
        tokens = stated if isinstance(stated, list) else [stated] if stated is not None else []
        # Llama's first config.json had -1 for "none".
        if any(isinstance(token, bool) or not isinstance(token, int) or not -1 <= token < 2**31 for token in tokens):
            raise HallmarkError("not a token's number", file=where, field=name, remedy="use a whole model folder")
    stated = generation.get("eos_token_id")
    stops = stated if isinstance(stated, list) else [stated] if stated is not None else []
    if end not in stops:
        log.info("%s ends an answer: generation will stop there", tokenizer.decode([end]))
        write_json(file, generation | {"eos_token_id": [*stops, end]})
