"""Tampered and forged releases: a changed part is always found, and what is forged as a whole is never called proven."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import canonical_json
from hallmark.release.checking import check, check_release
from hallmark.release.shipping import copy as copy_release
from hallmark.release.shipping import release
from tests.made_up_release import CASCADE, GATE, PARAMS, RULES, Parts, edit, parts, write_clone, write_release
from tests.small_pipeline import shell
from tests.test_files import JSON
from tests.workspace import program, written

NAMES = (*parts()["files"], *parts()["made"], prov.PROVENANCE, prov.VERDICT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release in `clone/models/release`, and the repository that made it in `clone`."""
    top = tmp_path_factory.mktemp("made")
    stages = write_release(top / "clone/models/release", parts())
    write_clone(top / "clone", top / "clone/models/release", stages)
    return top


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the release to change."""
    return Path(shutil.copytree(made / "clone/models/release", tmp_path / "release"))


def refused(folder: Path, clone: Path | None = None, key: Path | None = None) -> str:
    """What a check says of a release that it does not take; fails if it takes it."""
    try:
        finding = check(folder, clone, key)
    except HallmarkError as error:
        return str(error)
    assert finding.exit_code == 1, finding.lines
    assert finding.lines[0].startswith("damaged, changed or forged")
    return "\n".join(finding.lines)


# --- one part is changed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_one_changed_byte_is_refused(folder: Path, name: str, at: float) -> None:
    content = bytearray((folder / name).read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    refused(folder)


def swap(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder / "third")
    (folder / other).rename(folder / one)
    (folder / "third").rename(folder / other)


def link(folder: Path, name: str, to: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(to)


CHANGES: list[tuple[str, Callable[[Path], Any]]] = [
    *((f"{name} is missing", lambda folder, name=name: (folder / name).unlink()) for name in NAMES[:2]),
    ("lacks", lambda folder: (folder / prov.VERDICT).unlink()),
    ("is not the file", lambda folder: swap(folder, "adapter_config.json", "training.json")),
    ("not of the form", lambda folder: swap(folder, prov.PROVENANCE, prov.VERDICT)),
    ("more/adapter_model.bin is not named", lambda folder: written(folder, {"more/adapter_model.bin": b"x"})),
    (".git is hidden", lambda folder: written(folder, {".git/evil.bin": b"x"})),
    (".gitattributes is hidden", lambda folder: (folder / ".gitattributes").write_bytes(b"x" * 20_000)),
    ("provenance.json is a link", lambda folder: link(folder, prov.PROVENANCE, prov.VERDICT)),
    ("dangling is a link", lambda folder: link(folder, "dangling", "nothing")),
    ("pipe is neither a file nor a folder", lambda folder: os.mkfifo(folder / "pipe")),
    (r"bad\u202e has a name", lambda folder: written(folder, {"bad\u202e": b"x"})),
    ("README.md and readme.MD are one file", lambda folder: written(folder, {"readme.MD": b"x"})),
]


@pytest.mark.parametrize(("words", "change"), CHANGES)
def test_what_is_added_removed_or_replaced_is_refused(folder: Path, words: str, change: Callable[[Path], Any]) -> None:
    change(folder)
    assert words in refused(folder).encode("unicode_escape").decode().replace(r"\\", "\\").replace(r"\n", "\n")


def test_a_file_whose_name_is_no_text_is_told(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_bytes(b"x")
    finding = check(folder)
    assert [line for line in finding.wrong if "has a name that can't be shown" in line]


def test_too_many_entries_and_too_deep_ones_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "/".join("d" * 20)).mkdir(parents=True)
    assert "more than 16 folders deep" in refused(folder)
    monkeypatch.setattr("hallmark.release.listing.ENTRIES", 9)
    assert "more than 9 entries" in refused(folder)


def test_a_hub_may_add_its_small_gitattributes_which_is_never_shipped(folder: Path, made: Path, tmp_path: Path) -> None:
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")
    assert check(folder, made / "clone").exit_code == 0
    copy_release(folder, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*NAMES}


# --- the cascade -------------------------------------------------------------------------------------------------


def with_cascade(folder: Path, asked: Any = None, **changes: Any) -> Path:
    """A release with a cascade, all of whose hashes are right."""
    it = parts()
    it["made"] = it["made"] | {prov.CASCADE: canonical_json(CASCADE | changes).encode()}
    it["params"] = PARAMS | {"cascade": {"max_risk": 0.05, "confidence": 0.9, "fallback": "human"} | (asked or {})}
    write_release(folder, it)
    return folder


@pytest.mark.parametrize(
    ("asked", "changes", "words"),
    [
        ({}, {"threshold": 1e13}, "threshold: "),
        ({}, {"max_risk": 0.01}, "has another risk, confidence or fallback than the params"),
        ({"fallback": "base"}, {}, "has another risk, confidence or fallback than the params"),
    ],
)
def test_a_cascade_that_says_what_it_may_not_is_refused(tmp_path: Path, asked: Any, changes: Any, words: str) -> None:
    assert words in refused(with_cascade(tmp_path / "release", asked, **changes))


# --- the statements are of another form --------------------------------------------------------------------------


def test_a_statement_of_absurd_size_is_not_read(folder: Path) -> None:
    with (folder / prov.PROVENANCE).open("r+b") as file:
        file.truncate(2**35)  # a sparse file
    assert "not a plain file of at most 32 MiB" in refused(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["subject"][0].update(name="../outside"), "at subject.0.name"),
        (lambda v: v["subject"][0].update(name="a\x1b[2J"), "at subject.0.name"),
        (lambda v: v["subject"][0].update(name="verdict.json"), "a file is named twice"),
        (lambda v: v["subject"][0].update(name="Readme.md"), "are one file on a system that ignores case"),
        (lambda v: v["predicate"]["runDetails"]["byproducts"][0].update(name=".x"), "not a name that a file"),
        (lambda v: _build(v)["resolvedDependencies"].append(_build(v)["resolvedDependencies"][0]), "has a file twice"),
        (lambda v: _build(v)["internalParameters"]["stages"]["sft"]["outs"].update({"../x": "0" * 32}), "stages.sft"),
        (lambda v: _build(v)["externalParameters"]["params"].pop("sft"), "at sft: Field required"),
        (lambda v: _build(v).update(buildType="urn:other"), "buildType"),
    ],
)
def test_a_provenance_of_another_form_names_the_place(folder: Path, change: Callable[[Any], Any], words: str) -> None:
    edit(folder / prov.PROVENANCE, change)
    (line,) = check(folder).wrong
    assert words in line


def _build(statement: Any) -> Any:
    return statement["predicate"]["buildDefinition"]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([prov.PROVENANCE, prov.VERDICT]), new=JSON)
def test_no_value_anywhere_in_a_statement_ends_in_anything_but_a_finding(
    made: Path, folder: Path, data: st.DataObject, name: str, new: Any
) -> None:
    value = json.loads((made / "clone/models/release" / name).read_text(encoding="utf-8"))
    *way, last = data.draw(st.sampled_from(places(value)[1:]))
    inside = value
    for key in way:
        inside = inside[key]
    unchanged = inside[last] == new and type(inside[last]) is type(new)
    inside[last] = new
    (folder / name).write_text(json.dumps(value), encoding="utf-8")
    finding = check(folder, made / "clone")
    (folder / name).write_bytes((made / "clone/models/release" / name).read_bytes())
    assert unchanged or finding.exit_code == 1
    assert all(line for line in finding.lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(alphabet='{}[]",:09e-\\u', max_size=60).map(str.encode))
def test_no_bytes_of_a_statement_end_in_anything_but_a_finding(made: Path, folder: Path, content: bytes) -> None:
    (folder / prov.PROVENANCE).write_bytes(content)
    assert check(folder, made / "clone").exit_code == 1


# --- all of it is forged -----------------------------------------------------------------------------------------


def to_pass(it: Parts) -> None:
    it["gate"] = {"verdict": "pass", "words": "May ship.", "rules": [rule | {"outcome": "pass"} for rule in RULES]}


def param(it: Parts, **changes: Any) -> None:
    it["params"] = it["params"] | changes


def dependency(it: Parts, number: int, **changes: Any) -> None:
    it["dependencies"][number] = it["dependencies"][number] | changes


FORGED: list[Callable[[Parts], Any]] = [
    to_pass,
    lambda it: it["files"].update({"adapter_model.safetensors": b"other weights"}),
    lambda it: it["files"].update({"adapter_model.bin": b"a pickle"}),
    lambda it: it["files"].pop("training.json"),
    lambda it: it["made"].update({"README.md": b"# The best of all models\n"}),
    lambda it: it["made"].pop("README.md"),
    lambda it: param(it, sft=PARAMS["sft"] | {"learning_rate": 0.5}),  # type: ignore[operator]
    lambda it: dependency(it, 0, digest={"sha256": "1" * 64}),
    lambda it: dependency(it, 3, name="another base"),
    lambda it: it["dependencies"].append(prov.descriptor("more.txt", "1" * 64, "other input")),
]


@pytest.mark.parametrize("forge", FORGED)
def test_a_resealed_release_is_unproven_alone_and_refused_with_a_clone(
    made: Path, tmp_path: Path, forge: Callable[[Parts], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = copy.deepcopy(parts())
    forge(it)
    write_release(tmp_path / "forged", it)
    shutil.copyfile(made / "clone/models/release/README.md", tmp_path / "forged/model.sig")  # an old one counts nothing
    finding = check(tmp_path / "forged")
    assert finding.wrong == []
    assert (finding.exit_code, finding.proven) == (3, False)
    assert "everything fits" not in finding.lines
    assert "no dvc.lock in the clone's history has this release" in refused(tmp_path / "forged", made / "clone")
    monkeypatch.chdir(made / "clone")
    with pytest.raises(HallmarkError, match=r"not the release that dvc.lock names"):
        release(tmp_path / "forged", tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


WAIVED = [RULES[0] | {"waiver": "it is urgent"}, RULES[1]]


@pytest.mark.parametrize(
    ("gate", "asked", "words"),
    [
        ({"verdict": "pass"}, None, "does not follow from its rules"),
        ({"verdict": "pass", "rules": WAIVED}, {RULES[0]["name"]: "it is urgent"}, "does not follow from its rules"),
        ({"verdict": "pass_with_waivers", "rules": WAIVED}, None, "has a waiver that its params do not"),
        ({"verdict": "pass_with_waivers", "rules": WAIVED}, {RULES[0]["name"]: "it is urgent"}, ""),
    ],
)
def test_a_verdict_follows_from_its_rules_and_the_waivers_of_the_params_however_it_is_sealed(
    tmp_path: Path, gate: dict[str, Any], asked: dict[str, str] | None, words: str
) -> None:
    it = copy.deepcopy(parts())
    it["gate"] = GATE | gate
    if asked:
        param(it, gate={"waive": asked})
    write_release(tmp_path / "release", it)
    wrong = check(tmp_path / "release").wrong
    assert len(wrong) == bool(words) and words in "".join(wrong)


# --- what serving, joining, merging and shipping share -----------------------------------------------------------


def test_a_forgery_instead_of_the_release_of_a_repo_is_not_used(made: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(made / "clone", tmp_path / "clone"))
    assert check_release(clone / "models/release", ungated=True).wrong == []
    shutil.rmtree(clone / "models/release")
    it = copy.deepcopy(parts())
    to_pass(it)
    write_release(clone / "models/release", it)
    with pytest.raises(HallmarkError, match=r"not the release that dvc.lock names[\s\S]*gate's report"):
        check_release(clone / "models/release")
    (clone / "dvc.lock").unlink()
    assert not check_release(clone / "models/release").proven


def test_only_the_release_of_the_lock_is_shipped(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = parts()
    to_pass(it)
    clone = tmp_path / "clone"
    write_clone(clone, clone / "models/release", write_release(clone / "models/release", it))
    monkeypatch.chdir(clone)
    release(Path("models/release"), tmp_path / "out", None)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*NAMES}
    assert check(tmp_path / "out", clone).exit_code == 0
    with pytest.raises(HallmarkError, match="already exists"):
        release(Path("models/release"), tmp_path / "out", None)
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises(HallmarkError, match="already exists"):
        release(Path("models/release"), tmp_path / "dangling", None)
    Path("dvc.lock").unlink()
    with pytest.raises(HallmarkError, match=r"dvc.lock: no such file"):
        release(Path("models/release"), tmp_path / "more", None)


# --- a hostile clone ---------------------------------------------------------------------------------------------


def test_nothing_that_a_clone_names_is_run(made: Path, folder: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(made / "clone", tmp_path / "clone"))
    shell("git init -q -b main && git add -A && git commit -qm one", clone)
    shell("echo '{\"stages\": {}}' > dvc.lock && echo '*.lock filter=evil diff=evil' > .gitattributes", clone)
    shell("git add -A && git commit -qm two", clone)
    evil = program(tmp_path / "evil", f"touch '{tmp_path}/ran'\nexit 1")
    runs = ("core.fsmonitor", "core.pager", "core.sshCommand", "core.alternateRefsCommand", "diff.external", "diff.evil.textconv",
            "diff.evil.command", "filter.evil.clean", "filter.evil.smudge", "gpg.program", "credential.helper")  # fmt: skip
    options = dict.fromkeys(runs, evil) | {"core.hooksPath": tmp_path, "alias.cat-file": f"!{evil}"}
    options |= {"core.attributesFile": clone / ".gitattributes", "log.showSignature": "true"}
    options |= {"remote.origin.url": f"ext::{evil}", "remote.origin.promisor": "true"}
    options |= {"extensions.partialClone": "origin", "protocol.ext.allow": "always"}
    for key, value in options.items():
        shell(f"git config {key} '{value}'", clone)
    finding = check(folder, clone)
    assert finding.wrong == []
    assert finding.lines[0].startswith("proven by the clone's dvc.lock (commit ")
    absent = {"name": "stages/gone.py", "digest": {"sha256": "0" * 64}, "annotations": {"role": "code"}}
    edit(folder / prov.PROVENANCE, lambda value: _build(value)["resolvedDependencies"].append(absent))
    check(folder, clone)
    assert not (tmp_path / "ran").exists()
    shell("git status || true", clone)
    assert (tmp_path / "ran").exists()  # the trap works


@pytest.mark.parametrize("name", ["dvc.lock", "params.yaml"])
@pytest.mark.parametrize("content", ["", "a: &a [*a]", "stages: {a: 1}", None, "{a: " * 2_000])
def test_a_clone_of_another_form_is_one_error(
    made: Path, folder: Path, tmp_path: Path, name: str, content: str | None
) -> None:
    clone = Path(shutil.copytree(made / "clone", tmp_path / "clone"))
    (clone / name).unlink()
    if content is None:
        os.mkfifo(clone / name)
    else:
        (clone / name).write_text(content, encoding="utf-8")
    refused(folder, clone)


def test_names_and_links_do_not_lead_out_of_a_clone(made: Path, folder: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(made / "clone", tmp_path / "clone"))
    shutil.rmtree(clone / "data")
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/tickets.jsonl").write_text("something else", encoding="utf-8")
    (clone / "data").symlink_to(tmp_path / "data")
    finding = check(folder, clone)
    assert finding.wrong == []
    assert any("2 are missing" in line for line in finding.made_of)
    (tmp_path / "outside").write_text("x", encoding="utf-8")
    it = copy.deepcopy(parts())
    it["dependencies"].append(prov.descriptor("../outside", "0" * 64, "code"))
    write_release(tmp_path / "forged", it)
    assert "../outside is missing in the clone (code)" in check(tmp_path / "forged", clone).wrong
