"""The service loop, step by step, each by the command a person would give: train, release, serve, canary, collect, again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.demo.tickets import Call, World, make_world, write_rows
from tests.workspace import change_params

RAW = Path("data/raw/tickets.jsonl")
PLANTED = "planted for the demo: a release that is bad on purpose"
SMALL = "a demo has few records"
VERDICTS = (0, 1, 3)  # exit codes of `canary`: promote, roll back, too little data
JUDGED = 0.8  # share of the answers that somebody judges


@dataclass(frozen=True)
class Size:
    """How much of it: customers and rows to learn from, callers, calls before each verdict, and what params.yaml has."""

    customers: int
    rows: int
    callers: int
    calls: tuple[int, int, int, int]
    params: dict[str, Any]
    bad: dict[str, Any]  # params of the bad release
    at_once: int = 4


@dataclass
class Step:
    """One step as it went."""

    title: str
    command: str
    seconds: float
    said: str


@dataclass
class Phase:
    """Calls between two steps: what was answered by which version, and how many answers were right."""

    title: str
    calls: int = 0
    failed: int = 0
    review: int = 0
    right: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass
class Played:
    """All that happened."""

    steps: list[Step] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each version, reports/headline.json


class Loop:
    """The loop in one repository."""

    def __init__(self, repo: Path, size: Size, say: Callable[[str], None] = print) -> None:
        self.repo, self.size, self.say, self.played = repo, size, say, Played()
        self.world: World = make_world(
            seed=11,
            customers=size.customers,
            rows=size.rows,
            new_customers=size.callers,
            calls=sum(size.calls) + size.calls[3],
        )
        self._calls = iter(self.world.calls)
        self.waivers: dict[str, str] = {}

    def play(self) -> Played:
        """From data to a release that learned from its callers, and one that is taken back."""
        self.prepare()
        self.train("Train on what there is", "v0.1.0")
        self.tool("Put it into service", "promote", "v0.1.0", "prod")
        with self.gateway() as url:
            self.traffic("New customers, first release", url, self.size.calls[0])
            self.learn(url)
            self.go_wrong(url)
        self.tool("What has been released", "releases")
        return self.played

    def learn(self, url: str) -> None:
        """What people judged becomes data, from which the next release is made, which is a canary first."""
        self.tool("Take what people judged into the data", "collect")
        if '"rejected"' in (self.repo / RAW).read_text(encoding="utf-8"):
            self.set({"data.rejected": "rejected"})  # what the model got wrong: `dpo` could learn from it
        self.train("Train again, with what callers taught", "v0.2.0")
        self.tool("Let it answer some customers", "promote", "v0.2.0", "canary")
        self.wait_for(url, "canary", "v0.2.0")
        self.traffic("A canary", url, self.size.calls[1])
        self.tool("Judge the canary, and act", "canary", "--act", codes=VERDICTS)
        if self.stage_of("prod") != "v0.2.0":
            self.tool("The verdict did not promote it: a person does", "promote", "v0.2.0", "prod")
        self.wait_for(url, "prod", "v0.2.0")

    def go_wrong(self, url: str) -> None:
        """A bad release is taken back twice: as a canary by its verdict, and from prod by hand."""
        self.set(self.size.bad)
        self.train("A bad release, planted, waived past the gate", "v0.3.0", PLANTED)
        self.tool("Let it answer some customers", "promote", "v0.3.0", "canary")
        self.wait_for(url, "canary", "v0.3.0")
        self.traffic("A bad canary", url, self.size.calls[2])
        self.tool("Judge the canary, and act", "canary", "--act", codes=VERDICTS)
        self.tool("Somebody puts it into prod all the same", "promote", "v0.3.0", "prod")
        self.wait_for(url, "prod", "v0.3.0")
        self.traffic("Customers of the bad release", url, self.size.calls[3])
        self.tool("Take it back", "rollback")
        self.wait_for(url, "prod", "v0.2.0")
        self.traffic("After going back", url, self.size.calls[3])

    # --- steps

    def prepare(self) -> None:
        """Other data, other params, no frozen holdout; committed, as a new project would be."""
        write_rows(self.repo / RAW, self.world.rows)
        (self.repo / "data/holdout.lock.json").unlink(missing_ok=True)
        self.set(self.size.params)
        self.commit("The data and params of the demo")

    def set(self, params: dict[str, Any]) -> None:
        """Change params.yaml."""
        change_params(self.repo, params)

    def train(self, title: str, version: str, waived: str = SMALL) -> None:
        """`dvc repro`, a commit, a release. Rules of the gate that fail are waived, with this reason."""
        self.run(title, "dvc", "repro")
        failed = self.failing()
        if failed != sorted(self.waivers):
            self.waivers = dict.fromkeys(failed, waived)
            self.set({"gate.waive": self.waivers})
            self.run(f"Waive {len(failed)} rules of the gate: {waived}", "dvc", "repro")
        self.commit(f"Results of {version}")
        self.tool(f"Register {version}", "release", "--version", version)
        self.played.metrics[version] = self.report("headline.json")

    def failing(self) -> list[str]:
        """The rules of the gate that do not hold."""
        rules = self.report("gate.json")["rules"]
        return sorted(rule["name"] for rule in rules if rule["outcome"] in ("fail", "too_little_data"))

    def report(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.repo / "reports" / name).read_text(encoding="utf-8"))
        return content

    def commit(self, message: str) -> None:
        """Commit all that git takes."""
        self.shell("git", "add", "-A")
        self.shell("git", "commit", "-q", "--allow-empty", "-m", message)

    def stage_of(self, stage: str) -> str | None:
        """The version in a stage, as the registry has it."""
        code = "from hallmark.service.registry.registry import Registry; "
        code += f"v = Registry.read().in_stage({stage!r}); print(v.version if v else '')"
        return self.shell(sys.executable, "-c", code).strip() or None

    def tool(self, title: str, name: str, *options: str, codes: Sequence[int] = (0,)) -> str:
        """Run one of the tools; what it said."""
        return self.run(title, sys.executable, "-m", f"hallmark.service.commands.{name}", *options, codes=codes)

    def run(self, title: str, *command: str, codes: Sequence[int] = (0,)) -> str:
        """Run a command as a step; what it said."""
        shown = " ".join(command).replace(sys.executable, "python")
        self.say(f"== {title}: {shown}")
        start = time.monotonic()
        said = self.shell(*command, codes=codes)
        step = Step(title, shown, round(time.monotonic() - start, 1), said.strip())
        self.played.steps.append(step)
        self.say("\n".join(f"   {line}" for line in said.strip().splitlines()[-25:]))
        self.say(f"   {step.seconds} s")
        return said

    def shell(self, *command: str, codes: Sequence[int] = (0,)) -> str:
        """Run a command in the repository; its output, and an error with it if it ends otherwise than expected."""
        done = subprocess.run(
            command, cwd=self.repo, env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode not in codes:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def environment(self) -> dict[str, str]:
        """That of a person who has activated `.venv`; nobody's name is in the commits."""
        who = {
            f"GIT_{role}_{what}": "demo@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return os.environ | who | {"PATH": path, "PYTHONPATH": str(self.repo), "NO_COLOR": "1", "DVC_NO_ANALYTICS": "1"}

    # --- callers

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """The gateway with its model server, for as long as the block lasts; where it answers."""
        command = [sys.executable, "-m", "hallmark.service.commands.serve", "--port", "0"]
        log = self.repo / "serve.log"
        start = time.monotonic()
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                command, cwd=self.repo, env=self.environment(), stdout=output, stderr=subprocess.STDOUT
            )
        try:
            while not (found := re.search(r"(http://127\.0\.0\.1:\d+)/v1 answers", log.read_text(encoding="utf-8"))):
                if process.poll() is not None or time.monotonic() - start > 600:
                    raise RuntimeError(f"the gateway did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")
                time.sleep(0.2)
            said = log.read_text(encoding="utf-8").strip()
            shown = "python -m hallmark.service.commands.serve --port 0"
            self.played.steps.append(Step("Serve", shown, round(time.monotonic() - start, 1), said))
            self.say(f"== Serve: {shown}\n   {said}")
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()

    def wait_for(self, url: str, side: str, version: str, seconds: float = 300) -> None:
        """Wait until the gateway answers with this version on a side."""
        import httpx

        start, line = time.monotonic(), re.compile(r"hallmark_release_info\{(.*)\} 1(\.0)?")
        while True:
            now = [match[1] for match in line.finditer(httpx.get(f"{url}/metrics", trust_env=False).text)]
            if any(f'side="{side}"' in labels and f'version="{version}"' in labels for labels in now):
                break
            if time.monotonic() - start > seconds:
                raise RuntimeError(f"the gateway does not take up {version} as {side}: {now}")
            time.sleep(0.2)
        took = round(time.monotonic() - start, 1)
        self.played.steps.append(Step(f"The gateway takes up {version} as {side}", f"GET {url}/metrics", took, ""))
        self.say(f"== {version} answers as {side}, after {took} s")

    def traffic(self, title: str, url: str, calls: int) -> None:
        """That many calls, each judged by who knows the right answer, but for a share that nobody judges."""
        phase = Phase(title)
        start = time.monotonic()
        asyncio.run(self._ask(url, [call for call, _ in zip(self._calls, range(calls), strict=False)], phase))
        phase.seconds = round(time.monotonic() - start, 1)
        self.played.phases.append(phase)
        right = ", ".join(
            f"{version}: {phase.right[version]} of {n} right" for version, n in sorted(phase.answered.items())
        )
        self.say(
            f"== {title}: {phase.calls} calls in {phase.seconds} s, {phase.failed} failed, {phase.review} for a person; {right}"
        )

    async def _ask(self, url: str, calls: Sequence[Call], phase: Phase) -> None:
        import httpx

        slots = asyncio.Semaphore(self.size.at_once)
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            names = (await client.get("/v1/models")).json()["data"]
            prompt = self._system_prompt()

            async def ask(number: int, call: Call) -> None:
                async with slots:
                    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": call.text}]
                    body = {"model": names[0]["id"], "messages": messages}
                    response = await client.post(
                        "/v1/chat/completions", json=body, headers={"x-customer": call.customer}
                    )
                    phase.calls += 1
                    if response.status_code != 200:
                        phase.failed += 1
                        return
                    await self._judge(client, number, call, messages, response, phase)

            await asyncio.gather(*(ask(number, call) for number, call in enumerate(calls)))

    async def _judge(
        self, client: Any, number: int, call: Call, messages: list[Any], response: Any, phase: Phase
    ) -> None:
        """Count the answer, and say what is right, as an agent would who has the customer on the phone."""
        version, trace = response.headers["x-hallmark-version"], response.headers["x-hallmark-trace"]
        if "x-hallmark-review" in response.headers:
            phase.review += 1
            right = None
        else:
            right = same(response.json()["choices"][0]["message"]["content"], call.target)
            phase.answered[version] += 1
            phase.right[version] += right
        if number % 10 >= 10 * JUDGED:
            return
        said: dict[str, Any] = {"trace_id": trace, "verdict": "accepted"}
        if not right:
            said |= {"verdict": "corrected", "target": call.target, "messages": messages}
        taken = await client.post("/v1/feedback", json=said)
        if taken.status_code != 202:
            raise RuntimeError(f"feedback: HTTP {taken.status_code} {taken.text[:500]}")

    def _system_prompt(self) -> str:
        from ruamel.yaml import YAML

        params = YAML(typ="safe").load((self.repo / "params.yaml").read_text(encoding="utf-8"))
        return str(params["task"]["system_prompt"])


def same(text: str | None, target: dict[str, Any]) -> bool:
    """Whether an answer is the right one, as JSON."""
    try:
        return bool(json.loads(text or "") == target)
    except ValueError:
        return False
