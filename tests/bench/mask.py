"""Masking compared with Presidio as it comes, on labelled texts, and what a million rows take: `python -m tests.bench.mask`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from stages.mask import chunks, preview_chunk, start_masker
from stages.params.loader import load_params
from tests.bench.made import texts as made_texts
from tests.bench.page import table, write_section
from tests.workspace import ROOT, make_workspace

REAL = ROOT.parent / "shared" / "realdata"
ROWS = [20_000, 200_000, 1_000_000]
SURE = ("CREDIT_CARD", "IBAN_CODE", "EMAIL_ADDRESS", "IP_ADDRESS", "US_SSN")
Spans = list[tuple[int, int]]
PRESIDIO: dict[str, Any] = {}


def main() -> None:
    """Write the section of `docs/benchmarks.md`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mask", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="sizes of the growth curve")
    rows = parser.parse_args().rows
    about = (
        "How the stage grows without NER, two workers, made-up records of 100 to 300 characters with a name, an e-mail "
    )
    about += (
        "address and a number in every fifth. Memory is the sum over all its processes (proportional set size); "
        "seconds depend on the other load on the machine."
    )
    parts = [quality(), about, table(["rows", "seconds", "rows a second", "peak MiB"], [growth(size) for size in rows])]
    write_section("Mask", "\n\n".join(parts))


def quality() -> str:
    """Recall, precision and speed on the labelled texts, ours and Presidio's, in one run."""
    if not REAL.exists():
        return "The labelled texts (`../shared/realdata`) were not there: no table of recall and precision."
    params = load_params(ROOT / "params.yaml").mask.model_copy(update={"identity_columns": {}})
    lines = []
    for name in ("pii_synthetic_dev", "multidogo_software"):
        rows = [json.loads(line) for line in (REAL / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        texts = [row["text"] for row in rows]
        ways = {
            "ours, two processes": (start_masker, (params,), our_spans, 2),
            "ours, one process": (start_masker, (params,), our_spans, 1),
            "Presidio, one process": (start_presidio, (params.ner.model,), presidio_spans, 1),
            "Presidio, two processes": (start_presidio, (params.ner.model,), presidio_spans, 2),
        }
        for way, (start, args, work, processes) in ways.items():
            spans, seconds = timed(start, args, work, processes, texts, 3 if len(texts) < 1000 else 1)
            score = scores(rows, spans)
            lines.append([name, way, *score, len(texts) / seconds])
            print(lines[-1], file=sys.stderr)
    head = [
        "texts",
        "",
        "recall",
        "recall of card, IBAN, e-mail, IP, SSN",
        "character precision",
        "clean texts touched",
        "texts/s",
    ]
    model = f"NER model of both: {params.ner.model}. Presidio runs with its defaults (`AnalyzerEngine`), but without its network requests."
    return f"A span counts as found if all its characters are masked. {model}\n\n{table(head, lines)}"


def timed(start: Any, args: Any, work: Any, processes: int, texts: list[str], rounds: int) -> tuple[list[Spans], float]:
    """The spans of all texts, and the seconds of the fastest round once models and word lists were loaded."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes, get_context("spawn"), start, args) as pool:
        list(pool.map(work, [texts[:64]] * 4 * processes))
        seconds = []
        for _ in range(rounds):
            begin = time.perf_counter()
            spans = [span for part in pool.map(work, chunks(texts)) for span in part]
            seconds.append(time.perf_counter() - begin)
        return spans, min(seconds)


def our_spans(texts: list[str]) -> list[Spans]:
    """What the masker masks, by way of the preview."""
    lines = preview_chunk([("", text, []) for text in texts]).split("\n")[:-1]
    return [[(span["start"], span["end"]) for span in json.loads(line)["spans"]] for line in lines]


def start_presidio(model: str) -> None:
    """Presidio's analyzer with all it comes with."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # type: ignore[assignment]
    models = [{"lang_code": "en", "model_name": model}]
    nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    PRESIDIO["analyzer"] = AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])


def presidio_spans(texts: list[str]) -> list[Spans]:
    """What Presidio finds, one text after the other."""
    return [[(one.start, one.end) for one in PRESIDIO["analyzer"].analyze(text, "en")] for text in texts]


def scores(rows: list[dict[str, Any]], spans: Iterable[Spans]) -> list[float | str]:
    """Recall, recall of the structured kinds, character precision, and the share of clean texts that are touched."""
    count: Counter[str] = Counter()
    for row, found in zip(rows, spans, strict=True):
        covered = {at for start, end in found for at in range(start, end)}
        gold = {at for span in row["pii_spans"] for at in range(span["start"], span["end"])}
        for span in row["pii_spans"]:
            hit = covered.issuperset(range(span["start"], span["end"]))
            count.update(
                {"gold": 1, "hit": hit, "sure": span["type"] in SURE, "sure_hit": hit and span["type"] in SURE}
            )
        count.update({"masked": len(covered), "right": len(covered & gold)})
        count.update({"clean": not gold, "touched": not gold and bool(covered)})
    pairs = (("hit", "gold"), ("sure_hit", "sure"), ("right", "masked"), ("touched", "clean"))
    return [count[part] / count[whole] if count[whole] else "none" for part, whole in pairs]


def growth(size: int) -> list[float]:
    """Rows, seconds, rows a second and peak memory of the real stage."""
    import psutil

    with tempfile.TemporaryDirectory() as name:
        overrides = {
            "mask.ner": {"engine": "none", "model": None},
            "mask.gold": None,
            "mask.identity_columns": {"who": "PERSON"},
        }
        data = {"data.input": "text", "data.tags": None, "task.kind": "text", "task.refusal": None}
        folder = make_workspace(Path(name) / "repo", overrides | data)
        (folder / "data/schema.json").write_text('{"type": "string"}')
        with (folder / "data/raw/tickets.jsonl").open("w", encoding="utf-8") as file:
            for number, (text, _) in enumerate(made_texts(size)):
                who = f"Ina Zor{number // 20:06x}"
                if number % 5 == 0:
                    text += f" {who} a{number}@acme-tools.io +44 20 8599 {number % 10**4:04d}"
                row = {"id": f"r{number}", "customer": f"c{number // 20}", "who": who, "text": text, "target": "none"}
                file.write(json.dumps(row) + "\n")
        begin, peak = time.perf_counter(), 0
        run = subprocess.Popen(
            [sys.executable, "-m", "stages.mask"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            stderr=subprocess.DEVNULL,
        )
        while run.poll() is None:
            peak = max(peak, memory(psutil, run.pid))
            time.sleep(0.5)
        if run.returncode:
            raise RuntimeError("the stage failed")
        seconds = time.perf_counter() - begin
    line = [size, seconds, size / seconds, peak // 2**20]
    print(line, file=sys.stderr)
    return line


def memory(psutil: Any, pid: int) -> int:
    """Bytes that a process and its children hold together."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:  # one that has just ended
        return total
    return total


if __name__ == "__main__":
    main()
