"""Masking of live requests: as in training, put back exactly, in processes that may die."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hallmark.base.document import changed
from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.mask.kinds import KINDS, short
from hallmark.mask.live import LiveMasker
from hallmark.mask.restoring import Masked, leftover, restore
from hallmark.mask.rows import RowMaker
from hallmark.mask.two_runs import Runs
from hallmark.params.loader import Params, load_params
from hallmark.records import Record
from hallmark.service.gateway import masking
from hallmark.service.gateway.masking import MaskPool
from hallmark.task.answers import compact_json
from hallmark.task.task import Task
from tests.gateway_toys import until
from tests.rows import mask_with
from tests.workspace import ROOT

CARD = "4929 7226 5379 7141"
SENTENCE = "Ann Marlow wrote to ann.marlow@acme-tools.io about it. "
LONG, ENDLESS = SENTENCE * 1_000, SENTENCE * 30_000  # a second or more, and far longer than any test
KEY = bytes(range(32))
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "send",
            "description": "Send to ann.marlow@acme-tools.io, or call +1 202-555-0143",
            "parameters": {"type": "object", "properties": {"email": {"type": "string", "enum": ["refund", "none"]}}},
        },
    }
]


@pytest.fixture(autouse=True, scope="module")
def _in_the_repo() -> Iterator[None]:
    with chdir(ROOT):
        yield


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def live(params: Params) -> LiveMasker:
    return LiveMasker(params.task, mask_with(), None)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def asked(params: Params, text: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": params.task.system_prompt}, user(text)]


def tickets(params: Params, step: int) -> list[Record]:
    """Some of the sample's tickets, as a caller has them: nobody says who the customer is."""
    return list(Runs(params, Task(params.task)).records(check=False))[::step]


# --- the same as in training


def test_a_request_is_masked_as_the_stage_masks_the_same_ticket(params: Params, live: LiveMasker) -> None:
    raws = tickets(params, 25)
    rows, _ = RowMaker(params.data, params.task, live.mask, None, None).rows([(raw, ()) for raw in raws])
    stand_ins = 0
    for raw, row in zip(raws, rows, strict=True):
        target = Task(params.task).render(raw.target)
        masked, also = live(asked(params, raw.prompt), None, [target])
        assert masked.messages == row[2] == live(asked(params, raw.prompt), None)[0].messages
        assert also == [row[3][0]["content"]]
        assert restore(masked.messages[1]["content"], masked.values) == raw.prompt
        stand_ins += bool(masked.values)
    assert stand_ins > len(raws) // 4


def test_so_it_is_with_an_ner_model_surrogates_and_a_process(params: Params) -> None:
    raws = tickets(params, 100)
    mask = params.mask.model_copy(update={"style": "surrogate"})
    rows, _ = RowMaker(params.data, params.task, mask, None, KEY).rows([(raw, ()) for raw in raws])

    async def all_masked() -> list[tuple[Masked, list[str]]]:
        pool = MaskPool(params.task, mask, KEY)
        try:
            return [await pool.mask(asked(params, raw.prompt), None) for raw in raws]
        finally:
            await pool.close()

    masked = asyncio.run(all_masked())
    assert [one.messages for one, _ in masked] == [row[2] for row in rows]
    assert any(one.values for one, _ in masked)


