"""Damaged and hostile model and adapter folders: each is one error that names the file, and nothing is repaired."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.model_folder import INDEX, WEIGHTS, check_files, tensor_names, weight_files
from hallmark.model import fetching
from hallmark.model.adapter import CONFIG, TENSORS, check_adapter, load_adapter
from hallmark.model.base_params import FolderBase
from hallmark.model.loading import TRAINING, load_base, load_tokenizer, load_tuned
from hallmark.params.loader import Params, load_params
from stages import base
from tests.rows import refused
from tests.tiny import make_tiny_base
from tests.workspace import make_tiny_workspace, report, stage

LAYER = "model.layers.1.mlp.up_proj.weight"
PLAIN: dict[str, Any] = {"dtype": "float32", "attention": "eager", "device": "cpu"}
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    folder = make_tiny_workspace(tmp_path_factory.mktemp("params"), rows=1)
    return load_params(folder / "params.yaml")


def take(folder: Path, target: Path, params: Params) -> None:
    """What `base` does with a folder, apart from its reports."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    given = FolderBase(source="folder", name="n", licence="mit", path=str(folder), chat_template_kwargs={})
    fetching.from_folder(given, target)
    base.check(target)
    base.settle(target, {}, params.task)
    base.describe(target)


def changed(name: str, **values: Any) -> Damage:
    """A JSON file with these fields changed."""

    def change(folder: Path) -> None:
        old = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(old | values), encoding="utf-8")

    return change


def changed_inside(name: str, key: str, **values: Any) -> Damage:
    """A JSON file with these fields changed in the object under `key`."""
    return lambda folder: changed(name, **{key: json.loads((folder / name).read_text(encoding="utf-8"))[key] | values})(
        folder
    )


