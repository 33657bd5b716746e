"""The page, in a real browser: it shows what was found, holds at size, and text of a record stays text."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.reading import read_json, read_json_lines
from hallmark.commands import summary
from hallmark.page import labels
from hallmark.params.loader import load_params
from hallmark.task.predictions import predictions_of
from hallmark.task.task import Task
from stages import compare, gate, report
from tests.browser import chromium
from tests.made_up import (
    ROOT,
    customers,
    outcomes,
    prediction,
    without_comparators,
    write_models,
    write_other_reports,
    write_predictions,
)
from tests.rows import refused, with_changes

PARAMS = with_changes(without_comparators(load_params(ROOT / "params.yaml")), compare__bootstrap_samples=500)
EVIL = (
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror='window.pwned=1'>",
    "{{ 7*7 }} {% raw %} ${7*7} <!-- <script> ]]> &amp; &#60;",
    "\u202egnp.exe\u202c \u2066abc\u2069 \u200bzero \x00 \u2028 \ud800",
    "javascript:window.pwned=1' onmouseover='window.pwned=1",
)
BASE = outcomes(1, 150, wrong_format=0.5, wrong_value=0.2)
TUNED = outcomes(2, 150, wrong_value=0.1, hallucination=0.06, omission=0.05)
LINEAR = outcomes(3, 150, wrong_value=0.3)
FEW_SHOT = outcomes(4, 150, wrong_format=0.2, wrong_value=0.3)


def build(root, monkeypatch, params=PARAMS):
    """Predictions through `compare`, `gate` and `report`; returns the page's path."""
    monkeypatch.chdir(root)
    write_other_reports(root)
    compare.run(params)
    gate.run(params)
    report.run(params)
    return root / "reports/comparison.html"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The page of BASE, TUNED and LINEAR, for tests that only look at it."""
    root = tmp_path_factory.mktemp("built")
    write_models(root, BASE, TUNED, linear=LINEAR)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return build(root, monkeypatch)


@pytest.fixture
def copied(built, tmp_path, monkeypatch):
    """A copy of it in the working directory, which a test may change; returns the page's path."""
    shutil.copytree(built.parent.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reports/comparison.html"


@pytest.fixture(scope="module")
def built_with_few_shot(tmp_path_factory):
    """The same page with a comparator too, which answered half of the records, as the base did."""
    root = tmp_path_factory.mktemp("few")
    write_models(root, BASE, TUNED, linear=LINEAR, few_shot=FEW_SHOT)
    for model in ("base", "few_shot"):
        rows = list(read_json_lines(root / predictions_of(model)))[::2]
        shown = {"examples": ["S-1", "S-2"]} if model == "few_shot" else {}
        write_predictions(root, model, [row | shown for row in rows])
    few_shot = without_comparators(load_params(ROOT / "params.yaml"), "few_shot")
    params = with_changes(few_shot, compare__bootstrap_samples=500)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return build(root, monkeypatch, params)


@pytest.fixture(scope="module")
def browser():
    with chromium() as launched:
        yield launched


@pytest.fixture
def open_page(browser):
    """Opens a file; any request, error or blocked script on the way fails the test."""
    pages, complaints = [], []

    def open_file(path, fragment="", **options):
        context = browser.new_context(offline=True, **options)
        page = context.new_page()
        pages.append(context)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file:") or complaints.append(request.url))
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("#count:not(:empty)")
        return page

    yield open_file
    for context in pages:
        context.close()
    assert complaints == []


def test_failures_of_retrieval_lead_to_their_records(tmp_path, monkeypatch, open_page):
    of, refusal = customers(150, 12), json.dumps({"intent": "refuse"})
    for model, drawn in (("base", BASE), ("tuned", TUNED)):
        rows = []
        for i, outcome in enumerate(drawn):
            found = {"context": "what was found", "retrieved": i % 3 > 0}
            if i % 10 == 0:
                found = {"context": None, "target": refusal, "prediction": refusal}
                outcome = "pass"
            rows.append(prediction(i, of[i], outcome, **found))
        write_predictions(tmp_path, model, rows)
    write_predictions(tmp_path, "online", [])
    write_other_reports(tmp_path)
    path = build(tmp_path, monkeypatch)
    found = read_json(path.parent / "comparison.json")["retrieval"]["tuned"]
    page = open_page(path)
    lines = [line.split("\t") for line in page.locator("[aria-labelledby=retrieval-title] tbody tr").all_inner_texts()]
    assert len(lines) == 3 and lines[2][5:7] == ["15 (100.0 %)", "right"]
    failing = found["lacking"]["failing"]
    assert f"{failing} are of retrieval" in page.inner_text("#retrieval")
    assert f"at most {100 * found['fixable']:.1f} % of the failures: an upper bound" in page.inner_text("#retrieval")
    page.click(f'button[aria-label="{failing} records that the tuned model fails: not all that is expected"]')
    assert page.inner_text("#count") == f"{failing} of 150 records"
    page.click(f"[aria-labelledby=retrieval-title] button:has-text('{found['held']['examples'][0]}')")
    assert page.inner_text("#count") == "1 of 150 records"


def test_the_matrix_leads_to_the_records_it_counts(built, open_page):
    page = open_page(built)
    pairs = list(zip(BASE, TUNED, strict=True))
    cells = page.locator("#outcomes .matrix button")
    assert cells.count() == len(set(pairs))
    for cell in read_json(built.parent / "comparison.json")["against"]["base"]["transitions"]:
        base, tuned, n = cell["other"], cell["tuned"], cell["records"]
        page.click(f'.matrix button[aria-label="{n} records: base {plain(base)}, tuned {plain(tuned)}"]')
        assert page.inner_text("#count") == f"{n} of 150 records"
        assert page.evaluate("document.activeElement.id") == "count"
    page.click("text=Reset")
    counted(page, "150 of 150 records")


def counted(page, text):
    """Wait until the count of records says so (the page's policy forbids to wait by script)."""
    from playwright.sync_api import expect

    expect(page.locator("#count")).to_have_text(text, timeout=30_000)


def open_records(page, number=1):
    """Open the first records of the list, and wait until they are filled: the event `toggle` comes after the click."""
    records = page.locator("#list details")
    for record in records.all()[:number]:
        record.locator("summary").first.click()
    for record in records.all()[:number]:
        record.locator(":scope > :nth-child(2)").wait_for()


def plain(name):
    return name.replace("_", " ")


def test_records_stand_worst_first_and_can_be_found(built, open_page):
    page = open_page(built)
    moves = page.locator("#list .moves").all_inner_texts()
    assert len(moves) == 50  # the rest is drawn when it is come to
    lost = sum(base == "pass" != tuned for base, tuned in zip(BASE, TUNED, strict=True))
    failing = sum(tuned != "pass" for tuned in TUNED)
    assert all(move.startswith("✓ pass → ✗") for move in moves[:lost])
    assert not any(move.startswith("✓ pass → ✗") for move in moves[lost:])
    assert all("→ ✗" in move for move in moves[:failing])
    assert moves[0] == "✓ pass → ✗ hallucination"

    page.fill("input[name=q]", "t-00042")
    counted(page, "1 of 150 records")
    assert "#records?q=t-00042" in page.url
    page.select_option("select[name=sort]", "file")
    page.fill("input[name=q]", "")
    counted(page, "150 of 150 records")
    assert page.locator("#list .id").first.inner_text() == "T-00000"
    page.select_option("select[name=change]", "lost")
    counted(page, f"{lost} of 150 records")


def test_a_record_shows_input_target_both_outputs_and_what_differs(built, open_page):
    page = open_page(built, "#records?base=wrong_format&tuned=omission")
    record = page.locator(".record").first
    assert record.locator("pre").count() == 0  # made when it is opened
    record.locator("summary").focus()
    page.keyboard.press("Enter")
    assert record.locator("pre").first.inner_text().startswith("Ticket ")
    labels = [pane.get_attribute("aria-label") for pane in record.locator("pre").all()]
    assert labels[1:] == ["Target", "Base", "Tuned", "Linear"]
    tuned = record.locator("pre").nth(3)
    assert tuned.locator("del").all_inner_texts() == ["49.9"]
    assert tuned.locator("mark").all_inner_texts() == ["null"]
    amount = record.locator(".fields tr", has_text="amount")
    assert amount.locator("td").all_inner_texts()[0] == "49.9"
    assert amount.locator("td.missing").count() == 2
    assert record.locator("pre").nth(2).locator("mark").count() == 0  # prose: too unlike the target to mark
    assert "Too different from the target" in record.inner_text()


def test_each_label_has_a_matrix_whose_numbers_lead_to_their_records(built, open_page):
    page = open_page(built)
    block = page.locator("#labels .label", has_text="intent").first
    given = Counter("refund" if said not in ("wrong_value", "wrong_format") else said for said in TUNED)
    row = block.locator(".matrix").first.locator("tbody tr").first.inner_text().split()
    assert row == ["refund", str(given["refund"]), str(given["wrong_value"]), "150"]
    values = block.locator(".values tbody tr").first.inner_text().split("\t")
    shares = [f"{100 * sum(map(gives_refund, said)) / 150:.1f}" for said in (BASE, TUNED, LINEAR)]
    assert values == ["refund", "150", *shares, "100.0", "delivery"]
    block.locator(
        f".matrix button[aria-label='{given['wrong_value']} records: intent is refund, tuned others']"
    ).click()
    assert page.inner_text("#count") == f"{given['wrong_value']} of 150 records"
    assert page.locator("select[name=cell] option:checked").inner_text() == "intent: refund given as others"
    link = page.url[page.url.index("#") :]
    assert open_page(built, link).inner_text("#count") == f"{given['wrong_value']} of 150 records"
    page.click("text=Reset")
    counted(page, "150 of 150 records")
    assert page.locator("#cell").is_hidden()
    page.select_option("select[name=change]", "linear")
    linear = sum(tuned != "pass" and gives_refund(linear) for tuned, linear in zip(TUNED, LINEAR, strict=True))
    counted(page, f"{linear} of 150 records")
    open_records(page)
    panes = page.locator(".record").first.locator("pre")
    assert panes.nth(4).get_attribute("aria-label") == "Linear"
    assert open_page(built, "#records?cell=0.99.constructor").inner_text("#count") == "150 of 150 records"


def gives_refund(outcome):
    """Whether the answer of that outcome has the intent that is expected."""
    return outcome not in ("wrong_value", "wrong_format", "wrong_refusal")


def test_a_classification_with_more_labels_than_fit(tmp_path):
    names = [f"label {number:02d}" for number in range(120)]
    write_json(tmp_path / "schema.json", {"enum": [*names, "others"]})
    params = PARAMS.task.model_copy(
        update={"kind": "classification", "schema_file": str(tmp_path / "schema.json"), "refusal": "no"}
    )
    targets = [name for number, name in enumerate(names) for _ in range(120 - number)]
    answers = ["others" if name == names[0] else "no" if name == names[1] else name for name in targets]
    found = labels.by_label(Task(params), targets, {"tuned": answers, "base": ["?"] * len(targets)})
    (label,) = found.labels
    assert len(label.rows) == 13 and label.rows[-1] == labels.Head("others", True)
    assert [head.name for head in label.matrices["tuned"].columns[-3:]] == ["label 11", "others", "refused"]
    assert [head.name for head in label.matrices["base"].columns[-2:]] == ["label 11", "not valid"]
    assert (len(label.values), label.more_values) == (100, 20)
    assert label.values[0].right == {"tuned": 0, "base": 0} and label.values[0].instead.name == "others"
    assert sum(cell.records for row in label.matrices["tuned"].cells for cell in row) == len(targets)
    assert (found.places[0], found.places[120]) == ([[0, 12]], [[1, 13]])


def test_a_report_that_is_damaged_or_missing_names_the_stage_to_rerun(copied, tmp_path):
    page = copied.read_bytes()

    for name, stage in (("comparison.json", "compare"), ("sft_curve.csv", "sft")):
        kept = (tmp_path / "reports" / name).read_bytes()
        (tmp_path / "reports" / name).unlink()
        with refused(f"dvc repro {stage}", file=Path("reports", name), field=None):
            report.run(PARAMS)
        assert copied.read_bytes() == page
        (tmp_path / "reports" / name).write_bytes(kept)


def test_hostile_content_stays_text(tmp_path, monkeypatch, open_page):
    for model, drawn in (("base", BASE), ("tuned", TUNED)):
        rows = [prediction(i, g, o) for i, (g, o) in enumerate(zip(customers(150, 12), drawn, strict=True))]
        for row in rows:  # so that the examples have it too
            row |= dict.fromkeys(("input", "reason"), "\n".join(EVIL))
        for row, evil in zip(rows, EVIL, strict=False):
            texts = dict.fromkeys(("id", "group", "input", "context", "prediction", "reason"), evil)
            row |= texts | {"outcome": "wrong_format", "tags": [evil], "exact_match": False}
            row["target"] = json.dumps(json.loads(row["target"]) | {"issues": [evil]})
            row["fields"] = [{"path": evil, "target": evil, "prediction": None, "result": "missing"}]
        write_predictions(tmp_path, model, rows)
    write_predictions(tmp_path, "online", [])
    page = open_page(build(tmp_path, monkeypatch), "#records?base=wrong_format&tuned=wrong_format")
    open_records(page, len(EVIL))
    text = page.inner_text("#list")
    for evil in EVIL[:3]:
        assert evil in text
    shown = page.inner_text("#examples")
    assert all(evil in shown for evil in EVIL[:3]) and "U+202E" in shown and "\u202e" not in shown
    assert "U+202E" in text and "U+0000" in text and "\u202e" not in text
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img, main script, main iframe").count() == 0
    assert page.locator("script").count() == 2
    assert "49" not in page.inner_text("#slices .slices >> nth=0").split("{{ 7*7 }}")[0][-3:]
    page.select_option("select[name=group]", EVIL[0])
    source = (tmp_path / "reports/comparison.html").read_bytes()
    assert b"</script><script>window" not in source
    assert "\u202e" not in source.decode("utf-8").split('id="island"')[0]


def test_what_is_printed_of_names_cannot_steer_a_terminal(capsys):
    summary.show([("", "base"), ("\x1b]0;x\x07\u202elabel", "0.1\n")])
    printed = capsys.readouterr().out
    assert "\\x1b]0;x\\x07\\u202elabel" in printed
    assert printed.count("\n") == 2 and "\x1b" not in printed


def test_the_policy_of_the_page_lets_nothing_else_run(copied, browser):
    """What would happen if an escape failed: a script put into the page is blocked."""
    source = copied.read_text(encoding="utf-8")
    policy = r"default-src 'none'; style-src 'sha256-\S+'; script-src 'sha256-\S+'; base-uri"
    assert re.search(policy, html.unescape(source))
    copied.write_text(source.replace("<h1>", "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script><h1>"))
    page = browser.new_page()
    page.goto(copied.as_uri())
    page.wait_for_selector("#list li")
    assert page.evaluate("window.pwned") is None
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (500, "dark"), (1280, "light")])
def test_it_can_be_read_on_any_screen(built_with_few_shot, open_page, width, scheme):
    page = open_page(built_with_few_shot, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('section:not(#records) details').forEach((node) => { node.open = true; })")
    open_records(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out sideways


def test_it_can_be_used_without_eyes_or_mouse(built_with_few_shot, open_page):
    page = open_page(built_with_few_shot)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1
    unnamed = page.evaluate(UNNAMED)
    assert unnamed == []
    assert page.evaluate("[...document.querySelectorAll('table')].every((table) => table.querySelector('th[scope]'))")
    assert page.evaluate("[...document.querySelectorAll('svg')].every((svg) => svg.ariaHidden || svg.role === 'img')")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the records"
    page.locator("#list summary").first.focus()
    page.keyboard.press("Space")
    assert page.locator(".record").first.get_attribute("open") is not None


UNNAMED = """() => [...document.querySelectorAll("input, select, button, [role=region], svg[role=img], section")]
  .filter((node) => !node.labels?.length && !node.textContent.trim())
  .filter((node) => !node.ariaLabel && !node.hasAttribute("aria-labelledby"))
  .map((node) => node.outerHTML)"""


def test_the_page_repeats_and_loads_nothing(copied):
    first = copied.read_bytes()
    report.run(PARAMS)
    assert copied.read_bytes() == first
    markup = first.decode("utf-8")
    assert not re.search(r"(src|href)=[\"'](?!#)", markup.split('id="island"')[0])
    assert "http" not in markup.split('id="island"')[0].replace("http-equiv", "")
    data = re.search(r'id="island">(.*?)</script>', markup, re.DOTALL)
    assert data and len(json.loads(data[1])["records"]) == 150
    with pytest.raises(HallmarkError, match="EMAIL_ADDRESS") as caught:
        report.run(with_changes(PARAMS, base__name="jane.roe@acme-tools.io"))
    assert "jane.roe" not in str(caught.value)
