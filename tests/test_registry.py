"""Versions in git: registering, promoting, going back, and every tag or folder that is refused. On real git and real DVC."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.base import provenance as prov
from hallmark.base.files import RELEASE, sha256_file
from hallmark.service.registry.folders import VERSIONS, materialize
from hallmark.service.registry.promotion import promote, register, roll_back, stop
from hallmark.service.registry.registry import CANARY, PROD, Registry
from hallmark.service.registry.tags import Happened, Registered, one_at_a_time
from tests.registered import WAIVED, refused
from tests.small_pipeline import shell

HERE = Path()
pytestmark = pytest.mark.usefixtures("registered_repo")


def git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()


def body_of(tag: str) -> str:
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")


def said_in(tag: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(body_of(tag).partition("\n\n")[2])
    return found


def tag_again(tag: str, commit: str, message: str) -> None:
    """Make or move an annotated tag."""
    git("tag", "-f", "-a", "--cleanup=verbatim", "-m", message, tag, commit)


def in_stage(stage: str) -> str | None:
    version = Registry.read(HERE).in_stage(stage)
    return version.version if version else None


def gto_says(stage: str) -> str | None:
    from gto import api

    version = api.show(".")["model"]["stage"].get(stage)
    return None if version is None else str(version)


def dvc_says(stage: str) -> str:
    """The commit that DVC takes to be in a stage."""
    from dvc.repo import Repo

    with Repo() as repo:
        return str(repo.artifacts.get_rev("model", stage=stage))


# --- registering -------------------------------------------------------------------------------------------------


def test_a_tag_says_what_was_registered() -> None:
    registry = Registry.read(HERE)
    first, second, waived, _ = registry.versions
    assert [version.version for version in registry.versions] == ["v0.1.0", "v0.2.0", "v0.3.0", "v0.4.0"]
    assert (registry.name, registry.problems, registry.events) == ("model", {}, [])
    assert second.commit == git("rev-parse", "HEAD")
    assert second.digest == sha256_file(RELEASE / prov.PROVENANCE) != first.digest
    assert second.adapter == sha256_file(RELEASE / "adapter_model.safetensors") != first.adapter
    assert second.release in Path("dvc.lock").read_text(encoding="utf-8")
    assert (second.verdict, second.waived) == ("pass", {})
    assert (waived.verdict, waived.waived, waived.ships) == ("pass_with_waivers", WAIVED, True)
    assert body_of("model@v0.3.0").startswith("v0.3.0: pass with waivers, 1 waived\n")


def test_a_release_has_one_version_and_a_version_one_release() -> None:
    before = git("tag")
    assert (register(HERE).version.version, register(HERE).tags) == ("v0.2.0", [])
    assert refused(lambda: register(HERE, "v0.9.0")).file == "--version v0.9.0"
    assert git("tag") == before
    git("tag", "-d", "model@v0.2.0")
    assert refused(lambda: register(HERE, "v0.1.0")).file == "model@v0.1.0"
    done = register(HERE, "v0.1.1")
    assert (done.tags, done.before) == (["model@v0.1.1"], Registry.read(HERE).find("v0.1.0"))
    assert register(HERE).version == done.version


def test_a_version_has_three_numbers() -> None:
    for version in ("1.2.0", "v1.2.0-rc1", "v1.2.0\n", "v1.2.0/.."):
        assert refused(lambda named=version: register(HERE, named)).file == f"--version {version}"


@pytest.mark.parametrize("file", ["params.yaml", "reports/gate.json"])
def test_a_dirty_working_tree_is_refused(file: str) -> None:
    git("tag", "-d", "model@v0.2.0")
    Path(file).write_text(Path(file).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert file in refused(lambda: register(HERE)).problem


def test_a_commit_that_did_not_make_the_release_is_refused() -> None:
    git("tag", "-d", "model@v0.2.0")
    shell("git checkout -q HEAD~1 -- dvc.lock && git commit -qm 'the lock of another run'", HERE)
    assert refused(lambda: register(HERE)).file == RELEASE
    git("revert", "--no-edit", "HEAD")
    params = Path("params.yaml")
    params.write_text(params.read_text(encoding="utf-8").replace("seed: 7", "seed: 8"), encoding="utf-8")
    git("commit", "-qam", "the params of another run")
    assert "param seed differs" in refused(lambda: register(HERE)).problem


def test_what_dvc_does_not_have_is_not_registered() -> None:
    shell("git tag -d model@v0.2.0 && rm -r models/versions .dvc/cache", HERE)
    assert refused(lambda: register(HERE)).file == RELEASE
    assert git("tag", "-l", "model@v0.2.0") == ""


def test_what_failed_its_gate_is_not_registered_nor_promoted_whatever_its_tag_says() -> None:
    shell("git checkout -q failed && dvc checkout -q", HERE)
    assert refused(lambda: register(HERE)).field == "predicate.result"
    lock = prov.read_lock(Path("dvc.lock").read_bytes())
    said = said_in("model@v0.2.0") | {
        "commit": git("rev-parse", "HEAD"),
        "provenance": sha256_file(RELEASE / prov.PROVENANCE),
        "adapter": sha256_file(RELEASE / "adapter_model.safetensors"),
        "release": lock["certify"]["outs"][RELEASE.as_posix()],
    }
    for verdict in ("fail", "pass"):
        tag_again("model@v0.5.0", "HEAD", f"v0.5.0\n\n{json.dumps(said | {'verdict': verdict})}")
        assert "did not pass" in refused(lambda: promote(HERE, "v0.5.0", PROD)).problem
    assert in_stage(PROD) is None


# --- stages ------------------------------------------------------------------------------------------------------


def test_promote_and_go_back() -> None:
    assert (in_stage(PROD), in_stage(CANARY), Registry.read(HERE).before_in_prod()) == (None, None, None)
    assert promote(HERE, "v0.1.0", PROD).tags == ["model#prod#1"]
    assert promote(HERE, "v0.2.0", CANARY).tags == ["model#canary#2"]
    assert promote(HERE, "v0.2.0", PROD).tags == ["model#prod#3", "model#canary!#4"], "what is in prod is no canary"
    assert (in_stage(PROD), in_stage(CANARY)) == ("v0.2.0", None)
    assert roll_back(HERE).tags == ["model#prod#5"]
    assert in_stage(PROD) == "v0.1.0"
    assert refused(lambda: roll_back(HERE)).file == PROD
    assert promote(HERE, "v0.2.0", PROD).tags == ["model#prod#6"], "a version may come again, without any force"


def test_no_event_is_lost_however_fast_they_come() -> None:
    """GTO and DVC order by whole seconds, and agree all the same: events are dated a second apart."""
    promote(HERE, "v0.1.0", PROD)
    commits = {version.version: version.commit for version in Registry.read(HERE).versions}
    for _ in range(2):
        for change, there in ((lambda: promote(HERE, "v0.2.0", PROD), "v0.2.0"), (lambda: roll_back(HERE), "v0.1.0")):
            change()
            assert (in_stage(PROD), gto_says(PROD), dvc_says(PROD)) == (there, there, commits[there])
    assert [event.number for event in Registry.read(HERE).events] == [*range(1, 6)]
    assert Registry.read(HERE).problems == {}


@pytest.mark.parametrize(
    ("came", "back_to"),
    [
        (("v0.1.0", "v0.2.0", "v0.3.0"), ["v0.2.0", "v0.1.0"]),
        (("v0.1.0", "v0.2.0", "v0.1.0", "v0.3.0"), ["v0.1.0", "v0.2.0", "v0.1.0"]),
    ],
)
def test_each_rollback_goes_back_one_version(came: tuple[str, ...], back_to: list[str]) -> None:
    for version in came:
        promote(HERE, version, PROD)
    assert [roll_back(HERE).version.version for _ in back_to] == back_to
    promote(HERE, "v0.3.0", PROD)
    assert roll_back(HERE).version.version == "v0.1.0", "where prod was before v0.3.0 came again"


def test_a_canary_that_stops_does_not_come_back_for_gto() -> None:
    promote(HERE, "v0.1.0", CANARY)
    promote(HERE, "v0.2.0", CANARY)
    assert gto_says(CANARY) == "v0.2.0"
    done = stop(HERE)
    assert (done.version.version, len(done.tags)) == ("v0.2.0", 2)
    assert (in_stage(CANARY), gto_says(CANARY)) == (None, None)
    refused(lambda: stop(HERE))


def test_what_makes_no_sense_is_refused() -> None:
    promote(HERE, "v0.1.0", PROD)
    assert refused(lambda: promote(HERE, "v0.1.0", PROD)).file == "model#prod#1"
    assert refused(lambda: promote(HERE, "v0.1.0", CANARY)).file == "model@v0.1.0"
    assert "v0.1.0, v0.2.0, v0.3.0, v0.4.0" in refused(lambda: promote(HERE, "v9.9.9", PROD)).remedy
    assert len(Registry.read(HERE).events) == 1


# --- what is refused ---------------------------------------------------------------------------------------------


def with_other(**values: object) -> None:
    tag_again("model@v0.2.0", "HEAD", f"v0.2.0\n\n{json.dumps(said_in('model@v0.2.0') | values)}")


def by_gto() -> None:
    from gto import api

    git("tag", "-d", "model@v0.2.0")
    api.register(".", name="model", ref="HEAD", version="v0.2.0")


TAG, FOLDER = "model@v0.2.0", VERSIONS / "v0.2.0"


@pytest.mark.parametrize(
    ("forge", "named"),
    [
        (lambda: tag_again(TAG, "model@v0.1.0^{commit}", body_of(TAG)), TAG),
        (lambda: git("tag", "-f", TAG, "HEAD"), TAG),
        (lambda: git("tag", "-a", "-m", "withdrawn", f"{TAG}!", "HEAD"), TAG),
        (by_gto, TAG),
        (lambda: with_other(commit=git("rev-parse", "HEAD~1")), TAG),
        (lambda: with_other(provenance="0" * 64), "provenance"),
        (lambda: with_other(adapter="0" * 64), "adapter"),
        (lambda: with_other(release=said_in("model@v0.1.0")["release"]), "release"),
        (lambda: with_other(verdict="pass_with_waivers"), "verdict"),
        (lambda: with_other(waived={"superiority.base": "no"}), "waived"),
    ],
)
def test_a_moved_or_forged_tag_is_refused(forge: Callable[[], None], named: str) -> None:
    """By reading the tags, or when the release is taken: then the error says in what it differs."""
    promote(HERE, "v0.1.0", PROD)
    forge()
    error = refused(lambda: promote(HERE, "v0.2.0", CANARY))
    assert error.file == named or named in error.problem
    assert (in_stage(PROD), in_stage(CANARY)) == ("v0.1.0", None), "the others are not concerned"
    assert FOLDER.exists(), "the tag is wrong, and not the folder"


def test_a_forged_event_is_never_followed() -> None:
    promote(HERE, "v0.1.0", PROD)
    promote(HERE, "v0.2.0", PROD)
    tag_again("model#prod#2", "model@v0.1.0^{commit}", body_of("model#prod#2"))
    assert refused(lambda: in_stage(PROD)).file == "model#prod#2"
    assert roll_back(HERE).version.version == "v0.1.0", "an emergency is no reason to wait for the tag's repair"
    assert in_stage(PROD) == "v0.1.0"


@pytest.mark.parametrize(
    ("tag", "at", "change", "sound"),
    [
        ("model#prod#1", "HEAD", lambda text: text, True),
        ("model#prod#1", "HEAD", lambda text: "by hand", True),
        ("model#prod#1", "HEAD~1", lambda text: text, False),
        ("model#prod#1", "HEAD", lambda text: text.replace("v0.2.0", "v7.0.0"), False),
        ("model#prod!#1", "HEAD", lambda text: text, False),
        ("model#prod#1", "HEAD~2", lambda text: "by hand", False),
    ],
)
def test_an_event_is_about_a_version(tag: str, at: str, change: Callable[[str], str], sound: bool) -> None:
    promote(HERE, "v0.2.0", CANARY)
    tag_again(tag, at, change(body_of("model#canary#1")))
    assert [*Registry.read(HERE).problems] == ([] if sound else [tag])


def test_a_lightweight_event_is_passed_over_and_told() -> None:
    promote(HERE, "v0.1.0", PROD)
    git("tag", "model#prod#2", "HEAD")
    assert in_stage(PROD) == "v0.1.0"
    assert [*Registry.read(HERE).problems] == ["model#prod#2"]
    assert promote(HERE, "v0.2.0", PROD).tags == ["model#prod#3"], "its number is not used again"


def test_a_second_command_waits_for_the_first() -> None:
    with ThreadPoolExecutor() as pool:
        with one_at_a_time(HERE):
            second = pool.submit(promote, HERE, "v0.1.0", PROD)
            with pytest.raises(TimeoutError):
                second.result(1)
        assert second.result(60).tags == ["model#prod#1"]


def test_events_are_followed_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    promote(HERE, "v0.1.0", PROD)
    promote(HERE, "v0.2.0", CANARY)
    promote(HERE, "v0.2.0", PROD)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    tag_again("model#prod#3", "HEAD", body_of("model#prod#3"))
    assert in_stage(PROD) == "v0.2.0"


# --- folders -----------------------------------------------------------------------------------------------------


def test_folders_that_are_not_the_tags_are_replaced() -> None:
    version = Registry.read(HERE).find("v0.1.0")
    Path("models/quantized/config.json").write_text("{}", encoding="utf-8")
    made = release, weights = materialize(version)
    assert (release, weights.parent) == (VERSIONS / "v0.1.0", VERSIONS / "weights")
    for folder in made:
        (folder / "extra.py").write_text("1\n", encoding="utf-8")
        assert materialize(version) == made
        assert not (folder / "extra.py").exists()
    for folder in made:
        for put in (lambda place: place.write_text("", encoding="utf-8"), lambda place: place.symlink_to("nowhere")):
            shutil.rmtree(folder)
            put(folder)
            assert materialize(version) == made
            assert folder.is_dir()
    shutil.rmtree(release)
    shutil.copytree(RELEASE, release)
    materialize(version)
    assert sha256_file(release / prov.PROVENANCE) == version.digest
    assert sorted(file.name for file in VERSIONS.iterdir() if file.name[0] != "v") == ["weights"], "nothing is left"


def test_a_folder_stays_until_another_can_take_its_place() -> None:
    extra = VERSIONS / "v0.1.0/extra.py"
    extra.write_text("1\n", encoding="utf-8")
    Path(".dvc/cache").rename("elsewhere")
    version = Registry.read(HERE).find("v0.1.0")
    refused(lambda: materialize(version))
    assert extra.is_file()


def test_a_damaged_cache_is_refused_and_leaves_nothing() -> None:
    md5 = prov.dvc_md5(VERSIONS / "v0.1.0/adapter_model.safetensors")
    shutil.rmtree(VERSIONS)
    file = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    file.chmod(0o644)
    file.write_bytes(b"damaged")
    assert "adapter_model.safetensors" in refused(lambda: promote(HERE, "v0.1.0", PROD)).problem
    assert [*VERSIONS.iterdir()] == []
    assert in_stage(PROD) is None


# --- sharing -----------------------------------------------------------------------------------------------------


def test_a_push_is_all_or_nothing(tmp_path: Path) -> None:
    origin, other = tmp_path / "origin", tmp_path / "other"
    shell(f"git init -q --bare -b main '{origin}' && git remote add origin '{origin}'", HERE)
    shell("git push -q origin HEAD --tags", HERE)
    promote(HERE, "v0.1.0", PROD, push=True)
    shell(f"git clone -q '{origin}' '{other}'", HERE)
    shell("git tag -a -m x 'model#prod#2' && git push -q origin 'model#prod#2'", other)
    assert refused(lambda: promote(HERE, "v0.2.0", PROD, push=True)).file == "origin"
    assert git("tag", "-l", "model#prod#2") == ""


# --- whatever tags there are -------------------------------------------------------------------------------------

SOME = st.text(max_size=60) | st.sampled_from(["{}", "[]", "null", '{"adapter": 1}', "{" * 500])
NAMES = st.sampled_from(
    [f"model@{it}" for it in ("v1.0.0", "v01.0.0", "v1.0.0-rc1", "v1.0.0#3", "v2.0.0!", "deprecated")]
    + [f"model#{it}" for it in ("prod#9", "prod!#2", "prod", "staging#3", "canary#99999999999999999999")]
    + ["models@v1.0.0", "x/model#prod#1", "v1.0.0"]
)


@pytest.fixture(scope="module")
def bare_git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a commit and nothing else."""
    folder = tmp_path_factory.mktemp("tags")
    shell("git init -q -b main && git commit -q --allow-empty -m start", folder)
    return folder


@settings(max_examples=30)  # each makes tags with git
@given(st.dictionaries(NAMES, st.tuples(st.booleans(), SOME), max_size=4))
def test_any_tags_can_be_read_and_none_is_trusted(bare_git: Path, tags: dict[str, tuple[bool, str]]) -> None:
    shell("git tag -l | xargs -r -d '\\n' git tag -d > /dev/null", bare_git)
    for name, (annotated, text) in tags.items():
        assert (Registered.read(text), Happened.read(text)) == (None, None)
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
    assert {tag.name for tag in registry.tags} <= tags.keys()