def without(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def written(name: str, content: str | bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def tensors(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Damage:
    """The weights file after a change of its tensors."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        held = load_file(folder / name)
        change(held)
        save_file(held, folder / name, {"format": "pt"})

    return apply


def cut(name: str, share: float) -> Damage:
    def apply(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return apply


def indexed(weight_map: Any, shard: str = "shard.safetensors") -> Damage:
    """The weights in a shard, with an index; `...` stands for the right map."""

    def apply(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / shard)
        right = dict.fromkeys(tensor_names(folder / shard), shard)
        value = weight_map(right) if callable(weight_map) else weight_map
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": value}), encoding="utf-8")

    return apply


def linked(name: str) -> Damage:
    """A file that is a link to one outside the folder."""

    def apply(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return apply


def not_a_number(name: str, value: float = float("nan")) -> Callable[[dict[str, Any]], None]:
    return lambda held: held[name].view(-1)[0].fill_(value).item()


def template(text: str) -> Damage:
    return written("chat_template.jinja", text)


TURNS = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"

BASES: dict[str, tuple[Damage, str]] = {
    "no chat template": (without("chat_template.jinja"), "no chat template"),
    "a layer less": (tensors(lambda held: held.pop(LAYER)), f"lack 1 tensor ({LAYER}), which would be random"),
    "not a number": (tensors(not_a_number(LAYER)), f"tensor '{LAYER}' has values that are infinite"),
    "quantized weights": (changed("config.json", quantization_config={"quant_method": "awq"}), "weights are quantized"),
    "a tokenizer of more tokens": (
        changed("tokenizer.json", added_tokens=[
            {"id": token, "content": f"<{token}>", "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for token in range(320, 330)]),
        "tokenizer.json: 330 tokens, but the model has embeddings for 320"),
    "weights that are a link": (linked(WEIGHTS), f"{WEIGHTS}: a link"),
    "an index out of the folder": (
        indexed(lambda right: dict.fromkeys(right, "../outside.safetensors")), f"{INDEX}, field 'weight_map'"),
    "a template without an end": (
        template("{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}" + TURNS),
        "chat template takes over 1 seconds"),
    "a template that hides the end of an answer": (
        template(TURNS.replace("message.content", "message.content|replace('ANSWER', '')")), "leaves the answer out"),
    "a template of chance": (template("{{ ['a', 'b']|random }}" + TURNS), "draws at random"),
    "two tied tensors that differ": (
        tensors(lambda held: held.update({"lm_head.weight": held["model.embed_tokens.weight"] + 1})),
        "config.json, field 'tie_word_embeddings'"),
    "code of its own": (
        changed("config.json", model_type="evil", auto_map={"AutoConfig": "x.Y"}), "The repository . contains custom code"),
    "a tokenizer of chance": (
        changed_inside("tokenizer.json", "model", dropout=0.5), "other tokens of the same text each time"),
    "a tokenizer that grows": (
        changed("tokenizer.json", normalizer={"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 1000}] * 4}),
        "could make a text over 1000 times as long"),
}  # fmt: skip


@pytest.mark.parametrize("form", BASES)
def test_a_damaged_base_is_one_error_that_names_the_file(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    damage, problem = BASES[form]
    monkeypatch.setattr("hallmark.model.chat_template.SECONDS", 1)
    folder = make_tiny_base(tmp_path / "given")
    damage(folder)
    with refused() as caught:
        take(folder, tmp_path / "taken", params)
    assert problem in str(caught.value)


def test_a_whole_base_in_shards_is_taken_and_stray_weights_are_not(tmp_path: Path, params: Params) -> None:
    folder = make_tiny_base(tmp_path / "given")
    indexed(lambda right: right)(folder)
    stray = {"consolidated.safetensors", ".hidden.json", "pytorch_model.bin", "modeling_evil.py", "optimizer.pt"}
    for name in stray:
        (folder / name).write_bytes(b"x")
    take(folder, tmp_path / "taken", params)
    taken = {file.name for file in (tmp_path / "taken").iterdir()}
    assert {"shard.safetensors", INDEX} <= taken
    assert not stray & taken
    load_base(tmp_path / "taken", **PLAIN)


def test_tied_weights_that_are_stored_twice_are_no_error(tmp_path: Path, params: Params) -> None:
    folder = make_tiny_base(tmp_path / "given")
    tensors(lambda held: held.update({"lm_head.weight": held["model.embed_tokens.weight"].clone()}))(folder)
    take(folder, tmp_path / "taken", params)


def test_an_error_names_the_folder_that_was_given_and_the_earlier_base_stays(tmp_path: Path) -> None:
    folder = make_tiny_workspace(tmp_path)
    stage(folder, "base")
    before = report(folder, "base")
    changed("config.json", num_hidden_layers=4)(folder / "tiny")
    result = stage(folder, "base", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("base: error: tiny: ")
    assert not list(folder.glob("models/.base-*"))
    assert report(folder, "base") == before


def test_a_snapshot_of_the_hub_may_link_within_its_cache_only(tmp_path: Path) -> None:
    snapshot = make_tiny_base(tmp_path / "models--o--n/snapshots/abc")
    (tmp_path / "models--o--n/blobs").mkdir()
    for file in snapshot.iterdir():
        blob = file.rename(tmp_path / "models--o--n/blobs" / file.name)
        file.symlink_to(blob)
    (tmp_path / "taken").mkdir()
    fetching.copy_model(snapshot, tmp_path / "taken", within=tmp_path / "models--o--n")
    assert not any(file.is_symlink() for file in (tmp_path / "taken").iterdir())
    (snapshot / WEIGHTS).unlink()
    (tmp_path / "outside").write_bytes(b"x")
    (snapshot / WEIGHTS).symlink_to(tmp_path / "outside")
    with pytest.raises(HallmarkError, match=f"{WEIGHTS}: a link"):
        fetching.copy_model(snapshot, tmp_path / "taken", within=tmp_path / "models--o--n")


@pytest.mark.parametrize("path", ["nowhere", "/dev/null"])
def test_a_base_that_is_no_folder_is_one_error(tmp_path: Path, path: str) -> None:
    given = FolderBase(source="folder", name="n", licence="mit", path=path, chat_template_kwargs={})
    with refused(field="base.path"):
        fetching.from_folder(given, tmp_path)


FUZZED = (
    WEIGHTS,
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "chat_template.jinja",
)


def fuzz(file: Path, head: int, data: st.DataObject) -> None:
    """Flip bits in the head of a file, which means something, and cut it."""
    content = bytearray(file.read_bytes())
    end = min(len(content), head)
    places = st.lists(st.tuples(st.integers(0, end - 1), st.integers(0, 7)), min_size=1, max_size=4)
    for place, bit in data.draw(places):
        content[place] ^= 1 << bit
    file.write_bytes(content[: data.draw(st.sampled_from([None, 0, 7, 9, end // 2]))])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_an_error_of_ours_or_none(tmp_path: Path, params: Params, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path / "given", ignore_errors=True)
    folder = make_tiny_base(tmp_path / "given")
    fuzz(folder / data.draw(st.sampled_from(FUZZED)), 2500, data)
    try:
        take(folder, tmp_path / "taken", params)
    except HallmarkError as error:
        assert error.remedy


# Adapters.

A = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
B = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny base and an adapter for it, not to be changed."""
    from peft import LoraConfig, get_peft_model

    top = tmp_path_factory.mktemp("adapter")
    model = load_base(make_tiny_base(top / "base"), **PLAIN)
    lora = LoraConfig(r=4, target_modules=["up_proj", "q_proj"], layers_to_transform=[0, 1], task_type="CAUSAL_LM")
    get_peft_model(model, lora).save_pretrained(top / "adapter")
    (top / "adapter" / TRAINING).write_text('{"base_precision": "float32"}', encoding="utf-8")
    return top


def only_a_pickle(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / TENSORS), folder / "adapter_model.bin")
    (folder / TENSORS).unlink()


ADAPTERS: dict[str, tuple[Damage, str]] = {
    "only a pickle": (only_a_pickle, "adapter_model.bin: a pickle"),
    "a tensor less": (tensors(lambda held: held.pop(B), TENSORS), f"{TENSORS}: lacks 1 tensor ({B})"),
    "a tensor too many": (
        tensors(lambda held: held.update({"evil.lora_A.weight": held[A].clone()}), TENSORS), "has 1 tensor (evil.lora_A"),
    "not a number": (tensors(not_a_number(A), TENSORS), f"tensor '{A}' has values that are infinite"),
    "another method": (changed(CONFIG, peft_type="LOHA"), f"{CONFIG}, field 'peft_type'"),
    "a rank that differs": (changed(CONFIG, r=8), "has rank 4, but adapter_config.json says 8"),
    "other modules trained": (changed(CONFIG, modules_to_save=["lm_head"]), f"{CONFIG}, field 'modules_to_save'"),
}  # fmt: skip


@pytest.mark.parametrize("form", ADAPTERS)
def test_a_damaged_adapter_is_one_error_that_names_the_file(whole: Path, tmp_path: Path, form: str) -> None:
    damage, problem = ADAPTERS[form]
    folder = Path(shutil.copytree(whole / "adapter", tmp_path / "adapter"))
    damage(folder)
    with refused() as caught:
        load_tuned(whole / "base", folder, **PLAIN, merge=False)
    assert problem in str(caught.value)


def test_a_whole_adapter_is_loaded_without_a_word(whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import warnings

    from safetensors.torch import load_file

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuned = load_adapter(load_base(whole / "base", **PLAIN), whole / "adapter")
    held = load_file(whole / "adapter" / TENSORS)
    assert (tuned.get_parameter(A.replace(".weight", ".default.weight")) == held[A]).all()
    assert not [name for name, tensor in tuned.named_parameters() if tensor.requires_grad]
    assert "deprecated" not in capfd.readouterr().err


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_an_adapter_is_an_error_of_ours_or_none(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = Path(shutil.copytree(whole / "adapter", tmp_path / "adapter", dirs_exist_ok=True))
    fuzz(folder / data.draw(st.sampled_from([TENSORS, CONFIG])), 1200, data)
    with contextlib.suppress(HallmarkError):
        check_adapter(folder)
        load_adapter(load_base(whole / "base", **PLAIN), folder)


@pytest.mark.parametrize("name", ["model.bin", "sub/weights.PKL"])
def test_no_loader_reads_a_folder_with_a_pickle(whole: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(whole / "base", tmp_path / "base"))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    for read in (check_files, load_tokenizer, lambda folder: load_base(folder, **PLAIN)):
        with pytest.raises(HallmarkError, match=f"{Path(name).name}: a pickle"):
            read(folder)


def test_an_adapter_in_the_folder_of_a_base_is_not_loaded(whole: Path, tmp_path: Path) -> None:
    """transformers would put it on the model without a word, and take the base that it names."""
    folder = Path(shutil.copytree(whole / "base", tmp_path / "base"))
    for file in (CONFIG, TENSORS):
        shutil.copyfile(whole / "adapter" / file, folder / file)
    with pytest.raises(HallmarkError, match="an adapter's, in a folder with a whole model"):
        load_base(folder, **PLAIN)


def test_weights_changed_after_base_took_them_are_an_error_when_loaded(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole / "base", tmp_path / "base"))
    tensors(lambda held: held.pop(LAYER))(folder)
    with pytest.raises(HallmarkError, match="which would be random"):
        load_base(folder, **PLAIN)
    assert weight_files(folder) == [folder / WEIGHTS]
