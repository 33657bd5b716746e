"""Which release is to answer: what the registry says, and the release folder only until it has said something."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.params.loader import load_params
from hallmark.service.commands.answering import gateway_of
from hallmark.service.gateway.launching import Given
from hallmark.service.gateway.releases import (
    UNREGISTERED,
    Elsewhere,
    Files,
    FolderSource,
    RegistrySource,
    Wanted,
    digest_of,
)
from tests.gateway_toys import Wants
from tests.made_up_release import parts, write_release
from tests.workspace import ROOT


def version(name: str, digest: str) -> Any:
    return SimpleNamespace(version=name, digest=digest)


class Registry(RegistrySource):
    """The source, with a registry that tests set: `stages` by name."""

    def __init__(self, stages: dict[str, Any], other: Any) -> None:
        super().__init__(Path(), lambda: other)
        self.stages = stages

    def _registry(self) -> Any:
        return SimpleNamespace(in_stage=self.stages.get)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    write_release(tmp_path / "release", parts())
    return tmp_path / "release"


def test_a_folder_is_called_as_the_registry_calls_it_by_its_digest(release: Path) -> None:
    checked: list[Path] = []
    digest = digest_of(release)
    alone = FolderSource(release, checked.append, list)
    assert alone.wanted() == {"prod": Wanted(UNREGISTERED, digest)}
    known = FolderSource(release, checked.append, lambda: [version("v1.0.0", "f" * 64), version("v1.1.0", digest)])
    assert known.wanted() == {"prod": Wanted("v1.1.0", digest)}
    assert not checked
    assert known.files(known.wanted()["prod"]).release == release
    assert checked == [release]
    assert digest_of(release.parent) == ""


def test_the_folder_answers_until_the_registry_has_a_prod_and_never_after() -> None:
    folder = Wants(prod="folder")
    stages: dict[str, Any] = {}
    source = Registry(stages, folder)
    assert source.wanted() == folder.wanted()
    stages["canary"] = version("v1.0.0", "a")
    assert source.wanted() == {**folder.wanted(), "canary": Wanted("v1.0.0", "a")}
    stages["prod"] = stages.pop("canary")
    assert source.wanted() == {"prod": Wanted("v1.0.0", "a")}
    del stages["prod"]  # taken out of the stage by hand: what answers stays
    assert source.wanted() == {}


def test_a_canary_that_cant_be_trusted_is_none_and_prod_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    class Forged(dict[str, Any]):
        def get(self, side: str, default: Any = None) -> Any:
            if side in self.forged:
                raise HallmarkError("was moved, or forged", file="model#canary#7", remedy="decide again")
            return super().get(side, default)

        forged: tuple[str, ...] = ()

    stages = Forged(prod=version("v1.1.0", "b"), canary=version("v1.2.0", "c"))
    source = Registry(stages, Wants())
    assert {*source.wanted()} == {"prod", "canary"}
    stages.forged = ("canary",)
    stages["prod"] = version("v1.0.0", "a")  # a rollback
    assert source.wanted() == source.wanted() == {"prod": Wanted("v1.0.0", "a")}
    assert caplog.text.count("was moved, or forged") == 1
    stages.forged = ("prod",)
    with pytest.raises(HallmarkError, match="forged"):
        source.wanted()


def test_a_server_elsewhere_has_the_release_that_the_registry_says() -> None:
    both = Elsewhere(Wants(prod="v1.0.0", canary="v1.1.0"), ["prod", "canary"])
    assert {side: wanted.version for side, wanted in both.wanted().items()} == {"prod": "v1.0.0", "canary": "v1.1.0"}
    one = Elsewhere(Wants(prod="v1.0.0", canary="v1.1.0"), ["prod"])
    assert list(one.wanted()) == ["prod"]
    stopped = Elsewhere(Wants(prod="v1.0.0"), ["prod", "canary"])
    assert list(stopped.wanted()) == ["prod"], "a canary that was taken out, whose server runs on"
    unknown = Elsewhere(FolderSource(Path("nowhere"), print, list), ["prod", "canary"])
    assert unknown.wanted() == {side: Wanted(UNREGISTERED, "") for side in ("prod", "canary")}
    assert unknown.files(unknown.wanted()["prod"]).release is None


def test_a_release_that_the_registry_leaves_while_it_is_taken_up_keeps_its_cascade(release: Path) -> None:
    class Moving(Wants):
        def files(self, wanted: Wanted) -> Files:
            return Files(release, None)

    source = Moving(prod="v1.0.0")
    both = Elsewhere(source, ["prod", "canary"])
    wanted = both.wanted()
    source.sides = {"prod": "v1.1.0"}
    assert list(wanted) == ["prod"]
    assert both.files(wanted["prod"]).release == release
    source.sides = {}
    nobodys = both.wanted()
    source.sides = {"prod": "v1.1.0"}
    assert both.files(nobodys["canary"]).release is None


def test_a_folder_in_which_another_release_lies_is_not_served_as_the_first(release: Path) -> None:
    source = FolderSource(release, lambda _: None, list)
    wanted = source.wanted()["prod"]
    with (release / "provenance.json").open("a") as file:
        file.write("\n")
    with pytest.raises(HallmarkError, match="not the release that was to be served"):
        source.files(wanted)


def test_the_same_release_has_one_key_whatever_it_is_called() -> None:
    assert Wanted("v1.0.0", "d").key == Wanted(UNREGISTERED, "d").key
    assert Wanted("v1.0.0", "").key != Wanted("v1.1.0", "").key


def upstreams(**sides: Any) -> Any:
    params = load_params(ROOT / "params.yaml")
    serve = params.serve.model_dump() | {"upstreams": sides}
    return params.model_copy(update={"serve": type(params.serve).model_validate(serve)})


def test_a_server_elsewhere_is_a_client_by_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    one = {"url": "http://127.0.0.1:9/v1", "model": "served-as", "key": "UPSTREAM_KEY"}
    params = upstreams(prod=one, canary=one)
    with pytest.raises(HallmarkError, match=r"serve.upstreams.prod.key.*no variable UPSTREAM_KEY"):
        gateway_of(params, None, ungated=False)
    monkeypatch.setenv("UPSTREAM_KEY", "secret")
    given = Given(params, Elsewhere(FolderSource(Path("nowhere"), print, list), ["prod", "canary"]))
    wanted = Wanted(UNREGISTERED, "")
    assert given.key(wanted, "prod") != given.key(wanted, "canary")
    launched = given.launch(wanted, "prod")
    assert (launched.upstream.model, launched.name, launched.logs) == ("served-as", params.certify.name, None)
    assert launched.trouble() is None
    assert not launched.room(1)  # there is nothing to keep ready
    assert launched.judge.cascade is None
