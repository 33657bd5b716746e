"""Versions in git: registering, promoting, going back, and every tag or folder that is refused. On real git and real DVC."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import RELEASE, sha256_file, write_json
from hallmark.service.registry.materialize import VERSIONS, materialize
from hallmark.service.registry.message import happened, registered
from hallmark.service.registry.promotion import promote, register, roll_back, stop
from hallmark.service.registry.registry import CANARY, PROD, Registry
from hallmark.service.registry.tags import read_tags
from tests.registered import WAIVED
from tests.small_pipeline import ROOT, shell

HERE = Path()


@pytest.fixture
def repo(registered_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    copy = tmp_path / "repo"
    shutil.copytree(registered_run, copy)
    monkeypatch.chdir(copy)
    return copy


def git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()


def body_of(tag: str) -> str:
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")


def tag_again(tag: str, commit: str, message: str) -> None:
    """Make or move an annotated tag."""
    git("tag", "-f", "-a", "--cleanup=verbatim", "-m", message, tag, commit)


def check_out(branch: str) -> None:
    shell(f"git checkout -q {branch} && dvc checkout -q", HERE)


def in_stage(stage: str) -> str | None:
    version = Registry.read(HERE).in_stage(stage)
    return version.version if version else None


def gto_says(stage: str) -> str | None:
    """What GTO takes to be in a stage."""
    from gto import api

    version = api.show(".")["model"]["stage"].get(stage)
    return None if version is None else str(version)


def dvc_says(stage: str) -> str:
    """The commit that DVC takes to be in a stage."""
    from dvc.repo import Repo

    with Repo() as repo:
        return str(repo.artifacts.get_rev("model", stage=stage))


# --- registering -------------------------------------------------------------------------------------------------


def test_a_tag_says_what_was_registered(repo: Path) -> None:
    registry = Registry.read(HERE)
    first, second, *_ = registry.versions
    assert [version.version for version in registry.versions] == ["v0.1.0", "v0.2.0", "v0.3.0", "v0.4.0"]
    assert (registry.name, registry.problems, registry.events) == ("model", [], [])
    assert git("cat-file", "-t", "model@v0.2.0") == "tag"
    assert second.commit == git("rev-parse", "HEAD")
    assert second.digest == sha256_file(RELEASE / prov.PROVENANCE) != first.digest
    assert second.adapter == sha256_file(RELEASE / "adapter_model.safetensors") != first.adapter
    assert (second.verdict, second.waived) == ("pass", {})
    assert second.release in Path("dvc.lock").read_text(encoding="utf-8")


def test_the_same_release_is_registered_once(repo: Path) -> None:
    before = git("tag")
    assert (register(HERE).version.version, register(HERE).tags) == ("v0.2.0", [])
    with pytest.raises(HallmarkError, match=r"this release is v0\.2\.0 already"):
        register(HERE, "v0.9.0")
    assert git("tag") == before


@pytest.mark.parametrize("version", ["1.2.0", "v1.2", "v1.2.0-rc1", "v01.0.0", "v1.2.0\n", "v1.2.0/..", ""])
def test_a_version_has_three_numbers(repo: Path, version: str) -> None:
    with pytest.raises(HallmarkError, match="not a version"):
        register(HERE, version)


def test_a_version_is_never_given_twice(repo: Path) -> None:
    git("tag", "-d", "model@v0.2.0")
    with pytest.raises(HallmarkError, match="is registered already, for another release"):
        register(HERE, "v0.1.0")
    done = register(HERE, "v0.1.1")
    assert done.tags == ["model@v0.1.1"]
    assert done.before is not None
    assert done.before.version == "v0.1.0", "a fix of an older one follows that"


def test_the_headline_of_the_commit_is_the_versions(repo: Path) -> None:
    write_json(Path("reports/headline.json"), {"verdict": "pass", "exact_match": 0.8})
    shell("git add -A && git commit -qm headline && git tag -d model@v0.2.0", repo)
    assert register(HERE).version.headline == {"verdict": "pass", "exact_match": 0.8}


@pytest.mark.parametrize("file", ["params.yaml", "dvc.lock", "dvc.yaml", "reports/gate.json"])
def test_a_dirty_working_tree_is_refused(repo: Path, file: str) -> None:
    git("tag", "-d", "model@v0.2.0")
    Path(file).write_text(Path(file).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(HallmarkError, match=f"not as they are in git: {file}"):
        register(HERE)


def test_a_commit_with_another_lock_or_other_params_is_refused(repo: Path) -> None:
    git("tag", "-d", "model@v0.2.0")
    shell("git checkout -q HEAD~1 -- dvc.lock && git commit -qm 'the lock of another run'", repo)
    with pytest.raises(HallmarkError, match=r"not the release that dvc\.lock names"):
        register(HERE)
    shell("git revert --no-edit -q HEAD 2>/dev/null || git revert --no-edit HEAD", repo)
    params = Path("params.yaml")
    params.write_text(params.read_text(encoding="utf-8").replace("seed: 7", "seed: 8"), encoding="utf-8")
    shell("git commit -qam 'the params of another run'", repo)
    with pytest.raises(HallmarkError, match=r"does not hold what the release was made with: param seed differs"):
        register(HERE)


def test_what_failed_its_gate_is_not_registered(repo: Path) -> None:
    check_out("failed")
    with pytest.raises(HallmarkError, match="the gate did not pass this release"):
        register(HERE)


def test_what_dvc_does_not_have_is_not_registered(repo: Path) -> None:
    shell("git tag -d model@v0.2.0 && rm -r models/versions .dvc/cache", repo)
    with pytest.raises(HallmarkError, match="neither in DVC's cache nor in a remote"):
        register(HERE)
    assert [version.version for version in Registry.read(HERE).versions] == ["v0.1.0", "v0.3.0", "v0.4.0"]


def test_waived_rules_stay_in_the_tag(repo: Path) -> None:
    version = Registry.read(HERE).find("v0.3.0")
    assert (version.verdict, version.waived) == ("pass_with_waivers", WAIVED)
    assert body_of("model@v0.3.0").startswith("v0.3.0: pass with waivers, 1 waived\n")
    assert promote(HERE, "v0.3.0", PROD).version.ships


# --- stages ------------------------------------------------------------------------------------------------------


def test_promote_and_go_back(repo: Path) -> None:
    assert (in_stage(PROD), in_stage(CANARY), Registry.read(HERE).before_in_prod()) == (None, None, None)
    assert promote(HERE, "v0.1.0", PROD).tags == ["model#prod#1"]
    assert promote(HERE, "v0.2.0", CANARY).tags == ["model#canary#2"]
    done = promote(HERE, "v0.2.0", PROD)
    assert done.tags == ["model#prod#3", "model#canary!#4"], "what is in prod is no canary"
    assert (in_stage(PROD), in_stage(CANARY)) == ("v0.2.0", None)
    before = Registry.read(HERE).before_in_prod()
    assert before is not None
    assert before.version == "v0.1.0"
    assert roll_back(HERE).tags == ["model#prod#5"]
    assert in_stage(PROD) == "v0.1.0"
    with pytest.raises(HallmarkError, match=r"no version to go back to: v0\.1\.0 is the only one"):
        roll_back(HERE)
    assert promote(HERE, "v0.2.0", PROD).tags == ["model#prod#6"], "a version may come again, without any force"


def test_no_event_is_lost_however_fast_they_come(repo: Path) -> None:
    """GTO and DVC order by whole seconds, and agree all the same: events are dated a second apart."""
    promote(HERE, "v0.1.0", PROD)
    commits = {version.version: version.commit for version in Registry.read(HERE).versions}
    start = time.monotonic()
    for _ in range(3):
        for change, there in ((lambda: promote(HERE, "v0.2.0", PROD), "v0.2.0"), (lambda: roll_back(HERE), "v0.1.0")):
            change()
            assert (in_stage(PROD), gto_says(PROD), dvc_says(PROD)) == (there, there, commits[there])
    assert time.monotonic() - start < 30
    assert [event.number for event in Registry.read(HERE).events] == [*range(1, 8)]
    assert Registry.read(HERE).problems == []


def test_a_rollback_takes_less_than_five_seconds(repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    promote(HERE, "v0.2.0", PROD)
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = shell("PYTHONPATH=. python -m hallmark.service.commands.rollback", repo)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime < 5, "by the processor's clock"
    assert said.startswith("v0.1.0 is in prod again, instead of v0.2.0\nshare it: git push origin model\\#prod\\#3\n")


def test_reading_is_fast(repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    start = time.monotonic()
    assert in_stage(PROD) == "v0.1.0"
    assert time.monotonic() - start < 0.3


def test_two_rollbacks_go_back_two_versions(repo: Path) -> None:
    for version in ("v0.1.0", "v0.2.0", "v0.3.0"):
        promote(HERE, version, PROD)
    there = [roll_back(HERE).version.version, roll_back(HERE).version.version]
    assert there == ["v0.2.0", "v0.1.0"]
    promote(HERE, "v0.3.0", PROD)
    assert roll_back(HERE).version.version == "v0.1.0", "where prod was before v0.3.0 came again"


def test_a_rollback_to_a_version_that_came_twice_forgets_nothing_before(repo: Path) -> None:
    for version in ("v0.1.0", "v0.2.0", "v0.1.0", "v0.3.0"):
        promote(HERE, version, PROD)
    there = [roll_back(HERE).version.version for _ in range(3)]
    assert there == ["v0.1.0", "v0.2.0", "v0.1.0"]


def test_a_canary_that_stops_does_not_come_back_for_gto(repo: Path) -> None:
    promote(HERE, "v0.1.0", CANARY)
    promote(HERE, "v0.2.0", CANARY)
    assert gto_says(CANARY) == "v0.2.0"
    done = stop(HERE)
    assert (done.version.version, len(done.tags)) == ("v0.2.0", 2)
    assert (in_stage(CANARY), gto_says(CANARY)) == (None, None)
    with pytest.raises(HallmarkError, match="there is no canary"):
        stop(HERE)
    with pytest.raises(HallmarkError, match="prod can't be stopped"):
        stop(HERE, PROD)


def test_what_makes_no_sense_is_refused(repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    with pytest.raises(HallmarkError, match=r"v0\.1\.0 is in prod since 20"):
        promote(HERE, "v0.1.0", PROD)
    with pytest.raises(HallmarkError, match="can't be tried against it"):
        promote(HERE, "v0.1.0", CANARY)
    with pytest.raises(HallmarkError, match=r"no such version[\s\S]*v0\.1\.0, v0\.2\.0, v0\.3\.0, v0\.4\.0"):
        promote(HERE, "v9.9.9", PROD)
    with pytest.raises(HallmarkError, match="no such stage"):
        promote(HERE, "v0.2.0", "staging")
    assert len(Registry.read(HERE).events) == 1


def test_stages_by_gto_count_too(repo: Path) -> None:
    from gto import api

    api.assign(".", name="model", version="v0.1.0", stage=PROD)
    assert in_stage(PROD) == "v0.1.0"
    promote(HERE, "v0.2.0", PROD)
    assert (in_stage(PROD), gto_says(PROD)) == ("v0.2.0", "v0.2.0")
    assert roll_back(HERE).version.version == "v0.1.0"


def test_dvc_finds_the_model_by_its_stage(repo: Path, tmp_path: Path) -> None:
    promote(HERE, "v0.2.0", PROD)
    promote(HERE, "v0.1.0", CANARY)
    for stage, version in ((PROD, "v0.2.0"), (CANARY, "v0.1.0")):
        shell(f"dvc artifacts get . model --stage {stage} -o '{tmp_path / stage}'", repo)
        assert sha256_file(tmp_path / stage / prov.PROVENANCE) == Registry.read(HERE).find(version).digest


def test_the_pipeline_names_the_model_as_the_tags_do() -> None:
    from ruamel.yaml import YAML

    from hallmark.service.registry.tags import ARTIFACT

    artifacts = YAML(typ="safe").load(ROOT / "dvc.yaml")["artifacts"]
    assert artifacts[ARTIFACT]["path"] == RELEASE.as_posix()


# --- what is refused ---------------------------------------------------------------------------------------------


def moved() -> None:
    tag_again("model@v0.2.0", "model@v0.1.0^{commit}", body_of("model@v0.2.0"))


def lightweight() -> None:
    git("tag", "-f", "model@v0.2.0", "HEAD")


def by_hand() -> None:
    from gto import api

    git("tag", "-d", "model@v0.2.0")
    api.register(".", name="model", ref="HEAD", version="v0.2.0")


def another_digest() -> None:
    body = body_of("model@v0.2.0")
    tag_again("model@v0.2.0", "HEAD", body.replace(json.loads(body.partition("\n\n")[2])["provenance"], "0" * 64))


def another_release() -> None:
    body = body_of("model@v0.2.0")
    first = json.loads(body_of("model@v0.1.0").partition("\n\n")[2])["release"]
    tag_again("model@v0.2.0", "HEAD", body.replace(json.loads(body.partition("\n\n")[2])["release"], first))


def another_verdict() -> None:
    tag_again("model@v0.2.0", "HEAD", body_of("model@v0.2.0").replace('"pass"', '"pass_with_waivers"'))


def waivers_left_out() -> None:
    waived = '"waived": {"superiority.base": "no"}'
    tag_again("model@v0.2.0", "HEAD", body_of("model@v0.2.0").replace('"waived": {}', waived))


def withdrawn() -> None:
    git("tag", "-a", "-m", "no", "model@v0.2.0!", "HEAD")


def of_a_tree() -> None:
    git("tag", "-f", "-a", "-m", body_of("model@v0.2.0"), "model@v0.2.0", "HEAD^{tree}")


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (moved, "was moved, or forged: it points at"),
        (lightweight, "a lightweight tag, which holds no digest"),
        (by_hand, "its message holds no digest of the release, so `nox -s release` did not register it"),
        (another_digest, "not the release of v0.2.0: its provenance.json has the SHA-256"),
        (another_release, "does not name the release that its message does"),
        (another_verdict, "says pass_with_waivers, and waived: nothing; the gate said pass"),
        (waivers_left_out, "waived: superiority.base; the gate said pass, and waived: nothing"),
        (withdrawn, "was withdrawn"),
        (of_a_tree, "does not point at a commit"),
    ],
)
def test_a_moved_or_forged_tag_is_refused(repo: Path, forge: Callable[[], None], reason: str) -> None:
    promote(HERE, "v0.1.0", PROD)
    forge()
    with pytest.raises(HallmarkError, match=reason):
        promote(HERE, "v0.2.0", CANARY)
    assert (in_stage(PROD), in_stage(CANARY)) == ("v0.1.0", None), "the others are not concerned"


def test_what_failed_its_gate_reaches_no_stage_whatever_its_tag_says(repo: Path) -> None:
    check_out("failed")
    commit = git("rev-parse", "HEAD")
    lock = prov.read_lock(Path("dvc.lock").read_bytes())
    said = json.loads(body_of("model@v0.2.0").partition("\n\n")[2]) | {
        "commit": commit,
        "provenance": sha256_file(RELEASE / prov.PROVENANCE),
        "adapter": sha256_file(RELEASE / "adapter_model.safetensors"),
        "release": lock["certify"]["outs"][RELEASE.as_posix()],
    }
    tag_again("model@v0.5.0", commit, f"v0.5.0: fail\n\n{json.dumps(said | {'verdict': 'fail'})}")
    with pytest.raises(HallmarkError, match=r"v0\.5\.0 did not pass its gate \(fail\)"):
        promote(HERE, "v0.5.0", PROD)
    tag_again("model@v0.5.0", commit, f"v0.5.0: pass\n\n{json.dumps(said)}")
    with pytest.raises(HallmarkError, match="says pass, and waived: nothing; the gate said fail"):
        promote(HERE, "v0.5.0", PROD)
    assert in_stage(PROD) is None


def test_a_forged_event_is_never_followed(repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    promote(HERE, "v0.2.0", PROD)
    message = body_of("model#prod#2")
    tag_again("model#prod#2", "model@v0.1.0^{commit}", message)
    with pytest.raises(HallmarkError, match=r"was moved, or forged: it is not on the commit of v0\.2\.0"):
        in_stage(PROD)
    assert roll_back(HERE).version.version == "v0.1.0", "an emergency is no reason to wait for the tag's repair"
    assert in_stage(PROD) == "v0.1.0"


@pytest.mark.parametrize(
    ("tag", "at", "change", "reason"),
    [
        ("model#prod#1", "HEAD~1", lambda text: text, "it is not on the commit of v0.2.0"),
        (
            "model#prod#1",
            "HEAD",
            lambda text: text.replace("v0.2.0", "v7.0.0"),
            "model@v7.0.0 can't be trusted or is gone",
        ),
        ("model#prod!#1", "HEAD", lambda text: text, "contradict each other"),
        ("model#prod#1", "HEAD", lambda text: "by hand", None),
        ("model#prod", "HEAD", lambda text: text, "has no number"),
        ("model#prod#1", "HEAD~2", lambda text: "by hand", "is on a commit that no version is on"),
    ],
)
def test_an_event_is_about_a_version(
    repo: Path, tag: str, at: str, change: Callable[[str], str], reason: str | None
) -> None:
    promote(HERE, "v0.2.0", CANARY)
    tag_again(tag, at, change(body_of("model#canary#1")))
    problems = [problem.reason for problem in Registry.read(HERE).problems]
    assert [reason in problem for problem in problems if reason] == ([True] if reason else [])


def test_a_lightweight_event_is_passed_over_and_told(repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    git("tag", "model#prod#2", "HEAD")
    registry = Registry.read(HERE)
    assert in_stage(PROD) == "v0.1.0"
    assert [problem.tag for problem in registry.problems] == ["model#prod#2"]
    assert promote(HERE, "v0.2.0", PROD).tags == ["model#prod#3"], "its number is not used again"


def test_events_out_of_order_are_followed_by_number_and_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(HERE, "v0.1.0", PROD)
    promote(HERE, "v0.2.0", PROD)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    tag_again("model#prod#2", "HEAD", body_of("model#prod#2"))
    assert in_stage(PROD) == "v0.2.0"
    assert "dated no later than model#prod#1" in Registry.read(HERE).problems[0].reason


def test_an_event_whose_tag_is_gone_is_told(repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    promote(HERE, "v0.2.0", PROD)
    promote(HERE, "v0.1.0", PROD)
    shell("git tag -d model#prod#2", repo)
    (problem,) = Registry.read(HERE).problems
    assert "no tag has the event number 2: what happened then is not known" in problem.reason
    shell("git tag -a -m x model#prod#4000000000 HEAD", repo)  # counted without going through all of them
    reasons = [problem.reason for problem in Registry.read(HERE).problems]
    assert any("event number 2, 4 to 3999999999:" in reason for reason in reasons)


def test_a_folder_that_is_not_the_tags_is_replaced(repo: Path) -> None:
    version = Registry.read(HERE).find("v0.1.0")
    folder = VERSIONS / "v0.1.0"
    assert materialize(version).release == folder
    (folder / "README.md").write_text("mine\n", encoding="utf-8")
    (folder / "extra.py").write_text("1\n", encoding="utf-8")
    assert materialize(version).release == folder
    assert not (folder / "extra.py").exists()
    shutil.rmtree(folder)
    shutil.copytree(RELEASE, folder)
    materialize(version)
    assert sha256_file(folder / prov.PROVENANCE) == version.digest


def test_a_damaged_cache_is_refused_and_leaves_nothing(repo: Path) -> None:
    md5 = prov.dvc_md5(VERSIONS / "v0.1.0/adapter_model.safetensors")
    shutil.rmtree(VERSIONS)
    file = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    file.chmod(0o644)
    file.write_bytes(b"damaged")
    with pytest.raises(HallmarkError, match=r"adapter_model\.safetensors is not the file that provenance\.json names"):
        promote(HERE, "v0.1.0", PROD)
    assert [*VERSIONS.iterdir()] == []
    assert in_stage(PROD) is None


def test_weights_are_those_here_or_fetched(repo: Path) -> None:
    version = Registry.read(HERE).find("v0.1.0")
    assert materialize(version).weights == Path("models/quantized")
    Path("models/quantized/config.json").write_text("{}", encoding="utf-8")
    made = materialize(version)
    assert made.weights.parent == VERSIONS / "weights"
    assert materialize(version) == made
    (made.weights / "config.json").write_text("{}", encoding="utf-8")
    assert materialize(version) == made
    assert json.loads((made.weights / "config.json").read_text(encoding="utf-8")) != {}


# --- sharing -----------------------------------------------------------------------------------------------------


def test_a_push_is_all_or_nothing(repo: Path, tmp_path: Path) -> None:
    origin, other = tmp_path / "origin", tmp_path / "other"
    shell(f"git init -q --bare -b main '{origin}' && git remote add origin '{origin}'", repo)
    shell("git push -q origin HEAD --tags", repo)
    promote(HERE, "v0.1.0", PROD, push=True)
    shell(f"git clone -q '{origin}' '{other}'", repo)
    shell("git tag -a -m x 'model#prod#2' && git push -q origin 'model#prod#2'", other)
    with pytest.raises(HallmarkError, match="origin did not take model#prod#2, so nothing was changed here"):
        promote(HERE, "v0.2.0", PROD, push=True)
    assert git("tag", "-l", "model#prod#2") == ""


def test_signed_tags_are_read_too(repo: Path, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen to sign with")
    shell(f"ssh-keygen -q -t ed25519 -N '' -f '{tmp_path}/key'", repo)
    shell(
        f"git config gpg.format ssh && git config user.signingkey '{tmp_path}/key' && git config tag.gpgSign true",
        repo,
    )
    promote(HERE, "v0.1.0", PROD)
    assert "BEGIN SSH SIGNATURE" in body_of("model#prod#1")
    assert (in_stage(PROD), Registry.read(HERE).problems) == ("v0.1.0", [])


def test_without_a_name_for_git_there_is_no_tag(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("git config --unset user.name && git config --unset user.email && git config user.useConfigOnly true", repo)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for variable in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(HallmarkError, match=r"git made no tag: [\s\S]*remedy: [\s\S]*user\.name"):
        promote(HERE, "v0.1.0", PROD)


# --- whatever tags there are -------------------------------------------------------------------------------------

SOME = st.text(max_size=60) | st.sampled_from(["{}", "[]", "null", '{"adapter": 1}', "{" * 500])


@given(SOME)
def test_a_message_is_read_or_it_is_none(text: str) -> None:
    assert registered(text) is None
    assert happened(text) is None


NAMES = st.sampled_from(
    [
        "model@v1.0.0",
        "model@v01.0.0",
        "model@v1.0.0-rc1",
        "model@v1.0.0#3",
        "model@v2.0.0!",
        "model@deprecated",
        "model#prod#9",
        "model#prod!#2",
        "model#prod",
        "model#staging#3",
        "model#canary#99999999999999999999",
        "models@v1.0.0",
        "x/model#prod#1",
        "v1.0.0",
    ]
)


@pytest.fixture(scope="module")
def bare_git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a commit and nothing else."""
    folder = tmp_path_factory.mktemp("tags")
    shell("git init -q -b main && git commit -q --allow-empty -m start", folder)
    return folder


@given(st.dictionaries(NAMES, st.tuples(st.booleans(), SOME), max_size=4))
def test_any_tags_can_be_read_and_none_is_trusted(bare_git: Path, tags: dict[str, tuple[bool, str]]) -> None:
    shell("git tag -l | xargs -r -d '\\n' git tag -d > /dev/null", bare_git)
    for name, (annotated, text) in tags.items():
        message = text.encode("utf-8", "replace").replace(b"\0", b"")
        words = ["-a", "--cleanup=verbatim", "-F", "-"] if annotated and message.strip() else []
        subprocess.run(
            ["git", "-C", str(bare_git), "-c", "user.name=a", "-c", "user.email=a@example.com", "tag", *words, name],
            input=message if words else b"",
            check=True,
            capture_output=True,
        )
    registry = Registry.read(bare_git)
    assert (registry.versions, registry.events) == ([], [])
    assert {tag.name for tag in read_tags(bare_git, "model")} <= tags.keys()
    assert registry.next_number > max((tag.number or 0 for tag in registry.tags), default=0)
