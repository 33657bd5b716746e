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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from hallmark.params.loader import load_params
from hallmark.task.answers import compact_json
from tests.demo.tickets import FIELDS, Row, make_world
from tests.workspace import change_params

RAW, SCHEMA = Path("data/raw/tickets.jsonl"), Path("data/schema.json")
PLANTED, SMALL = "planted for the demo: a release that is bad on purpose", "a demo has few records"
JUDGED, AT_ONCE = 0.8, 4  # share of the answers that somebody judges; callers


@dataclass(frozen=True)
class Size:
    """How much of it: customers and rows to learn from, callers, most calls of the four phases; and what params.yaml has."""

    customers: int
    rows: int
    callers: int
    calls: tuple[int, int, int, int]
    params: dict[str, Any]
    bad: dict[str, Any]  # params of the bad release


@dataclass
class Step:
    """A command: when, in seconds since the start; for how long; what it said, and what came of it in a line."""

    at: float
    title: str
    command: str
    seconds: float
    said: str
    outcome: str


@dataclass(frozen=True)
class Answer:
    """A call: in which phase, which release answered, what became of it, and what was said of it ("": nothing)."""

    at: float
    phase: str
    version: str
    became: str  # right, wrong, for a person, failed
    judged: str = ""


@dataclass
class Played:
    """All that happened. `sides`: when a version began to answer as prod or canary, or None did; `ended`: how, once it has."""

    steps: list[Step] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    sides: list[tuple[float, str, str | None]] = field(default_factory=list)
    releases: dict[str, tuple[float, list[str]]] = field(default_factory=dict)  # exact match, failed rules of the gate
    verdicts: dict[str, tuple[str, float]] = field(default_factory=dict)  # of each canary, and after how many seconds
    collected: int = 0
    seconds: float = 0.0
    now: str = ""
    ended: str | None = None