def test_tools_and_arguments_are_masked_as_those_of_a_record(params: Params, live: LiveMasker) -> None:
    changes = {"prompt": "Ask ann.marlow@acme-tools.io, or +1 202-555-0143.", "tools": TOOLS}
    raw = tickets(params, 10_000)[0].model_copy(update=changes)
    (row,), _ = RowMaker(params.data, params.task, live.mask, None, None).rows([(raw, ())])
    arguments = '{"email": "Ann.Marlow@acme-tools.io",  "phone": 12025550143, "amount": 12.50}'
    calls = [{"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}]
    plain = {"id": "call_2", "type": "function", "function": {"name": "send", "arguments": '{"a":  [1.0, "refund"]}'}}
    messages = [
        *asked(params, raw.prompt),
        {"role": "assistant", "content": None, "tool_calls": [*calls, plain]},
        {"role": "tool", "content": "sent to ann.marlow@acme-tools.io", "tool_call_id": "call_1", "name": "send"},
    ]
    masked, _ = live(messages, TOOLS)
    assert masked.messages[:2] == row[2]
    assert compact_json(masked.tools) == row[5]
    functions = [call["function"] for call in masked.messages[2]["tool_calls"]]
    assert json.loads(functions[0]["arguments"]) == {"email": "<EMAIL_1>", "phone": "<PHONE_1>", "amount": 12.5}
    assert functions[1] == plain["function"]  # to the letter
    assert masked.messages[3] == messages[3] | {"content": "sent to <EMAIL_1>"}
    assert masked.values == {"<EMAIL_1>": "ann.marlow@acme-tools.io", "<PHONE_1>": "+1 202-555-0143"}


def test_only_the_tasks_own_prompt_stays(params: Params) -> None:
    task = params.task.model_copy(update={"system_prompt": "Ask help@acme-tools.io"})
    masker = LiveMasker(task, mask_with(), None)
    texts = ["Ask help@acme-tools.io ", "Ask ann@acme-tools.io"]
    masked, _ = masker([{"role": "system", "content": text} for text in texts] + [user(texts[0])], None)
    contents = [message["content"] for message in masked.messages]
    assert contents == ["Ask help@acme-tools.io ", "Ask <EMAIL_1>", "Ask <EMAIL_2> "]


def test_an_answer_with_it_stays_json_and_changes_no_number(params: Params, live: LiveMasker) -> None:
    request = [user("Mail ann@acme-tools.io")]
    answer = '{"product": "of bob@acme-tools.io", "issues": ["ann@acme-tools.io\\nwrote"], "amount": 5.0}'
    refusal = params.task.refusal or ""
    masked, also = live(request, None, [answer, refusal, "Tell bob@acme-tools.io", '{"amount": 5.0}'])
    assert masked.messages == live(request, None)[0].messages == [user("Mail <EMAIL_1>")]
    assert json.loads(also[0]) == {"product": "of <EMAIL_2>", "issues": ["<EMAIL_1>\nwrote"], "amount": 5.0}
    assert also[1:] == [refusal, "Tell <EMAIL_2>", '{"amount": 5.0}']


# --- put back

STAND_INS = ["<EMAIL_1>", "<EMAIL_10>", "<EMAIL_2>", "<PERSON_1>", "Mary Jones", "Mary", "47", "new-town"]
PIECES = st.sampled_from(
    [*STAND_INS, "<EMAIL_3>", "<email_1>", "<", ">", " ", "4", "7.5", "a", '"', "\\", "\n", "\ud800", "é"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
VALUES = st.dictionaries(st.sampled_from(STAND_INS), TEXTS)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: isinstance(value, str | list | dict))


@given(DOCUMENTS, VALUES, st.booleans(), st.sampled_from([None, 1]))
@example(["<EMAIL_1>"], {"<EMAIL_1>": '"}, {"admin": true'}, True, None)
@example({"<EMAIL_1>": "<EMAIL_1>:"}, {"<EMAIL_1>": 'x": 1, "y'}, False, 1)
def test_a_json_answer_stays_json_and_says_the_callers_values(
    document: Any, values: dict[str, str], escaped: bool, indent: int | None
) -> None:
    written = json.dumps(document, ensure_ascii=escaped, indent=indent)
    after = json.loads(restore(written, values))
    assert after == changed(document, lambda item: in_text(item, values) if isinstance(item, str) else item)


def in_text(text: str, values: dict[str, str]) -> str:
    """What `restore` makes of a text that is not JSON: letters before it leave every stand-in as it is."""
    return restore(f"- {text}", values)[2:]


@given(TEXTS, VALUES)
def test_in_a_text_each_stand_in_is_replaced_once_the_longest_first(text: str, values: dict[str, str]) -> None:
    only_placeholders = {key: value for key, value in values.items() if key.startswith("<")}
    expected, at = "", 0
    while at < len(text):
        found = next((key for key in only_placeholders if text.startswith(key, at)), None)
        expected += text[at] if found is None else only_placeholders[found]
        at += len(found or " ")
    assert in_text(text, only_placeholders) == expected


PIECES = st.builds(
    lambda name, number, form: form.format(f"{name}_{number}", name=name),
    st.sampled_from([*map(short, KINDS), "OWN_KIND"]),
    st.integers(1, 120),
    st.sampled_from(["<{0}>", "<{0}", "{0}>", "{0}", "<{name}_", '<{name}"', "<{name}"]),
)
ORDINARY = st.sampled_from(
    ["", "Hi ", "<b>", "</b> ", "<TITLE>", "<URL> ", "5 < 6", " a_1>b ", "x <", "> ", '"', "\n", "Ann", "PERSON ", "DATE>"]
)  # fmt: skip


@given(PIECES, ORDINARY, ORDINARY, st.booleans())
def test_a_piece_of_a_placeholder_is_found_wherever_it_stands_unless_the_caller_wrote_it(
    piece: str, before: str, after: str, as_json: bool
) -> None:
    """`OWN_KIND` is a kind of the user's own, of which the request has one."""
    after = f" {after}" if piece[-1] in "0123456789>" else ""
    text = f"{before} {piece}{after}"
    answer = json.dumps({"a": [text]}) if as_json else text
    own = ["<OWN_KIND_1>"]
    assert len(leftover(answer, [], own)) == 1
    assert leftover(answer, ["Hi", f"x{piece}x"], own) == []
    masked = Masked(messages=[{"role": "user", "content": f"I wrote {piece}{after}"}], tools=None, values={})
    assert leftover(answer, [""], own) != masked.leftover(answer) == []
    told = Masked(messages=[{"role": "system", "content": f"write {piece}{after}"}], tools=None, values={own[0]: "x"})
    assert (told.leftover(answer) == []) == (piece == own[0])


@given(st.lists(ORDINARY, max_size=8).map(" ".join), st.booleans())
def test_ordinary_text_has_no_piece_of_a_placeholder(text: str, as_json: bool) -> None:
    assert leftover(json.dumps([text]) if as_json else text, []) == []


def test_only_stand_ins_of_this_request_come_back() -> None:
    values = {"<EMAIL_1>": "<EMAIL_2>", "<EMAIL_2>": "x", "Mary": "Ann", "Mary Jones": "Ann O'Neil", "47": "52"}
    assert (
        restore("<EMAIL_1><EMAIL_2> <EMAIL_3> <EMAIL_11> <email_1>", values)
        == "<EMAIL_2>x <EMAIL_3> <EMAIL_11> <email_1>"
    )
    assert restore("Mary Jones, Mary; Maryland, Mary Joneson", values) == "Ann O'Neil, Ann; Maryland, Ann Joneson"
    assert restore("47, 47.50, 1,47, 147, 47.", values) == "52, 47.50, 1,47, 147, 52."
    assert restore('{"a": "\\u003cEMAIL_1\\u003e", "n": 47}', values) == '{"a": "<EMAIL_2>", "n": 47}'


SAID = ["ann@acme-tools.io", "+1 202-555-0143", "<EMAIL_1>", "<EMAIL_7>", "<ROSA_MILLER_1>", CARD, "the kettle", '"{\\']
WRITTEN = st.lists(st.sampled_from(SAID), min_size=1, max_size=8).map(" and ".join)


@given(WRITTEN)
def test_what_the_caller_wrote_comes_back_to_the_letter(live: LiveMasker, text: str) -> None:
    masked, _ = live([user(text)], None)
    (message,) = masked.messages
    assert "acme-tools" not in message["content"] and "ROSA" not in message["content"]
    assert restore(message["content"], masked.values) == text
    assert json.loads(restore(json.dumps([message["content"]]), masked.values)) == [text]


def test_no_surrogate_says_two_things(params: Params) -> None:
    mask = mask_with(style="surrogate", actions={"EMAIL_ADDRESS": "placeholder"})
    masker = LiveMasker(params.task, mask, KEY)
    sure, _ = masker([user("Call +1 202-555-0143 or mail ann@acme-tools.io")], None)
    (surrogate,) = set(sure.values) - {"<EMAIL_1>"}
    assert restore(f"{surrogate} <EMAIL_1>", sure.values) == "+1 202-555-0143 ann@acme-tools.io"


@pytest.mark.full
def test_where_surrogates_run_out_placeholders_follow(params: Params) -> None:
    """There are 800 of telephone numbers."""
    masker = LiveMasker(params.task, mask_with(style="surrogate"), KEY)
    numbers = [f"+1 202-{555 + n // 100}-{n % 100:02d}43" for n in range(850)]
    many, _ = masker([user(f"Call {number} now.") for number in numbers], None)
    texts = [message["content"] for message in many.messages]
    assert len(set(texts)) == len(numbers)
    assert [restore(text, many.values) for text in texts] == [f"Call {number} now." for number in numbers]


# --- refused, without a word of the text

PHONES = [{"phone": {"items": {"anyOf": [{"enum": ["any", 491715558342]}]}}}]


@pytest.mark.parametrize(
    ("changes", "messages", "tools", "status", "words"),
    [
        ({"actions": {"CREDIT_CARD": "drop"}}, [user(f"My card: {CARD}")], None, 400, "CREDIT_CARD"),
        ({"allow": [CARD]}, [user(f"My card: {CARD}")], None, 422, "CREDIT_CARD in a value"),
        ({}, [user("Hi")], [{"name": "pay", "default": 4929722653797141}], 422, "CREDIT_CARD in a number of the tools"),
        ({}, [user("Hi")], PHONES, 422, "PHONE_NUMBER in a number of the tools"),
        ({}, [user("Hi")], [{"name": "pay", "ann@acme-tools.io": 1}], 422, "EMAIL_ADDRESS in a key"),
    ],
    ids=["drop", "allowed", "number", "enum", "key"],
)
def test_what_would_be_left_is_not_passed_on(
    params: Params, changes: dict[str, Any], messages: list[Any], tools: Any, status: int, words: str
) -> None:
    with pytest.raises(Refusal) as refused:
        LiveMasker(params.task, mask_with(**changes), None)(messages, tools)
    assert refused.value.status == status
    assert words in refused.value.message
    assert "4929" not in refused.value.message and "ann@" not in refused.value.message


# --- in processes


def pids() -> list[int]:
    """Of the processes that mask for this one."""
    children = psutil.Process().children()
    return [child.pid for child in children if masking.__name__ in child.as_dict(["cmdline"], [])["cmdline"]]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def waiting(pool: MaskPool) -> int:
    return len(pool._turns._waiters or ())


class Running:
    """A pool, and the loop that it lives in, in a thread."""

    def __init__(self, pool: MaskPool) -> None:
        self.pool, self._ready, self._end = pool, threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._live()])
        self._thread.start()
        self._ready.wait(120)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.pool.start()
        self._ready.set()
        await self._end.wait()
        await self.pool.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def one(self, text: str = "Mail ann@acme-tools.io") -> str:
        masked, _ = await self.pool.mask([user(text)], None)
        return str(masked.messages[0]["content"])

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)


