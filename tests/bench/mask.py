"""Masking compared with Presidio as it comes, and what a million rows take: `python -m tests.bench.mask`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hallmark.commands.preview import preview_chunk, start_masker
from hallmark.mask.params import Mask, Ner
from hallmark.mask.workers import chunks
from hallmark.params.loader import load_params
from tests import labelled
from tests.bench.made import texts as made_texts
from tests.bench.page import show, table
from tests.workspace import ROOT, make_workspace

REAL = ROOT.parent / "shared" / "realdata"
ROWS = [20_000, 200_000, 1_000_000]
MODELS = {"es": "es_core_news_sm", "fr": "fr_core_news_sm", "de": "de_core_news_sm", "it": "it_core_news_sm"}
# Texts outside the repo, and whether anyone looked at them while building the masker.
LOOKED_AT = dict.fromkeys(("pii_synthetic_dev", "multidogo_software", "pii_court_dev", "pii_clinical_es_dev"), "yes")
Spans = list[tuple[int, int]]
LOADED: dict[str, Any] = {}


@dataclass
class Corpus:
    """Labelled texts of one language. `private` are the spans to find in each."""

    name: str
    language: str
    looked_at: str
    texts: list[str]
    private: list[Spans]


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mask", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="sizes of the growth curve")
    parser.add_argument("--engine", nargs="*", default=["local"], help="of the growth curve: local, ray")
    parser.add_argument("--workers", type=int, nargs="*", default=[2], help="of the growth curve")
    parser.add_argument("--growth", action="store_true", help="the growth curve alone")
    arguments = parser.parse_args()
    params = load_params(ROOT / "params.yaml").mask.model_copy(update={"allow": [], "allow_patterns": []})
    about = (
        "How the stage grows without NER, made-up records of 100 to 300 characters with a name, an e-mail "
        "address and a number in every fifth. Memory is the sum over all its processes (proportional set size); "
        "seconds depend on the other load on the machine. What was sent is what passed over the loopback interface, by whomever: "
        "local workers use pipes. Rows a second are those of the second pass."
    )
    memory = ("MiB: main process", "a worker", "all, peak")
    head = ["rows", "engine", "workers", "seconds", "rows a second", *memory, "sent", "sha256 of the records"]
    ways = product(arguments.rows, arguments.engine, arguments.workers)
    growths = table(head, [growth(*way) for way in ways])
    others = [] if arguments.growth else [quality(params)]
    show("Mask", "\n\n".join([*others, about, growths]))


# --- recall and precision


def quality(params: Mask) -> str:
    """Recall and precision on the labelled texts, ours at two levels and Presidio's."""
    lines = []
    for corpus in corpora():
        settings = for_language(params, corpus.language)
        ways = {
            f"ours, level {level}": partial(run_ours, settings.model_copy(update={"level": level}), corpus.texts)
            for level in ("quasi", "all")
        }
        if settings.ner.engine == "spacy":
            ways["Presidio"] = partial(run_presidio, settings, corpus.texts)
        for way, spans in ways.items():
            lines.append([corpus.name, corpus.looked_at, way, settings.ner.model or "none", *scores(corpus, spans())])
            print(lines[-1], file=sys.stderr)
    head = ["texts", "looked at", "", "NER", "recall", "character precision"]
    return (
        "A span counts as found if all its characters are masked. `looked at`: whether anyone read these texts while rules were "
        "written, so that the figure says less about other texts. `labelled` is `tests/labelled`, in the repo: made for testing "
        "only. Presidio runs with its defaults (`AnalyzerEngine`) and the same NER model, but without its network requests. "
        "Its precision includes its dates, which level quasi leaves.\n\n" + table(head, lines)
    )


