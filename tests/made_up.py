"""Made-up predictions and reports, in the form in which the stages leave them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from hallmark.base.files import write_json, write_text
from hallmark.base.holdout import HoldoutLock
from hallmark.base.reading import read_json
from hallmark.corpus.draw import digest
from hallmark.params.loader import Params
from hallmark.task.predictions import Prediction, predictions_of
from hallmark.task.values import FieldResult
from tests.rows import record, with_changes, write_lines, write_masked

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {
    "machine": "x86_64",
    "processor": "AMD EPYC 9B45 (AuthenticAMD family 26 model 17)",
    "instruction_set": "AVX512",
    "threads": 2,
    "device": "cpu",
    "torch": "2.13.0+cpu",
    "python": "3.11.7",
}
BENCHMARKED = {"server": "transformers", "measured": {"date": "2026-11-26", "machine": MACHINE}}  # and the models
TARGET = {"intent": "refund", "order": "ORD-1042", "amount": 49.9, "date": None, "issues": ["late"]}
# What mask, dedupe and split report, as far as the page shows it.
DATA_STAGES: dict[str, Any] = read_json(ROOT / "tests/made_up.json")
# The answer in each outcome. The outcome is given: scoring has tests of its own.
REFUSAL = {"intent": "refuse"}
SAID: dict[str, Any] = {
    "pass": TARGET,
    "wrong_value": TARGET | {"intent": "delivery"},
    "omission": TARGET | {"amount": None},
    "hallucination": TARGET | {"date": "2024-03-05"},
    "unsafe_answer": TARGET | {"order": "4111 1111 1111 1111"},
    "wrong_refusal": {"intent": "refuse"},
    "missed_refusal": TARGET | {"order": None},
    "wrong_format": "Sure! Here is what I found: intent is refund.",
}


def prediction(number: int, group: str, outcome: str, **changes: Any) -> dict[str, Any]:
    """One line of predictions.jsonl."""
    said = SAID[outcome]
    text = said if isinstance(said, str) else json.dumps(said, separators=(",", ":"))
    fields = []
    for path, target in TARGET.items():
        value = said.get(path) if isinstance(said, dict) else None
        same = "match" if value == target else "missing" if value is None else "spurious" if target is None else "wrong"
        fields.append({"path": path, "target": target, "prediction": value, "result": same})
    return {
        "id": f"T-{number:05d}",
        "group": group,
        "tags": ["typos"] if number % 3 else ["typos", "long"],
        "input": f"Ticket {number}\nI want my 49.90 back for ORD-1042, it came late.",
        "context": None,
        "length": 60,
        "target": json.dumps(TARGET, separators=(",", ":")),
        "prediction": text,
        "finish": "stop",
        "tokens": len(text) // 4,
        "parses": outcome != "wrong_format",
        "schema_valid": outcome != "wrong_format",
        "exact_match": outcome == "pass",
        "outcome": outcome,
        "reason": "" if outcome == "pass" else f"the reason for {outcome}",
        "fields": fields,
    } | changes


def typed(row: dict[str, Any]) -> Prediction:
    """The same line as `read_predictions` gives it."""
    return Prediction(**row | {"fields": [FieldResult(**value) for value in row["fields"]]})


def outcomes(seed: int, n: int, **shares: float) -> list[str]:
    """`n` outcomes, of each class (near enough) its share, the rest passes, in seeded order."""
    drawn = [name for name, share in shares.items() for _ in range(round(share * n))]
    drawn += ["pass"] * (n - len(drawn))
    Random(seed).shuffle(drawn)
    return drawn


def customers(n: int, groups: int) -> list[str]:
    """The customer of each of `n` records; the first has the most."""
    random = Random(0)
    return random.choices([f"Customer {i:02d}" for i in range(groups)], [1 / (i + 2) for i in range(groups)], k=n)


def write_predictions(root: Path, model: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write the predictions of a model below `root`, and the schema of the task."""
    path = root / predictions_of(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    words = {"words": "the base with 3 examples"} if model == "few_shot" else {}
    write_json(path.with_name("metrics.json"), {"model": model} | words)
    write_text(root / "data/schema.json", (ROOT / "data/schema.json").read_text(encoding="utf-8"))
    write_lines(path, rows := list(rows))
    if model == "tuned":  # the holdout has a record of each
        names = [[name.encode("utf-8", "replace").decode() for name in (row["id"], row["group"])] for row in rows]
        write_holdout(root, [record(name, f"Where is {name}?", "late", group) for name, group in names])


def write_models(
    root: Path,
    base: list[str],
    tuned: list[str],
    groups: int = 12,
    linear: list[str] | None = None,
    few_shot: list[str] | None = None,
) -> None:
    """Predictions of the models with these outcomes, on the same records.

    Without `linear` there are no labels, and one record of twenty is due a refusal. `few_shot`: those of a comparator of
    that name.
    """
    drawn_of = {"base": base, "tuned": tuned, "classical": linear or []} | ({"few_shot": few_shot} if few_shot else {})
    for model, drawn in drawn_of.items():
        of = customers(len(drawn), groups)
        rows = [prediction(i, of[i], outcome) for i, outcome in enumerate(drawn)]
        for row in rows[19::20] if linear is None else []:  # due a refusal
            row["target"] = json.dumps(REFUSAL, separators=(",", ":"))
            row["prediction"] = row["target"] if row["outcome"] == "pass" else row["prediction"]
            if row["outcome"] == "wrong_refusal":
                row["prediction"] = json.dumps(TARGET)
        write_predictions(root, model, rows)
    write_predictions(root, "online", [])
    labels = [{"name": "intent", "floor": 0.4}, {"name": "(refusal)", "floor": 0.9}] if linear else []
    tried = [
        {"name": "words", "words": "TF-IDF of words", "validation": 0.5, "holdout": 0.625},
        {"name": "words_and_chars", "words": "TF-IDF of words and characters", "validation": 0.75, "holdout": 0.5},
    ]
    chosen = {"chosen": "words_and_chars", "chosen_on": 64, "candidates": tried} if linear else {}
    write_json(
        root / "reports/eval/classical/metrics.json",
        {"model": "classical", "labels": labels, "trained_on": 706, **chosen},
    )
    write_sft(root)


def without_comparators(params: Params, *but: str) -> Params:
    """The params of a repo that compares with the base, the linear model and the comparators `but` only, on all records."""
    opponents = ("base", "classical", *but)
    margins = {name: value for name, value in params.gate.superiority.items() if name in opponents}
    against = params.gate.margins_against
    return with_changes(
        params,
        gate__superiority=margins,
        gate__margins_against=against if against in opponents else "base",
        eval__comparators={name: params.eval.comparators[name] for name in but},
        eval__sample={},
    )


def write_sft(root: Path, steps: int = 231, records: int = 706) -> None:
    """What `sft` reports; each step reads a batch of four, as in the reference."""
    trained = {"train": records, "validation": 66}
    found = {"steps": steps, "records": trained, "validation_loss": 0.054, "trainable_parameters": 3_256_320}
    found |= {"kept_step": steps, "stopped_early": False, "undertrained": False}
    write_json(root / "reports/sft.json", found)


def made_up_records() -> dict[str, list[dict[str, Any]]]:
    """The records of each part of a split: no text is in two of them, and no group but those of the holdout, online too."""
    return {
        part: [
            record(f"{part}-{i}", f"Where is my {part} parcel no. {i}, please?", "late", f"{group} {i % 3}")
            for i in range(n)
        ]
        for part, group, n in (
            ("train", "train", 12),
            ("validation", "validation", 5),
            ("calibration", "calibration", 4),
            ("holdout", "holdout", 7),
            ("online", "holdout", 2),
        )
    }


def write_split(root: Path, parts: dict[str, list[dict[str, Any]]] | None = None) -> None:
    """Write the parts of a split; without `parts` those that have nothing wrong, and the lock of their holdout."""
    for name, records in (parts or made_up_records()).items():
        write_masked(records, root / f"data/split/{name}.parquet")
    if parts is None:
        write_holdout(root, made_up_records()["holdout"])


def write_holdout(root: Path, records: list[dict[str, Any]]) -> None:
    write_masked(records, root / "data/split/holdout.parquet")
    write_lock(root, records)


def write_lock(root: Path, records: list[dict[str, Any]]) -> None:
    frozen = {one["id"]: hash_of(one) for one in records}
    cut = {"below": "0" * 16, "but_not": [], "salt": "a", "share": 0.1}
    write_text(root / "data/holdout.lock.json", HoldoutLock(frozen, cut, sources=frozen).text())


def hash_of(one: dict[str, Any]) -> str:
    """What the lock has of a record, as `split` writes it."""
    return digest(one["group"], f"{one['prompt'][-1]['content']}\n{one['completion'][0]['content']}")


def artefact(name: str, weights: str, **found: Any) -> dict[str, Any]:
    """An artefact of benchmark.json: as evaluated if nothing else is said of it."""
    changes = {"texts": 0, "lost": 0, "won": 0, "behind": {"value": 0.0, "low": -0.04, "high": 0.04}}
    parts = {"reason": None, "changes": changes, "cost": None}
    return {"name": name, "weights": weights} | parts | found


def parity(*artefacts: dict[str, Any]) -> dict[str, Any]:
    """What benchmark.json says of what ships; without `artefacts`, of an adapter that answers as evaluated."""
    worst = {"value": 0.7, "low": 0.5, "high": 0.8}
    shipped = list(artefacts) or [artefact("adapter", "bfloat16")]
    return {"records": 64, "groups": 10, "right": 45, "worst": worst, "artefacts": shipped, "live": live()}


def live(**found: Any) -> dict[str, Any]:
    """What benchmark.json says of what callers get: hardly less than was evaluated, if nothing else is said of it."""
    changes = {"texts": 20, "lost": 9, "won": 4, "behind": {"value": 0.008, "low": -0.02, "high": 0.04}}
    shares = {
        "evaluated": {"value": 0.82, "low": 0.78, "high": 0.86},
        "exact_match": {"value": 0.812, "low": 0.77, "high": 0.85},
        "worst": {"value": 0.82, "low": 0.78, "high": 0.86},
    }
    counts = {"records": 600, "groups": 40, "same": 570, "refused": {"private_data_left": 2}, "leftover": 3}
    return {"reason": None, "found": counts | shares | {"changes": changes} | found}


def cascade(**changes: Any) -> dict[str, Any]:
    """What `cascade` reports if the answers have no log-probabilities."""
    nothing = {"applies": False, "words": "No cascade: there is no calibration part.", "confidence": 0.9}
    asked = {"max_risk": 0.05, "fallback": "human", "human_price": 0.5, "records": 400, "groups": 40}
    found = {"curves": [], "order": None, "order_words": "", "fit": None, "reliability": None, "risks": []}
    return nothing | asked | found | {"system": None, "handed_over": None} | changes


def system(**changes: Any) -> dict[str, Any]:
    """A cascade as one in that report: the tuned model answers three of four, a person the others."""
    ends = {"low": 0.0, "high": 0.0}
    counts = {"fallback": "human", "records": 400, "groups": 40, "answered": 300, "words": "The cascade in a sentence."}
    shares = {"coverage": 0.75, "wrong": 0.02, "exact_match": 0.9, "tuned": 0.8, "fallback_alone": 0.95}
    found = {name: {"value": value, "low": value - 0.05, "high": value + 0.05} for name, value in shares.items()}
    over = {
        "over_tuned": {"value": 0.1} | ends | {"high": 0.12},
        "over_fallback": {"value": -0.05} | ends | {"low": -0.1},
    }
    return counts | found | over | changes


def sure() -> dict[str, Any]:
    """All that the report has of scores that order answers well."""
    points = [{"coverage": at / 20, "risk": 0.2 * (at / 20) ** 2, "threshold": 1 - at / 20} for at in range(1, 21)]
    area = {"value": 0.07, "low": 0.05, "high": 0.09}
    each = {"records": 400, "groups": 40, "area": area, "excess": 0.02}
    curves = [
        each | {"score": name, "points": [point | {"risk": point["risk"] * factor} for point in points]}
        for name, factor in (("mean", 1.2), ("least", 1.3), ("calibrated", 1.0))
    ]
    bins = [{"records": 80, "expected": 0.2 * at - 0.1, "right": 0.2 * at - 0.08} for at in range(1, 6)]
    bound = {"asked": 0.05, "outcome": "bounded", "threshold": 0.9, "groups": 30, "coverage": 0.7, "risk": 0.01}
    bound |= {"p": 0.01, "fewest": 9, "groups_needed": None}
    share = {"value": 0.75, "low": 0.7, "high": 0.8}
    holdout = {"answered": 300, "groups": 40, "coverage": share, "risk": area, "customers": area}
    asked = {"risk": 0.05, "bound": bound, "probability": 0.95, "holdout": holdout, "words": "At most 5 % are wrong."}
    open_risk = {
        "risk": 0.01,
        "bound": bound | {"outcome": "too_little_data", "threshold": None},
        "probability": None,
        "holdout": None,
    }
    return cascade(
        applies=True,
        words="With 90 % confidence, at most 5 % are wrong.",
        curves=curves,
        reliability={"brier": 0.1, "error": 0.02, "bins": bins},
        risks=[asked, open_risk | {"words": "About 40 customers are needed."}],
        system=system(),
    )


def write_other_reports(root: Path) -> None:
    """What benchmark, sft and dpo report, and the data that split leaves, with nothing to complain of."""
    quantiles = {"p50": 0.5, "p95": 0.9, "p99": 1.0}
    level = {
        "requests": 24,
        "errors": 0,
        "timeouts": 0,
        "failures": {},
        "ttft_s": quantiles,
        "tpot_s": quantiles,
        "latency_s": quantiles,
        "output_tokens": 900,
        "output_tokens_per_second": 60.0,
        "requests_per_second": 1.5,
    }
    levels = [{"concurrency": load} | level for load in (1, 4)]
    largest = {"concurrency": 4, "rate": None, "words": "4 or more at once"}
    measured = {"levels": levels, "largest_load": largest, "startup_s": 9.0, "peak_memory_mib": 800}
    models = dict.fromkeys(("base", "tuned"), measured)
    write_json(root / "reports/benchmark.json", BENCHMARKED | {"models": models, "parity": parity()})
    there = predictions_of("tuned")
    if not (root / there).exists():
        write_split(root)
    else:
        write_split(root, {part: rows for part, rows in made_up_records().items() if part != "holdout"})
    for name, content in DATA_STAGES.items():
        write_json(root / f"reports/{name}.json", content)
    write_json(root / "reports/measured/sft.json", {"date": "2026-11-25", "fingerprint": MACHINE})
    write_json(root / "reports/dpo.json", {"enabled": False})
    write_json(root / "reports/cascade.json", cascade())
    write_json(root / "reports/collect.json", {"traces": 0, "drift": None})
    write_sft(root)
    linear = root / "reports/eval/classical/metrics.json"
    if not linear.exists():
        write_json(linear, {"model": "classical", "labels": []})
    curve = "step,split,loss\n0,validation,2.5\n1,train,2.4\n2,train,1.1\n2,validation,1.2\n"
    (root / "reports/sft_curve.csv").write_text(curve, encoding="utf-8")


def served(root: Path, **changes: Any) -> None:
    """Change the tuned model's first level in benchmark.json."""
    path = root / "reports/benchmark.json"
    content = read_json(path)
    content["models"]["tuned"]["levels"][0] |= changes
    write_json(path, content)