class Loop:
    """The loop in one repository."""

    def __init__(self, repo: Path, size: Size, say: Callable[[str], None] = print) -> None:
        self.repo, self.size, self._say, self.played = repo, size, say, Played()
        self.start = time.monotonic()
        calls = sum(size.calls) + size.calls[3]
        self.rows, asked = make_world(11, size.customers, size.rows, size.callers, calls)
        self._calls = iter(asked)
        self.waivers: dict[str, str] = {}

    def play(self) -> None:
        """From data to a release that learned from its callers, and one that is taken back."""
        self.prepare()
        self.train("Train on what there is", "v0.1.0")
        self.tool("Put it into service", "promote", "v0.1.0", "prod")
        with self.gateway() as url:
            self.wait_for(url, "prod", "v0.1.0")
            self.ask("New customers, first release", url, self.size.calls[0])
            self.learn(url)
            self.go_wrong(url)
        self.tool("What has been released", "releases")

    def learn(self, url: str) -> None:
        """What people judged becomes data, from which the next release is made, which is a canary first.

        A canary's looks come by the clock, and calls as fast as this machine answers: four looks while it answers most calls.
        """
        days = max(0.001, 0.8 * self.size.calls[1] * self.pace / 86_400)
        change_params(self.repo, {"canary.days": days, "canary.first_look_hours": 24 * days / 1.5**3.5})
        self.tool("Take what people judged into the data", "collect")
        self.played.collected = self.report("collect.json")["added"]
        self.train("Train again, with what callers taught", "v0.2.0")
        if self.canary("A canary", url, "v0.2.0", self.size.calls[1]) != "promote":
            self.tool("The verdict did not promote it: a person does", "promote", "v0.2.0", "prod")
        self.wait_for(url, "prod", "v0.2.0")

    def go_wrong(self, url: str) -> None:
        """A bad release is taken back twice: as a canary by its verdict, and from prod by hand."""
        change_params(self.repo, self.size.bad)
        self.train("Train a bad release, planted", "v0.3.0", PLANTED)
        self.canary("A bad canary", url, "v0.3.0", self.size.calls[2])
        self.tool("Somebody puts it into prod all the same", "promote", "v0.3.0", "prod")
        self.wait_for(url, "prod", "v0.3.0")
        self.ask("Customers of the bad release", url, self.size.calls[3])
        self.tool("Take it back", "rollback")
        self.wait_for(url, "prod", "v0.2.0")
        self.ask("After going back", url, self.size.calls[3])

    def canary(self, title: str, url: str, version: str, most: int) -> str:
        """Let a version answer some customers until its verdict, which acts, or until that many calls."""
        self.tool(f"Let {version} answer some customers", "promote", version, "canary")
        self.wait_for(url, "canary", version)
        at, before, found = self.at, len(self.played.answers), {"verdict": "too_little_data"}
        look = datetime.now(UTC) + timedelta(days=load_params(self.repo / "params.yaml").canary.days / 1.5**3)
        while found["verdict"] == "too_little_data" and (left := before + most - len(self.played.answers)) > 0:
            self.ask(title, url, left, (look - datetime.now(UTC)).total_seconds())
            self.tool("Judge the canary, and act", "canary", "--act", codes=(0, 1, 3))  # each is a verdict
            if (found := self.report("live/canary.json"))["next_look"] is None:
                break
            look = datetime.fromisoformat(found["next_look"])
        self.played.verdicts[version] = found["verdict"], self.at - at
        self.played.sides.append((self.at, "canary", None))
        return str(found["verdict"])

    def prepare(self) -> None:
        """Other data, other params, no frozen holdout; committed, as a new project would be."""
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows]
        (self.repo / RAW).write_text("".join(lines), encoding="utf-8", newline="\n")
        schema = json.loads((self.repo / SCHEMA).read_text(encoding="utf-8"))
        schema |= {"required": FIELDS, "properties": {name: schema["properties"][name] for name in FIELDS}}
        (self.repo / SCHEMA).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
        (self.repo / "data/holdout.lock.json").unlink(missing_ok=True)
        change_params(self.repo, self.size.params)
        self.commit("The data and params of the demo")

    def train(self, title: str, version: str, waived: str = SMALL) -> None:
        """`dvc repro`, a commit, a release. Rules of the gate that fail are waived, with this reason."""
        self.run(title, "dvc", "repro")
        rules, right = self.report("gate.json")["rules"], self.report("headline.json")["exact_match"]
        failed = sorted(rule["name"] for rule in rules if rule["outcome"] in ("fail", "too_little_data"))
        gate = "refuses it" if failed else "lets it pass"
        self.played.steps[-1].outcome = f"{100 * right:.0f} % of its holdout right; the gate {gate}"
        if failed != sorted(self.waivers):
            self.waivers = dict.fromkeys(failed, waived)
            change_params(self.repo, {"gate.waive": self.waivers})
            why = f"Waive {len(failed)} rules of the gate: {waived}" if failed else "Waive nothing any more"
            self.run(why, "dvc", "repro")
        self.commit(f"Results of {version}")
        self.tool(f"Register {version}", "release", "--version", version)
        self.played.releases[version] = right, failed

    def report(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.repo / "reports" / name).read_text(encoding="utf-8")))

    def commit(self, message: str) -> None:
        self.shell("git", "add", "-A")
        self.shell("git", "commit", "-q", "--allow-empty", "-m", message)

    def tool(self, title: str, name: str, *options: str, codes: Sequence[int] = (0,)) -> str:
        return self.run(title, "python", "-m", f"hallmark.service.commands.{name}", *options, codes=codes)

    def run(self, title: str, *command: str, codes: Sequence[int] = (0,)) -> str:
        """Run a command as a step; what it said."""
        self.say(f"== {title}: {' '.join(command)}", title)
        at, said = self.at, self.shell(*command, codes=codes).strip()
        told = [
            line for line in said.splitlines() if re.match(r"(canary|prod): [a-z]|done:|added |Today's requests", line)
        ]
        told = told or [line for line in said.splitlines()[:1] if command[0] != "dvc"]
        self.done(at, title, " ".join(command), said, "; ".join(line.rstrip(".") for line in told))
        return said

    def done(self, at: float, title: str, command: str, said: str = "", outcome: str = "") -> None:
        self.played.steps.append(Step(at, title, command, round(self.at - at, 1), said, outcome))
        self.say("\n".join(f"   {line}" for line in [*said.splitlines()[-25:], f"{title}: {self.at - at:.1f} s"]))

    def say(self, text: str, now: str = "") -> None:
        self.played.seconds, self.played.now = self.at, now or self.played.now
        self._say(text)

    @property
    def at(self) -> float:
        return time.monotonic() - self.start

    def shell(self, *command: str, codes: Sequence[int] = (0,)) -> str:
        """Run a command in the repository; its output, and an error with it if it ends otherwise than expected."""
        process = self.begun(*command, output=subprocess.PIPE)
        try:
            said = str(process.communicate()[0])
        except BaseException:  # stopped: end what it started, too
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode not in codes:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said[-4000:]}")
        return said

    def begun(self, *command: str, output: Any) -> subprocess.Popen[str]:
        """As a person would who has activated `.venv`; nobody's name is in the commits. Ctrl-C does not reach it."""
        own = {f"GIT_{who}_{what}": "demo@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own |= {"PYTHONPATH": str(self.repo), "NO_COLOR": "1", "DVC_NO_ANALYTICS": "1"}
        own["OMP_WAIT_POLICY"] = "PASSIVE"  # two servers share the cores: a thread that waits leaves them to the other
        where: dict[str, Any] = {"cwd": self.repo, "env": os.environ | own, "start_new_session": True, "text": True}
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **where)

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """The gateway with its model server, for as long as the block lasts; where it answers."""
        command = ("python", "-m", "hallmark.service.commands.serve", "--port", "0")
        log, at = self.repo / "serve.log", self.at
        self.say(f"== Serve: {' '.join(command)}", "Serve")
        with log.open("w", encoding="utf-8") as output:
            process = self.begun(*command, output=output)
        try:
            while not (found := re.search(r"(http://127\.0\.0\.1:\d+)/v1 answers", said := log.read_text("utf-8"))):
                if process.poll() is not None or self.at - at > 600:
                    raise RuntimeError(f"the gateway did not start:\n{said[-3000:]}")
                time.sleep(0.2)
            self.done(at, "Serve", " ".join(command), said.strip(), f"{found[1]} answers")
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()

    def wait_for(self, url: str, side: str, version: str, seconds: float = 300) -> None:
        """Wait until the gateway answers with this version on a side."""
        import httpx

        at, text = self.at, ""
        line = re.compile(rf'hallmark_release_info{{(?=.*side="{side}").*version="{re.escape(version)}".*}} 1')
        while not line.search(text):
            if self.at - at > seconds:
                raise RuntimeError(f"the gateway does not take up {version} as {side}:\n{text}")
            time.sleep(0.2)
            text = httpx.get(f"{url}/metrics", trust_env=False).text
        self.played.sides.append((self.at, side, version))
        self.done(at, f"The gateway takes up {version} as {side}", f"GET {url}/metrics")

    def ask(self, phase: str, url: str, calls: int, seconds: float = float("inf")) -> None:
        """At most that many calls, each judged by who knows the right answer, but for a share that nobody judges."""
        self.say(f"== {phase}: at most {calls} calls", phase)
        asyncio.run(self._ask(phase, url, islice(self._calls, calls), self.at + seconds))
        self.say(f"   {len(self.played.answers)} calls until now")

    @property
    def pace(self) -> float:
        """Seconds from a call's answer to the next one's, on average."""
        times = [one.at for one in self.played.answers]
        return (times[-1] - times[0]) / (len(times) - 1)

    async def _ask(self, phase: str, url: str, calls: Iterator[Row], end: float) -> None:
        import httpx

        prompt = load_params(self.repo / "params.yaml").task.system_prompt
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            model = (await client.get("/v1/models")).json()["data"][0]["id"]

            async def caller() -> None:
                while self.at < end and (call := next(calls, None)):
                    text = f"{call['subject']}\n{call['body']}".strip()
                    said = [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
                    body, who = {"model": model, "messages": said}, {"x-customer": call["customer"]}
                    response = await client.post("/v1/chat/completions", json=body, headers=who)
                    if response.status_code == 200:
                        await self._judge(client, phase, call, said, response)
                    else:
                        self.played.answers.append(Answer(self.at, phase, "", "failed"))

            await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    async def _judge(self, client: Any, phase: str, call: Row, said: list[Any], response: Any) -> None:
        """Count the answer, and say what is right, as an agent would who has the customer on the phone."""
        right = response.json()["choices"][0]["message"]["content"] == compact_json(call["target"])
        became = "for a person" if "x-hallmark-review" in response.headers else "right" if right else "wrong"
        verdict = "accepted" if became == "right" else "corrected"
        judged = verdict if len(self.played.answers) % 10 < 10 * JUDGED else ""
        self.played.answers.append(Answer(self.at, phase, response.headers["x-hallmark-version"], became, judged))
        if judged:
            body = {"trace_id": response.headers["x-hallmark-trace"], "verdict": judged}
            more = {"target": call["target"], "messages": said} if judged == "corrected" else {}
            taken = await client.post("/v1/feedback", json=body | more)
            if taken.status_code != 202:
                raise RuntimeError(f"feedback: HTTP {taken.status_code} {taken.text[:500]}")
