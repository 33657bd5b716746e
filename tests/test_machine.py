"""When and where a figure was measured: in words, and whether that machine is this one. Without a model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.files import write_json
from hallmark.base.machine import UNKNOWN, busy, describe, same_machine, stamp, when_and_where
from hallmark.commands import elsewhere
from hallmark.mask.second_check import residue
from hallmark.params.loader import Params, load_params
from hallmark.serve.engines.endpoint import EndpointServer
from tests.made_up import BENCHMARKED, MACHINE, ROOT

TAKEN = "measured 2026-11-26 on AMD EPYC 9B45, 2 threads, AVX512"
GPU = MACHINE | {"device": "cuda", "gpu": "NVIDIA H100 80GB HBM3", "threads": 8}


@pytest.mark.parametrize(
    ("fingerprint", "words"),
    [
        (GPU, "NVIDIA H100 80GB HBM3, AMD EPYC 9B45, 8 threads"),
        (
            {
                "processor": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz (GenuineIntel family 6 model 143)",
                "threads": 1,
                "instruction_set": "AVX2",
            },
            "Intel Xeon Platinum 8481C CPU @ 2.70GHz, 1 thread, AVX2",
        ),
        ({}, "a machine of unknown kind"),
    ],
)
def test_a_machine_is_a_short_phrase_that_no_release_takes_for_private(fingerprint: dict[str, Any], words: str) -> None:
    assert describe(fingerprint) == words
    report = {"measured": stamp(fingerprint)}
    for text in (when_and_where(report), report["measured"]["date"], *map(str, fingerprint.values())):
        assert residue(text, allow_reserved=True) == []


def test_a_machine_is_busy_if_others_or_a_hypervisor_take_too_much_of_it() -> None:
    assert busy(None) == busy({"processes": 0.1, "stolen": 0.05}) == ""
    assert "62 %" in busy({"processes": 0.62, "stolen": 0.05})
    assert re.search("11 %.* 6 %", busy({"processes": 0.11, "stolen": 0.06}))


def test_what_is_recorded_is_told_and_of_an_older_report_that_it_is_not() -> None:
    assert when_and_where(BENCHMARKED) == when_and_where(BENCHMARKED, MACHINE) == TAKEN
    assert when_and_where(BENCHMARKED, GPU) == when_and_where(BENCHMARKED, {}) == f"{TAKEN}, not this machine"
    assert "at an endpoint" in when_and_where(BENCHMARKED | {"server": "endpoint"})
    assert when_and_where({"server": "transformers"}, MACHINE) == UNKNOWN


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"torch": "9.9", "python": "4.0", "system": "Linux 9", "math": "", "driver": "9", "threads": 64}, True),
        ({"processor": "AMD EPYC 9B14 (AuthenticAMD family 25 model 17)"}, False),
        ({"instruction_set": "AVX2"}, True),
    ],
)
def test_a_machine_is_another_by_its_hardware_alone(changes: dict[str, Any], same: bool) -> None:
    assert same_machine(MACHINE, MACHINE | changes) is same


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The params of the repository; its report was measured on MACHINE, which is this one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(elsewhere, "machine", lambda *_: MACHINE)
    write_json(elsewhere.REPORT, BENCHMARKED | {"models": {}})
    return load_params(ROOT / "params.yaml")


def recorded(**changes: Any) -> None:
    measured = {"date": "2026-11-26", "machine": MACHINE | changes}
    write_json(elsewhere.REPORT, BENCHMARKED | {"models": {}, "measured": measured})


def test_another_machine_is_why_the_benchmark_runs_again(params: Params) -> None:
    assert elsewhere.reason_to_rerun(params) is None
    recorded(processor="AMD EPYC 7B13 (AuthenticAMD family 25 model 1)")
    assert re.search("on AMD EPYC 7B13, .*this machine is AMD EPYC 9B45", str(elsewhere.reason_to_rerun(params)))
    recorded(processor="AMD EPYC 9B45 (AuthenticAMD family 27 model 2)")  # the same name
    assert str(elsewhere.reason_to_rerun(params)).endswith(f"; this machine is processor {MACHINE['processor']}")
    write_json(elsewhere.REPORT, {"server": "transformers", "models": {}})
    assert elsewhere.reason_to_rerun(params) == f"reports/benchmark.json: {UNKNOWN}"
    endpoint = EndpointServer(kind="endpoint", url="https://example.com/v1", names={"base": "b", "tuned": "t"})
    benchmark = params.benchmark.model_copy(update={"server": endpoint})
    assert elsewhere.reason_to_rerun(params.model_copy(update={"benchmark": benchmark})) is None
    elsewhere.REPORT.unlink()
    assert elsewhere.reason_to_rerun(params) is None


def test_it_does_not_where_it_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop with a clone of a repository that was trained on a GPU: the figures are from a different machine."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    params = load_params(ROOT / "params.yaml")
    cuda = params.model_copy(update={"compute": params.compute.model_copy(update={"device": "cuda"})})
    monkeypatch.chdir(ROOT)
    assert elsewhere.fingerprint_here(cuda) == {}
    assert elsewhere.reason_to_rerun(cuda) is None
