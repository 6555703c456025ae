"""An exported GGUF file holds the whole model; what it cannot hold is named."""

import errno
import itertools
import json
import os
import re

import numpy
import pytest
import tokenizers
import torch
from gguf import GGUFReader
from gguf.constants import GGMLQuantizationType, TokenType
from gguf.quants import quantize
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.int4 import Int4
from malmoi.core.errors import UserError
from malmoi.formats import gguf_export
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.formats.gguf_export import export_gguf, preventing_settings
from malmoi.formats.modelfile import write_modelfile
from malmoi.formats.registry import family_of
from malmoi.layers.compressed import compressed_layers
from malmoi.layers.low_rank import apply_low_rank, merge_low_rank
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import meta_model
from malmoi.tokenizers.byte_level import split_and_spell
from malmoi.tokenizers.chat import render
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = "말모이는 낱말을 모은 사전이다. The fox said 12345\n\n  <|im_end|> 👩‍👧"


def fields(path):
    """The metadata, by the reference library."""
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def changed(tokenizer, **changes):
    """The tokenizer with other settings of its model, or another `normalizer`, `pre_tokenizer`, `post_processor`."""
    described = json.loads(tokenizer.backend.to_str())
    described["model"] |= {name: value for name, value in changes.items() if name in described["model"]}
    backend = tokenizers.Tokenizer.from_str(json.dumps(described))
    for name in changes.keys() - described["model"].keys():
        setattr(backend, name, changes[name])
    return Tokenizer(backend)


def test_every_shape_comes_back_as_it_was(any_shape, tokenizer, tmp_path):
    export_gguf(any_shape, tokenizer, tmp_path / "x.gguf", "f32")
    again = load_checkpoint(tmp_path / "x.gguf")
    assert again.model.config == any_shape.config
    state = again.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in any_shape.state_dict().items())
    assert again.tokenizer.encode(TEXT) == tokenizer.encode(TEXT)
    assert again.tokenizer.chat_template == tokenizer.chat_template
    assert (again.tokenizer.size, again.tokenizer.end, again.tokenizer.stops, again.tokenizer.special) == (
        tokenizer.size, tokenizer.end, tokenizer.stops, tokenizer.special
    )  # fmt: skip


def test_low_rank_differences_are_merged_in_the_file(shaken, tokenizer, tmp_path):
    model = shaken("llama")
    apply_low_rank(model)
    torch.nn.init.normal_(model.blocks[0].attention.query.widen)
    export_gguf(model, tokenizer, tmp_path / "x.gguf", "f32")
    merge_low_rank(model)
    query = load_checkpoint(tmp_path / "x.gguf").model.blocks[0].attention.query.weight
    assert torch.equal(query, model.blocks[0].attention.query.weight)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_four_bits_are_held_there_as_here(family, shaken, tokenizer, tmp_path):
    model = shaken(family)
    Int4().apply(model, Calibration([list(range(1, 24))]))
    export_gguf(model, tokenizer, tmp_path / "x.gguf", "q4_1")
    read = load_checkpoint(tmp_path / "x.gguf").model
    for name, layer in compressed_layers(model).items():
        assert torch.equal(read.get_submodule(name).weight, layer.weight)


@pytest.mark.parametrize(
    ("type_name", "inner", "outer"), [("q8_0", "Q8_0", "Q8_0"), ("q4_0", "Q4_0", "Q8_0"), ("q4_1", "Q4_1", "Q8_0")]
)
def test_blocks_are_those_of_the_reference_library(type_name, inner, outer, shaken, tokenizer, tmp_path):
    model = shaken("qwen3", tied=False)
    export_gguf(model, tokenizer, tmp_path / "x.gguf", type_name)
    tensors = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "x.gguf").tensors}
    for name, rows, kind in [
        ("blk.1.ffn_up.weight", model.blocks[1].feed_forward.up.weight, inner),
        ("blk.0.attn_q.weight", model.blocks[0].attention.query.weight, inner),
        ("token_embd.weight", model.embedding.weight, outer),
        ("output.weight", model.head.weight, outer),
    ]:
        kind = GGMLQuantizationType[kind]
        assert tensors[name].tensor_type == kind
        assert numpy.array_equal(tensors[name].data, quantize(rows.detach().numpy(), kind))


