"""What the stage `base` reported of the model (`reports/base.json`), as training needs it."""

from __future__ import annotations

from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, REPORTS
from hallmark.base.reading import read_object


def base_report() -> dict[str, Any]:
    """The report."""
    return read_object(REPORTS / "base.json", "run `dvc repro base`, which makes it")


def check_context(report: dict[str, Any], max_length: int) -> None:
    """A HallmarkError if `sft.max_length` is longer than what the base reads."""
    if report["context"] and max_length > report["context"]:
        raise HallmarkError(
            f"{max_length} tokens, but the base model reads at most {report['context']}",
            param="sft.max_length",
            remedy=f"set it to at most {report['context']}",
        )


def source_of(report: dict[str, Any]) -> tuple[str, str | None]:
    """What loads the base: a repo of the hub and its commit, or else its folder here and None.

    Weights from a package or a folder are not those of the hub's repo, whatever their name.
    """
    on_hub = report.get("source") == "hub"
    return (report["name"], report["revision"]) if on_hub else (f"./{BASE.as_posix()}", None)
