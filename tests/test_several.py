"""Several projects in one repository, each with its own pipeline, and their adapters behind one server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import read_json
from hallmark.commands import verify
from hallmark.params.loader import load_params
from hallmark.release.statements import read_provenance
from hallmark.serve.engines.vllm import ENGINE as VLLM
from hallmark.service.commands.answering import check_served, name_of
from hallmark.service.commands.serve import checked_by_name, serve_directly
from tests import small_pipeline
from tests.made_up_release import parts, write_release
from tests.small_pipeline import reproduce, shell
from tests.test_verify import dvc_here
from tests.test_vllm import BLOCK, CPU, server
from tests.workspace import ROOT, change_params, dvc_init

TASKS: dict[str, dict[str, Any]] = {
    "triage": {},
    "refunds": {"sft.learning_rate": 0.5, "sft.lora.r": 32},
    "failing": {"sft.learning_rate": 2, "sft.method": "lora"},
}


@pytest.fixture(scope="module")
def several(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One git repository with a project for each of TASKS and a shared cache; their pipelines have run.

    What their stages share with those of `small_run` is made already.
    """
    top = tmp_path_factory.mktemp("several") / "adapters"
    shutil.copytree(small_run / ".dvc/cache", top / ".dvc-cache")
    shell("git init -q -b main && echo /.dvc-cache/ > .gitignore", top)
    for name, changes in TASKS.items():
        small_pipeline.write(top / name)
        change_params(top / name, {"certify.name": name} | changes)
        dvc_init(top / name, subdir=True)
        (top / name / ".dvc/config").write_text('[cache]\n    dir = ../../.dvc-cache\n    type = "hardlink,copy"\n')
    shell("git add -A && git commit -qm start", top)
    theirs = shutil.ignore_patterns(".git", ".dvc", "params.yaml", "release", "stages", "hallmark", "__pycache__")
    for name in TASKS:
        shutil.copytree(small_run, top / name, ignore=theirs, dirs_exist_ok=True)
        reproduce(top / name)
    shell("git add -A && git commit -qm results", top)
    return top


def together(
    monkeypatch: pytest.MonkeyPatch, project: Path, folders: list[Path], ungated: bool = False
) -> dict[str, Path]:
    """What `serve --direct` serves by name in the project's folder."""
    monkeypatch.chdir(project)
    return checked_by_name(load_params(Path("params.yaml")), folders, ungated)[0]


def releases(top: Path, *names: str) -> list[Path]:
    return [top / name / "models/release" for name in names]


def test_each_project_has_a_lock_a_gate_and_a_release_of_its_own(several: Path) -> None:
    assert shell("git ls-files | grep -c '^.dvc'; dvc root 2>&1 || true", several).startswith("0\n")  # none at the top
    for name in TASKS:
        assert json.loads(shell("dvc status --json", several / name)) == {}
        statement = read_json(several / name / "models/release" / prov.PROVENANCE)
        build = statement["predicate"]["buildDefinition"]
        assert build["externalParameters"]["params"]["certify"]["name"] == name
        (commit,) = [entry for entry in build["resolvedDependencies"] if entry["annotations"]["role"] == "commit"]
        assert commit["annotations"]["changed"] == []  # those before it had made files that were not in git yet
        assert len(commit["digest"]["gitCommit"]) == 40
    verdicts = {name: read_json(several / name / prov.GATE)["verdict"] for name in TASKS}
    assert verdicts == {name: "fail" if name == "failing" else "pass" for name in TASKS}


def test_a_project_is_verified_in_its_folder_whatever_is_changed_next_to_it(
    several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    top = shutil.copytree(several, tmp_path / "adapters")
    change_params(top / "refunds", {"certify.tags": ["other"]})
    monkeypatch.chdir(top / "triage")
    monkeypatch.setattr(verify, "dvc", dvc_here)
    assert verify.run("sft") == 0
    assert "uncommitted" not in caplog.text


def test_releases_that_go_together_are_found_by_their_names(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = together(monkeypatch, several / "triage", releases(several, "triage", "refunds"))
    assert found == dict(zip(("triage", "refunds"), releases(several, "triage", "refunds"), strict=True))


def test_releases_of_one_name_do_not_go_together(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HallmarkError, match=r"certify\.name"):
        together(monkeypatch, several / "triage", releases(several, "triage", "triage"))


def test_only_a_release_that_passed_its_gate_is_served_or_what_is_said_to_be_none(
    several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(several / "triage")
    release = Path("models/release")
    assert check_served(release, ungated=False) == ""
    params = load_params(Path("params.yaml"))
    assert name_of(params, release) == read_provenance(release).build.params.certify.name
    failing = several / "failing/models/release"
    with pytest.raises(HallmarkError, match=r"gate did not pass.*\n.*add --ungated"):
        check_served(failing, ungated=False)
    with pytest.raises(HallmarkError, match=r"not the weights that the adapter was trained over \(model.safetensors\)"):
        check_served(failing, ungated=True)
    with monkeypatch.context() as other:
        other.chdir(several / "failing")
        assert "its gate did not pass it" in check_served(release, ungated=True)
    assert "not a release" not in caplog.text

    adapter = Path("models/adapter")
    with pytest.raises(HallmarkError, match=r"models/adapter: not a release: .*\n.*add --ungated"):
        check_served(adapter, ungated=False)
    assert "not a release" in check_served(adapter, ungated=True)
    assert "models/adapter is not a release" in caplog.text
    with pytest.raises(HallmarkError, match="no adapter is there"):
        check_served(tmp_path, ungated=True)
    half = shutil.copytree(release, tmp_path / "half")
    (half / prov.VERDICT).unlink()  # half a release is not a plain adapter
    with pytest.raises(HallmarkError, match=r"lacks provenance.json or verdict.json"):
        check_served(half, ungated=True)


@pytest.mark.full
def test_an_odd_name_is_refused(several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = shutil.copytree(several, tmp_path / "adapters")
    change_params(top / "triage", {"certify.name": "../outside"})
    shell("dvc repro -q -s certify", top / "triage")
    with pytest.raises(HallmarkError, match=r"field 'certify.name': can't be used as a model name"):
        together(monkeypatch, top / "triage", releases(top, "triage"))


def test_a_release_that_names_no_weights_is_not_served(
    several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, nothing contradicts a forgery; as older releases, it names no weights."""
    write_release(tmp_path / "forged", parts())
    with pytest.raises(HallmarkError, match=r"made before the weights [\s\S]*commands.merge OUT --base models/base"):
        together(monkeypatch, several / "triage", [tmp_path / "forged"], ungated=True)


@pytest.mark.parametrize(("block", "words"), [({}, "set it to vllm"), (BLOCK, "set it to lora")])
def test_a_server_that_can_not_hold_several_is_refused(tmp_path: Path, block: dict[str, Any], words: str) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    if block:
        change_params(tmp_path, {"benchmark.server": block})
    with pytest.raises(HallmarkError, match=words):
        serve_directly(load_params(tmp_path / "params.yaml"), [Path("one"), Path("other")], 0, ungated=False)


def test_one_server_has_room_for_all_ranks_and_all_adapters_in_a_batch(several: Path, tmp_path: Path) -> None:
    for name in ("triage", "refunds"):
        (tmp_path / name).symlink_to(several / name / "models/release")
    line = VLLM.command(["base", "triage", "refunds"], tmp_path, 8000, server(adapter="lora"), CPU)
    assert line[-3:] == ["--lora-modules", "triage=triage", "refunds=refunds"]
    assert line[line.index("--max-loras") + 1] == "2"
    assert line[line.index("--max-lora-rank") + 1] == "32"