@pytest.fixture(scope="module")
def running(params: Params) -> Iterator[Running]:
    running = Running(MaskPool(params.task, mask_with(), None, seconds=100.0))
    yield running
    started = pids()
    assert started
    running.stop()
    assert not any(map(psutil.pid_exists, started))  # as zombies neither


def test_a_process_that_dies_is_replaced_and_the_request_asked_again(running: Running) -> None:
    async def killed() -> tuple[str, list[str]]:
        os.kill(pids()[0], signal.SIGKILL)  # while it has nothing to do
        first = await running.one()
        work = [asyncio.create_task(running.one(LONG)), *(asyncio.create_task(running.one()) for _ in range(3))]
        await until(lambda: waiting(running.pool) == 3)
        await asyncio.sleep(0.1)
        os.kill(pids()[0], signal.SIGKILL)  # in the middle of a text
        return first, await asyncio.gather(*work)

    first, others = running.run(killed())
    assert first == "Mail <EMAIL_1>"
    assert "wrote to <EMAIL_1>" in others[0]
    assert others[1:] == ["Mail <EMAIL_1>"] * 3


@pytest.mark.full
def test_a_request_that_ends_two_processes_is_refused_and_others_are_not(running: Running) -> None:
    async def poisoned() -> tuple[Refusal, str]:
        work, before = asyncio.create_task(running.one(ENDLESS)), list[int]()
        for _ in range(2):
            await until(lambda: pids() not in ([], before))  # noqa: B023
            await asyncio.sleep(0.3)
            before = pids()
            os.kill(before[0], signal.SIGKILL)
        other = await running.one()
        with pytest.raises(Refusal) as refused:
            await work
        return refused.value, other

    refusal, other = running.run(poisoned())
    assert (refusal.status, refusal.code) == (503, "masking_unavailable")
    assert other == "Mail <EMAIL_1>"