def test_what_is_no_matrix_of_whole_blocks_keeps_more(shaken, tokenizer, tmp_path):
    export_gguf(shaken("gpt2", width=48, feed_forward=64), tokenizer, tmp_path / "x.gguf", "q8_0")
    found = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "x.gguf").tensors}
    assert found["blk.0.ffn_down.weight"] == "Q8_0"  # rows of 64
    assert found["blk.0.attn_qkv.weight"] == "F16"  # rows of 48
    assert {found["position_embd.weight"], found["blk.1.ffn_up.bias"], found["output_norm.weight"]} == {"F32"}


def test_a_tensor_is_the_same_in_one_piece_and_in_many(shaken, tokenizer, tmp_path, monkeypatch):
    for name, chunk in (("many", 100), ("one", 1 << 22)):
        monkeypatch.setattr(gguf_export, "_CHUNK", chunk)
        export_gguf(shaken(), tokenizer, tmp_path / name / "x.gguf", "q8_0")
    assert (tmp_path / "many/x.gguf").read_bytes() == (tmp_path / "one/x.gguf").read_bytes()


def test_every_id_has_its_type_and_ids_without_a_token_are_filled(shaken, tokenizer, tmp_path):
    tokenizer = changed(tokenizer)
    tokenizer.backend.add_tokens([AddedToken("<생각>", normalized=False)])
    tokenizer = Tokenizer(tokenizer.backend)
    export_gguf(shaken(vocabulary=300), tokenizer, tmp_path / "x.gguf")
    found = fields(tmp_path / "x.gguf")
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    of_type = {kind: [token for token, type in zip(tokens, types, strict=True) if type == kind] for kind in TokenType}
    assert of_type[TokenType.CONTROL] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert of_type[TokenType.USER_DEFINED] == ["<생각>"]
    assert of_type[TokenType.UNUSED] == [f"[PAD{id}]" for id in range(291, 300)]
    assert len(of_type[TokenType.NORMAL]) == 287


def test_special_tokens_have_their_parts(shaken, tokenizer, tmp_path):
    export_gguf(shaken(), tokenizer, tmp_path / "x.gguf")
    found = fields(tmp_path / "x.gguf")
    ids = {role: found[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "eos", "eot")}
    assert ids == {"bos": tokenizer.end, "eos": tokenizer.end, "eot": tokenizer.special["<|im_end|>"]}
    assert found["tokenizer.ggml.add_bos_token"] is found["tokenizer.ggml.add_eos_token"] is False


def test_a_token_put_before_every_text_is_put_there_too(shaken, tokenizer, tmp_path):
    begin = ("<|im_start|>", tokenizer.special["<|im_start|>"])
    adding = changed(tokenizer, post_processor=processors.TemplateProcessing("<|im_start|> $A", None, [begin]))
    adding.begin = "<|im_start|>"
    export_gguf(shaken(), adding, tmp_path / "x.gguf")
    found = fields(tmp_path / "x.gguf")
    assert found["tokenizer.ggml.add_bos_token"] is True
    assert found["tokenizer.ggml.bos_token_id"] == begin[1]


SETTINGS = {
    "positions": ["rotary", "learned"],
    "norm": ["rms", "layer"],
    "activation": ["swiglu", "gelu_tanh", "gelu", "relu2"],
    "bias": [False, True],
    "attention_bias": [None, False, True],
    "query_key_norm": [False, True],
    "key_value_heads": [4, 2],
    "head_width": [8, 24],
}