def corpora() -> Iterator[Corpus]:
    """The repo's own texts by language, and the real ones if they are there."""
    texts = labelled.read()
    for language in labelled.LANGUAGES:
        own = [text for text in texts if text.language == language]
        private = [[span[:2] for span in text.spans] for text in own]
        yield Corpus(f"labelled, {language}", language, "no", [text.text for text in own], private)
    for name, looked_at in LOOKED_AT.items() if REAL.exists() else ():
        rows = [json.loads(line) for line in (REAL / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        private = [[(span["start"], span["end"]) for span in row["pii_spans"]] for row in rows]
        yield Corpus(name, "es" if "_es_" in name else "en", looked_at, [row["text"] for row in rows], private)


def for_language(params: Mask, language: str) -> Mask:
    """The params for texts in a language: with its NER model if that is installed, else with rules alone."""
    if language == "en":
        return params
    model = MODELS.get(language)
    ner = Ner(engine="spacy", model=model) if model and find_spec(model) else Ner(engine="none", model=None)
    return params.model_copy(update={"language": language, "ner": ner})


def scores(corpus: Corpus, spans: Iterable[Spans]) -> list[float | str]:
    """Recall, and character precision."""
    count: Counter[str] = Counter()
    for private, found in zip(corpus.private, spans, strict=True):
        covered = {at for start, end in found for at in range(start, end)}
        gold = {at for start, end in private for at in range(start, end)}
        count["gold"] += len(private)
        count["hit"] += sum(covered.issuperset(range(start, end)) for start, end in private)
        count.update({"masked": len(covered), "right": len(covered & gold)})
    pairs = (("hit", "gold"), ("right", "masked"))
    return [count[part] / count[whole] if count[whole] else "none" for part, whole in pairs]


def run_ours(params: Mask, texts: list[str]) -> list[Spans]:
    """What the masker masks."""
    return found_by(start_masker, (params, None), our_spans, texts)


def run_presidio(params: Mask, texts: list[str]) -> list[Spans]:
    """What Presidio finds."""
    return found_by(start_presidio, (params.ner.model, params.language), presidio_spans, texts)


# --- the engines


def found_by(start: Any, args: Any, work: Any, texts: Sequence[str]) -> list[Spans]:
    """The spans of the texts, found in two processes."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(2, get_context("spawn"), start, args) as pool:
        return [span for part in pool.map(work, chunks(texts)) for span in part]


def our_spans(texts: list[str]) -> list[Spans]:
    """What the masker masks, by way of the preview."""
    lines = preview_chunk([("", text, ()) for text in texts]).split("\n")[:-1]
    return [[(span["start"], span["end"]) for span in json.loads(line)["spans"]] for line in lines]


def start_presidio(model: str, language: str) -> None:
    """Presidio's analyzer with all it comes with."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # type: ignore[assignment]
    models = [{"lang_code": language, "model_name": model}]
    nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    LOADED["presidio"] = AnalyzerEngine(nlp_engine=nlp, supported_languages=[language])
    LOADED["language"] = language


def presidio_spans(texts: list[str]) -> list[Spans]:
    """What Presidio finds, one text after the other."""
    return [[(one.start, one.end) for one in LOADED["presidio"].analyze(text, LOADED["language"])] for text in texts]


# --- growth


def growth(size: int, engine: str, workers: int) -> list[float | str]:
    """What the real stage takes."""
    import psutil

    with tempfile.TemporaryDirectory() as name:
        rules = {"mask.ner": {"engine": "none", "model": None}, "mask.gold": None, "mask.workers": workers}
        task = {"data.engine": engine, "task.kind": "text", "task.refusal": None}
        recipe = 'for row in json_lines("data/raw/tickets.jsonl"):\n    yield Record(**row)'
        folder = make_workspace(Path(name) / "repo", rules | task, recipe=recipe)
        (folder / "data/schema.json").write_text('{"type": "string"}')
        with (folder / "data/raw/tickets.jsonl").open("w", encoding="utf-8") as file:
            for number, (text, _) in enumerate(made_texts(size)):
                who = f"Ina Zor{number // 20:06x}"
                if number % 5 == 0:
                    text += f" {who} a{number}@acme-tools.io +44 20 8599 {number % 10**4:04d}"
                row = {"id": f"r{number}", "group": f"c{number // 20}", "prompt": text, "target": "none"}
                row |= {"private": {"PERSON": [who]}}
                file.write(json.dumps(row) + "\n")
        begin, peak, before = time.perf_counter(), 0, loopback(psutil)
        with (Path(name) / "said").open("w", encoding="utf-8") as said:
            run = subprocess.Popen(
                [sys.executable, "-m", "stages.mask"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
                stderr=said,
            )
        while run.poll() is None:
            peak = max(peak, memory(psutil, run.pid))
            time.sleep(0.5)
        if run.returncode:
            raise RuntimeError(f"the stage failed: {(Path(name) / 'said').read_text(encoding='utf-8')[-4000:]}")
        seconds = time.perf_counter() - begin
        digest = hashlib.sha256((folder / "data/masked.parquet").read_bytes()).hexdigest()[:16]
        taken = json.loads((folder / "reports/measured/mask.json").read_text(encoding="utf-8"))
    print(taken, file=sys.stderr)
    mib = [taken["peak_memory_mib"], taken["worker_memory_mib"], peak // 2**20, (loopback(psutil) - before) // 2**20]
    line = [size, engine, workers, seconds, size / taken["mask_seconds"], *mib, digest]
    print(line, file=sys.stderr)
    return line


def loopback(psutil: Any) -> int:
    """Bytes that all processes of this machine have sent each other over TCP."""
    counts = psutil.net_io_counters(pernic=True)
    return sum(counts[name].bytes_sent for name in ("lo", "lo0") if name in counts)


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