def test_the_loop_never_waits(running: Running) -> None:
    async def crowded() -> tuple[list[str], float]:
        first = asyncio.create_task(running.one(LONG))
        await asyncio.sleep(0)
        longest, last = 0.0, time.thread_time()
        rest = [asyncio.create_task(running.one()) for _ in range(4)]
        while not first.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        return await asyncio.gather(*rest), longest

    answers, longest = running.run(crowded())
    assert answers == ["Mail <EMAIL_1>"] * 4
    assert longest < 0.5  # of work of this thread: masking takes seconds


def test_callers_that_leave_free_their_places(running: Running) -> None:
    async def left() -> str:
        work = [asyncio.create_task(running.one(ENDLESS)) for _ in range(5)]
        await until(lambda: waiting(running.pool) == 4)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        assert waiting(running.pool) == 0
        return await running.one()  # the text that nobody waits for is given up

    assert running.run(left()) == "Mail <EMAIL_1>"


@pytest.mark.full
def test_a_request_that_takes_too_long_is_refused(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.pool, "seconds", 1.0)
    with pytest.raises(Refusal, match="longer than 1 s") as refused:
        running.run(running.one(ENDLESS))
    monkeypatch.undo()
    assert (refused.value.status, running.run(running.one())) == (413, "Mail <EMAIL_1>")


