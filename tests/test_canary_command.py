"""`nox -s canary` on real tags and real traces: what it prints, writes, exits with, and does."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.service.commands.canary import Pair, act, pair_of
from hallmark.service.registry import promotion
from hallmark.service.registry.registry import Registry
from hallmark.service.registry.tags import (
    Action,
    Happened,
    Registered,
    event_tag,
    one_at_a_time,
    version_tag,
    write_tag,
)
from hallmark.service.traces.store import FeedbackJournal, TraceWriter
from hallmark.service.traces.trace import Feedback, Trace
from tests.small_pipeline import shell
from tests.test_canary import trace
from tests.workspace import ROOT, run, run_here

NOW = datetime.now(UTC).replace(microsecond=0)
STARTED = NOW - timedelta(hours=4)
RELEASE = "d" * 32 + ".dir"  # as dvc.lock names it
DIGESTS = {"v1.0.0": "a" * 64, "v1.1.0": "b" * 64}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with v1.0.0 in prod and v1.1.0 as canary for four hours."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    shell("git init -q -b main && git config user.name Ann && git config user.email ann@example.com", folder)
    shell("git add -A && git commit -qm start", folder)
    for version, digest in DIGESTS.items():
        said = Registered(
            adapter="c" * 64, commit=head(folder), provenance=digest, release=RELEASE, verdict="pass", waived={}
        )
        write_tag(folder, version_tag("model", version), head(folder), said.below(version), STARTED)
    event(folder, "prod", "v1.0.0", 1, STARTED)
    event(folder, "canary", "v1.1.0", 2, STARTED + timedelta(seconds=1))
    return folder


@pytest.fixture
def repo(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current folder."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "repo"))
    return Path.cwd()


def head(repo: Path) -> str:
    return shell("git rev-parse HEAD", repo).strip()


def event(repo: Path, stage: str, version: str, number: int, date: datetime, action: Action = "promote") -> None:
    said = Happened(action=action, provenance=DIGESTS[version], version=version)
    tag = event_tag("model", f"{stage}{'!' if action == 'stop' else ''}#{number}")
    write_tag(repo, tag, head(repo), said.below(version), date)


def traffic(repo: Path, customers: int, **of_canary: object) -> list[Trace]:
    """One judged request of this number of customers of each release, an hour after the start."""
    time = STARTED + timedelta(minutes=5)
    first = trace(time=STARTED + timedelta(minutes=1), group="c0", route="canary", version="v1.1.0")
    found = [first] + [
        replace(trace(time=time, group=f"{route}{number}", route=route, version=version), **of)  # type: ignore[arg-type]
        for route, version, of in (("prod", "v1.0.0", {}), ("canary", "v1.1.0", of_canary))
        for number in range(customers)
    ]
    writer = TraceWriter(repo / "data/traces")
    for one in found:
        writer.put(one)
    writer.close()
    journal = FeedbackJournal(repo / "data/traces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # which waits for the disk
        for one in found:
            journal.accept(Feedback(trace=one.id, time=time, caller="", verdict="accepted", target=None))
    return found


CANARY = "hallmark.service.commands.canary"


def canary(repo: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_here(repo, CANARY, *options)


def test_a_worse_canary_is_rolled_back_by_itself(repo: Path) -> None:
    traffic(repo, 150, schema_valid=False)
    done = canary(repo, "--act")
    assert done.returncode == 1, done.stderr
    assert "canary: roll back. v1.1.0 is worse than v1.0.0: schema_breaks." in done.stdout
    assert "done: v1.1.0 is out of canary; v1.0.0 answers all" in done.stdout
    assert Registry.read(repo).in_stage("canary") is None
    again = canary(repo)
    assert (again.returncode, "nothing is in canary" in again.stderr) == (2, True)


def test_an_equal_canary_is_promoted_or_the_reason_is_said(repo: Path) -> None:
    """What its tag names was never made here, so the promotion is refused; the verdict is there all the same."""
    traffic(repo, 600)
    judged = canary(repo)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert json.loads((repo / "reports/live/canary.json").read_text(encoding="utf-8"))["verdict"] == "promote"
    refused = canary(repo, "--act")
    assert (refused.returncode, "remedy:" in refused.stderr) == (2, True)
    found = Registry.read(repo)
    assert (found.in_stage("prod").version, found.in_stage("canary").version) == ("v1.0.0", "v1.1.0")  # type: ignore[union-attr]


def test_with_too_little_data_nothing_is_done(repo: Path) -> None:
    traffic(repo, 20)
    done = canary(repo, "--act")
    assert done.returncode == 3, done.stderr
    assert "more of the canary's" in done.stdout
    assert "nothing was done: there is too little data" in done.stdout
    day = repo / "data/traces" / f"{STARTED:%Y-%m-%d}"
    day.mkdir(exist_ok=True)
    (day / "x.jsonl").write_bytes(b"PAR1\n")  # trouble, and no verdict
    assert canary(repo, "--act").returncode == 2
    assert len(Registry.read(repo).events) == 2


def test_since_starts_over(repo: Path) -> None:
    traffic(repo, 150, schema_valid=False)
    assert canary(repo, "--since", (NOW - timedelta(hours=2)).isoformat()).returncode == 3
    early = canary(repo, "--since", "2020-01-01")
    assert (early.returncode, "--since" in early.stderr) == (2, True)
    assert canary(repo, "--since", "soon").returncode == 2


COMMANDS: dict[str, Callable[[Path, Pair], object]] = {
    "promote": lambda repo, _: promotion.promote(repo, "v1.1.0", "prod"),
    "rollback": lambda repo, _: promotion.roll_back(repo),
    "stop": lambda repo, _: promotion.stop(repo),
    "act, worse": lambda repo, pair: act(repo, pair, "roll_back", Path("params.yaml")),
    "act, not worse": lambda repo, pair: act(repo, pair, "promote", Path("params.yaml")),
}
DECISIONS: list[list[tuple[str, str, Action]]] = [
    [("prod", "v1.1.0", "promote")],
    [("canary", "v1.1.0", "stop"), ("canary", "v1.1.0", "promote")],  # all is as before, but it was decided again
]


@pytest.mark.parametrize("decided", DECISIONS, ids=lambda decided: " ".join(f"{one[2]} {one[0]}" for one in decided))
@pytest.mark.parametrize("command", COMMANDS)
def test_what_another_decides_while_a_command_waits_for_the_lock_stays(
    command: str, decided: list[tuple[str, str, Action]], repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pair_of(repo)

    @contextmanager
    def after_another(at: Path) -> Iterator[None]:
        for number, (stage, version, action) in enumerate(decided, 3):
            event(repo, stage, version, number, NOW + timedelta(seconds=number), action)
        with one_at_a_time(at):
            yield

    monkeypatch.setattr(promotion, "one_at_a_time", after_another)
    with pytest.raises(HallmarkError, match="has changed meanwhile") as caught:
        COMMANDS[command](repo, pair)
    assert str(caught.value.file).startswith(f"model#{decided[0][0]}")
    assert [one.number for one in Registry.read(repo).events] == [*range(1, 3 + len(decided))]


def test_of_two_that_act_at_once_one_acts(repo: Path) -> None:
    traffic(repo, 150, schema_valid=False)
    done: list[subprocess.CompletedProcess[str]] = []

    def started() -> None:
        done.append(run(repo, "python", "-m", CANARY, "--act", check=False, PYTHONPATH=str(ROOT)))

    threads = [threading.Thread(target=started) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.returncode for one in done) == [1, 2]
    assert [one.action for one in Registry.read(repo).events] == ["promote", "promote", "stop"]