def test_the_settings_named_are_those_that_prevent():
    """Every combination: one that `transformers` knows is let through, but for what llama.cpp computes otherwise."""
    for values in itertools.product(*SETTINGS.values()):
        changes = dict(zip(SETTINGS, values, strict=True))
        config = GPTConfig(vocabulary=9, context=9, width=32, layers=1, heads=4, **changes)
        found = family_of(config, dict(meta_model(config).named_parameters()))
        family = found.model_type if found else "malmoi"
        otherwise = (family == "gpt2" and config.activation != "gelu_tanh") or (
            family == "qwen2" and config.head_width != 8
        )
        assert (preventing_settings(config) == []) == (family != "malmoi" and not otherwise), changes


@pytest.mark.parametrize(
    ("shape", "changes", "named"),
    [
        ("qwen3", {"short_convolution": 3}, "short_convolution=3"),
        ("qwen3", {"bigram_buckets": 77}, "bigram_buckets=77"),
        ("qwen3", {"activation": "relu2"}, "activation=relu2"),
        ("qwen3", {"norm": "layer"}, "norm=layer"),
        ("qwen3", {"attention_bias": True}, "attention_bias=True"),
        ("qwen3", {"positions": "learned"}, "positions=learned, norm=rms, activation=swiglu"),
        ("llama biased", {"query_key_norm": True}, "query_key_norm=True"),
        ("qwen2", {"head_width": 24}, "head_width=24"),
        ("gpt2", {"activation": "gelu"}, "positions=learned, activation=gelu"),
        ("gpt2", {"key_value_heads": 2}, "key_value_heads=2"),
    ],
)
def test_a_model_that_cannot_be_expressed_is_refused(shape, changes, named, shaken, tokenizer, tmp_path):
    with pytest.raises(UserError, match=f"{re.escape(named)}.*malmoi itself runs this one"):
        export_gguf(shaken(shape, **changes), tokenizer, tmp_path / "x.gguf")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pre_tokenizer": pre_tokenizers.WhitespaceSplit()}, "WhitespaceSplit"),
        ({"pre_tokenizer": split_and_spell(r"\p{Hangul}+|.")}, r"cuts by \p{Hangul}+|."),
        ({"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)}, '"add_prefix_space": true'),
        ({"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)}, "cuts by nothing"),
        ({"normalizer": normalizers.NFKC()}, "the normalizer NFKC"),
        ({"dropout": 0.1}, "dropout=0.1"),
        ({"end_of_word_suffix": "</w>"}, "end_of_word_suffix='</w>'"),
        ({"ignore_merges": True}, "ignore_merges=True"),
    ],
    ids=str,
)
def test_a_tokenizer_that_llama_cpp_would_get_wrong_is_refused(changes, named, shaken, tokenizer, tmp_path):
    with pytest.raises(UserError, match=re.escape(named)):
        export_gguf(shaken(), changed(tokenizer, **changes), tmp_path / "x.gguf")


def test_a_token_that_takes_the_space_around_it_is_refused(shaken, tokenizer, tmp_path):
    backend = changed(tokenizer).backend
    backend.add_tokens([AddedToken("<생각>", lstrip=True)])
    with pytest.raises(UserError, match="<생각>"):
        export_gguf(shaken(vocabulary=300), Tokenizer(backend), tmp_path / "x.gguf")


@pytest.mark.parametrize("kind", ["character", "word"])
def test_characters_and_words_are_refused(kind, shaken, tmp_path):
    whole = train_tokenizer(["말모이는 낱말을 모은 사전이다."], TokenizerSettings(kind=kind, vocabulary=0))
    with pytest.raises(UserError, match=r"kind WordLevel.*kind=byte"):
        export_gguf(shaken(), whole, tmp_path / "x.gguf")


def test_a_tokenizer_larger_than_the_model_is_refused(shaken, tokenizer, tmp_path):
    with pytest.raises(UserError, match="290 ids, but the model only 100"):
        export_gguf(shaken(vocabulary=100), tokenizer, tmp_path / "x.gguf")


@pytest.mark.parametrize("value", [1e5, torch.nan])
def test_a_number_too_large_for_the_type_is_named(value, shaken, tokenizer, tmp_path):
    model = shaken()
    with torch.no_grad():
        model.blocks[1].feed_forward.down.weight[3, 3] = value
    with pytest.raises(UserError, match=r"blk.1.ffn_down.weight.*--type f32"):
        export_gguf(model, tokenizer, tmp_path / "x.gguf")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "type_name", "sentence"),
    [
        ("x.gguf", "q8", "no type 'q8'. Did you mean 'q8_0'"),
        ("x.bin", "f16", "x.bin is no name"),
        ("folder.gguf", "f16", "folder.gguf is no name"),
    ],
)
def test_other_mistakes(name, type_name, sentence, shaken, tokenizer, tmp_path):
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(UserError, match=re.escape(sentence)):
        export_gguf(shaken(), tokenizer, tmp_path / name, type_name)


