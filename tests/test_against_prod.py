"""Each new release against the one in prod: the lines in params.yaml, and a promotion that rests on another comparison."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hallmark.answer.comparators.adapter import VERSIONS, Adapter, AdapterSettings, check_pinned
from hallmark.model.adapter import CONFIG, TENSORS
from hallmark.params.edit import added
from hallmark.params.loader import load_params
from hallmark.service.commands.promote import follow_prod
from hallmark.service.registry.promotion import promote, roll_back
from hallmark.service.registry.registry import PROD, Registry
from tests.registered import refused, tool
from tests.small_pipeline import ROOT

HERE, PARAMS = Path(), Path("params.yaml")
ORIGINAL = (ROOT / "params.yaml").read_text(encoding="utf-8")


def compared() -> AdapterSettings:
    settings = load_params(PARAMS).eval.comparators["prod"]
    assert isinstance(settings, AdapterSettings)
    return settings


def test_it_is_set_up_and_then_follows_prod(registered_repo: Path) -> None:
    promote(HERE, "v0.1.0", PROD)
    first, second = Registry.read(HERE).versions[:2]
    assert follow_prod(PARAMS, first, None) == [], "nobody asked for it"
    PARAMS.write_text(ORIGINAL, encoding="utf-8")
    said = follow_prod(PARAMS, first, 0.03)
    assert said[:2] == [
        "params.yaml: eval.comparators.prod is models/versions/v0.1.0",
        "params.yaml: gate.non_inferiority has prod: 0.03, the most by which a release may be behind it",
    ]
    assert (compared().sha256, compared().base) == (first.adapter, None)
    assert load_params(PARAMS).gate.non_inferiority == {"prod": 0.03}
    text = PARAMS.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [line for line in ORIGINAL.splitlines() if line not in lines] == ["  non_inferiority: {}"]
    at = lines.index("    prod:  # the release in prod, which `nox -s promote` keeps up to date")
    assert lines[at - 1].startswith("      neighbours: 20"), "behind the last of the comparators"
    lines[at + 2] += "  # mine"
    PARAMS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert follow_prod(PARAMS, second, None)[0] == "params.yaml: eval.comparators.prod is models/versions/v0.2.0"
    assert compared().sha256 == second.adapter
    assert "folder: models/versions/v0.2.0  # mine" in PARAMS.read_text(encoding="utf-8")
    assert follow_prod(PARAMS, second, 0.5) == [], "the margin is the user's"
    check_pinned(Path(compared().folder), {TENSORS: compared().sha256, CONFIG: compared().config_sha256})


def test_a_base_that_has_changed_is_kept_for_it(registered_repo: Path) -> None:
    Path("models/quantized/config.json").write_text("{}", encoding="utf-8")
    follow_prod(PARAMS, Registry.read(HERE).find("v0.1.0"), 0.02)
    settings = compared()
    assert settings.base is not None
    assert settings.base.startswith("models/versions/weights/")
    assert settings.base_sha256 is not None


def test_another_comparator_of_that_name_is_left_alone(registered_repo: Path) -> None:
    lines = ["prod:", "  kind: linear_copy", "  labels: vote", "  neighbours: 3"]
    PARAMS.write_text(added(ORIGINAL, "eval.comparators", lines), encoding="utf-8")
    error = refused(lambda: follow_prod(PARAMS, Registry.read(HERE).find("v0.1.0"), 0.02))
    assert error.field == "eval.comparators.prod"


def test_a_release_compared_with_another_than_prod_is_refused(registered_repo: Path) -> None:
    promote(HERE, "v0.2.0", PROD)
    assert refused(lambda: promote(HERE, "v0.4.0", PROD)).field == "non_inferiority.prod"
    (note,) = promote(HERE, "v0.1.0", PROD).notes
    assert note.startswith("v0.1.0 was not compared with v0.2.0")
    assert promote(HERE, "v0.4.0", PROD).notes == [], "it was compared with v0.1.0"
    assert roll_back(HERE).version.version == "v0.1.0", "which asks for no comparison"


def test_the_commands_say_what_they_did(registered_repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool("promote", "v0.1.0", "prod", "--compare")
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "v0.1.0 is in prod"
    assert "params.yaml: eval.comparators.prod is models/versions/v0.1.0" in said
    tool("promote", "v0.2.0", "prod")
    said = capsys.readouterr().out
    assert "params.yaml: eval.comparators.prod is models/versions/v0.2.0" in said
    tool("rollback")
    said = capsys.readouterr().out
    assert "params.yaml: eval.comparators.prod is models/versions/v0.1.0" in said
    PARAMS.write_text("seed: seven\n", encoding="utf-8")
    tool("promote", "v0.2.0", "prod")  # what users have does not wait for a param
    assert Registry.read(HERE).in_stage(PROD) == Registry.read(HERE).find("v0.2.0")
    assert "note: params.yaml does not follow what is in prod" in capsys.readouterr().err


def test_a_fresh_clone_is_told_which_command_it_lacks(registered_repo: Path) -> None:
    follow_prod(PARAMS, Registry.read(HERE).find("v0.1.0"), 0.02)
    settings = compared()
    shutil.rmtree(VERSIONS)
    assert "nox -s fetch -- . v0.1.0" in refused(lambda: Adapter().weights(settings)).remedy
    tool("fetch", ".", "v0.1.0")
    assert Adapter().weights(settings) == Path("models/quantized")