def test_a_text_that_is_too_long_or_no_request_is_refused_unlogged(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(Refusal) as long:
            running.run(running.one("x" * 2_000_001))
        with pytest.raises(Refusal) as broken:
            running.run(running.pool.mask([{"role": "ann@acme-tools.io"}], None))
    assert (long.value.status, long.value.code) == (400, "text_too_long")
    assert (broken.value.status, broken.value.code) == (500, "masking_failed")
    assert "KeyError at record.py" in caplog.text
    assert "ann@" not in caplog.text + broken.value.message


def test_a_model_that_cannot_be_loaded_is_said_at_the_start_and_what_is_printed_is_no_answer(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('null', flush=True)")  # before it is ended
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    mask = params.mask.model_copy(update={"ner": params.mask.ner.model_copy(update={"model": "en_none"})})
    with pytest.raises(HallmarkError, match=r"mask\.ner\.model"):
        asyncio.run(MaskPool(params.task, mask, None).start())
    assert tuple(capfd.readouterr()) == ("", "null\n")


def test_a_process_that_never_says_that_it_is_ready_is_ended(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setattr(masking, "LOADING", 0.2)
    pool, before = MaskPool(params.task, mask_with(), None), pids()
    with pytest.raises(HallmarkError, match=r", or did not load them in 0\.2 s"):
        asyncio.run(pool.start())
    with pytest.raises(Refusal, match="try again"):
        asyncio.run(pool.mask([user("Mail ann@acme-tools.io")], None))
    assert pids() == before


PARENT = """
import asyncio
from hallmark.params.loader import load_params
from hallmark.service.gateway.masking import MaskPool
from tests.rows import mask_with
from tests.test_live_masking import ENDLESS, pids, user

async def main():
    pool = MaskPool(load_params().task, mask_with(), None, processes=2, seconds=1.0)
    await pool.start()
    asyncio.get_running_loop().call_later(0.5, lambda: print(*pids(), flush=True))
    await pool.mask([user(ENDLESS)], None)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.full
def test_the_processes_end_with_the_gateway_however_it_ends(tmp_path: Any) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        started = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(started) == 2
    asyncio.run(until(lambda: not any(alive(pid) for pid in started), 8))  # though one is asked for something endless