def test_a_full_disk_leaves_the_file_that_was_there(shaken, tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "x.gguf"
    export_gguf(shaken(), tokenizer, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf_export, "quantize", full)
    with pytest.raises(UserError, match="disk is full"):
        export_gguf(shaken("llama"), tokenizer, path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    export_gguf(shaken("llama"), tokenizer, path)
    assert load_checkpoint(path).model.config.query_key_norm is False
    assert os.listdir(tmp_path) == ["x.gguf"]


def go_template(modelfile, messages):
    """What Ollama makes of the TEMPLATE in a Modelfile that has one loop over messages."""
    template = re.search(r'TEMPLATE """(.*?)"""', modelfile, re.DOTALL)[1]
    body, rest = re.fullmatch(r"\{\{ range \.Messages \}\}(.*)\{\{ end \}\}(.*)", template, re.DOTALL).groups()
    turns = [body.replace("{{ .Role }}", m["role"]).replace("{{ .Content }}", m["content"]) for m in messages]
    return "".join(turns) + rest


def test_a_modelfile_says_the_same_template(tokenizer, tmp_path):
    write_modelfile(tmp_path / "x.Modelfile", tmp_path / "한국어 x.gguf", tokenizer, 4096)
    content = (tmp_path / "x.Modelfile").read_text(encoding="utf-8")
    assert content.splitlines()[0] == "FROM ./한국어 x.gguf"
    assert content.splitlines()[-3:] == [
        "PARAMETER num_ctx 4096", 'PARAMETER stop "<|endoftext|>"', 'PARAMETER stop "<|im_end|>"'
    ]  # fmt: skip
    messages = [
        {"role": "system", "content": "짧게."},
        {"role": "user", "content": "말모이가 뭐야?"},
        {"role": "assistant", "content": " A\n"},
        {"role": "user", "content": "more"},
    ]
    assert go_template(content, messages) == render(tokenizer, messages, answer=True)


@pytest.mark.parametrize("template", [None, "{{ messages[0]['content'] }}"])
def test_a_modelfile_leaves_another_template_to_the_gguf(template, tokenizer, tmp_path):
    other = changed(tokenizer)
    other.chat_template = template
    write_modelfile(tmp_path / "x.Modelfile", tmp_path / "x.gguf", other, 4096)
    assert "TEMPLATE" not in (tmp_path / "x.Modelfile").read_text()


def test_a_token_cannot_write_into_a_modelfile(tokenizer, tmp_path):
    backend = changed(tokenizer).backend
    hostile = '<end>"\nFROM /etc/passwd'
    backend.add_special_tokens([AddedToken(hostile, special=True, normalized=False)])
    write_modelfile(tmp_path / "x.Modelfile", tmp_path / "x.gguf", Tokenizer(backend, chat_template=hostile), 4096)
    assert "passwd" not in (tmp_path / "x.Modelfile").read_text()
