"""llama.cpp is the referee: what it makes of an exported file is what we make of the model."""

import copy
import json
import random
import unicodedata

import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, pre_tokenizers
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.formats.gguf_export import export_gguf
from malmoi.generate.generator import generate
from malmoi.generate.sampling import SamplingSettings
from malmoi.tokenizers.byte_level import split_and_spell
from malmoi.tokenizers.chat import render
from malmoi.tokenizers.patterns import GPT2, LLAMA3
from malmoi.tokenizers.tokenizer import Tokenizer

PROMPT = "옛날에 a fox 12 'S"
MESSAGES = [
    {"role": "system", "content": "짧게 답한다."},
    {"role": "user", "content": "말모이가 뭐야? <|im_end|>"},
    {"role": "assistant", "content": "A dictionary."},
    {"role": "user", "content": "  more\n"},
]


@pytest.fixture(scope="module")
def trained(train):
    """A model that has read for a few seconds, with its tokenizer."""
    return train(width=64, layers=2, feed_forward=160)


def texts(count):
    """Random texts of what pre-tokenizers treat in their own way, of Hangul, and of all Unicode; composed (NFC)."""
    dice = random.Random(0)
    words = [
        "'s", "'LL", " the", " 2024", "한국어", "  ", "\n\n", "\r\n", "\t", "\u017f", "\u200b", "\u3000", "\xa0", "ㄱ",
        "½", "Ⅷ", "٣", "👩‍👧", "🇰🇷", ".", "_", "{}", "//", "def f(x):", "\n    return", "<|im_end|>", "<생각>", "\x00",
    ]  # fmt: skip
    for _ in range(count // 4):
        yield "".join(dice.choices(words, k=dice.randrange(1, 12)))
        for first, last in ((0xAC00, 0xD7A4), (0x20, 0xD800), (0xE000, 0x110000)):
            text = "".join(chr(dice.randrange(first, last)) for _ in range(dice.randrange(1, 12)))
            yield unicodedata.normalize("NFC", text)


def cut_by(tokenizer, pre_tokenizer, whole_words=False):
    """The tokenizer's vocabulary behind another pre-tokenizer, with a word that is always one token."""
    described = json.loads(tokenizer.backend.to_str())
    described["model"]["ignore_merges"] = whole_words
    backend = tokenizers.Tokenizer.from_str(json.dumps(described | {"normalizer": None}))
    backend.pre_tokenizer = pre_tokenizer
    backend.add_tokens([AddedToken("<생각>", normalized=False)])
    return Tokenizer(backend)


def test_every_shape_gives_the_same_probabilities(any_shape, tokenizer, llama_cpp, tmp_path):
    export_gguf(any_shape, tokenizer, tmp_path / "x.gguf", "f32")
    ids = tokenizer.encode(PROMPT)
    wanted = any_shape.logits(torch.tensor([ids]))[0, -1].log_softmax(-1)
    found = llama_cpp(tmp_path / "x.gguf").logprobs(ids, any_shape.config.vocabulary)
    table_of_gelu = any_shape.config.activation == "gelu_tanh"  # in float16
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-2 if table_of_gelu else 1e-4)


def test_a_trained_model_writes_the_same_text(trained, llama_cpp, tmp_path):
    model, tokenizer = trained
    export_gguf(model, tokenizer, tmp_path / "x.gguf", "f32")
    opened, settings = llama_cpp(tmp_path / "x.gguf"), SamplingSettings(temperature=0, maximum_tokens=32)
    for prompt in ("The fox", "숲에서 곰이"):
        ids = tokenizer.encode(prompt)
        assert opened.greedy(ids, 32) == [piece.token for piece in generate(model, tokenizer, ids, settings)]


def test_quantised_models_are_as_good_there(trained, sentences, perplexity, llama_cpp, tmp_path):
    model, tokenizer = trained
    rows = tokenizer.encode_batch(sentences(4, seed=2))
    wanted = perplexity(model, rows)
    for type_name, tolerance in {"f32": 1e-5, "f16": 1e-3, "q8_0": 5e-3, "q4_0": 2e-2}.items():
        path = tmp_path / f"{type_name}.gguf"
        export_gguf(model, tokenizer, path, type_name)
        found = llama_cpp(path).perplexity(rows, tokenizer.size)
        assert found == pytest.approx(wanted, rel=tolerance), type_name


FOUR_BITS = {
    "all": [Int4(rounding="nearest")],
    "but the embedding": [Int4(rounding="nearest", layers=["blocks.*"]), Int8(layers=["embedding"])],
}


@pytest.mark.parametrize("steps", FOUR_BITS.values(), ids=FOUR_BITS)
def test_a_compressed_model_is_as_good_there(steps, trained, sentences, perplexity, llama_cpp, tmp_path):
    model, tokenizer = copy.deepcopy(trained[0]), trained[1]
    for step in steps:
        step.apply(model, Calibration())
    rows = tokenizer.encode_batch(sentences(4, seed=2))
    export_gguf(model, tokenizer, tmp_path / "x.gguf", "q4_1")
    found = llama_cpp(tmp_path / "x.gguf").perplexity(rows, tokenizer.size)
    assert found == pytest.approx(perplexity(model, rows), rel=5e-3)


PRE_TOKENIZERS = {
    "qwen2": None,
    "gpt-2": split_and_spell(GPT2),
    "gpt-2 as the library has it": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "llama-bpe": split_and_spell(LLAMA3),
}


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_text_gets_the_same_ids(name, tokenizer, shaken, llama_cpp, tmp_path):
    if name != "qwen2":
        tokenizer = cut_by(tokenizer, PRE_TOKENIZERS[name], whole_words=name == "llama-bpe")
    export_gguf(shaken(vocabulary=300), tokenizer, tmp_path / "x.gguf")
    opened = llama_cpp(tmp_path / "x.gguf")
    different = [
        text for text in texts(1000 if name == "qwen2" else 300) if opened.encode(text) != tokenizer.encode(text)
    ]
    assert different == []


def test_a_dialogue_is_the_same_text(shaken, tokenizer, llama_cpp, tmp_path):
    export_gguf(shaken(), tokenizer, tmp_path / "x.gguf")
    opened = llama_cpp(tmp_path / "x.gguf")
    assert opened.ask("/apply-template", messages=MESSAGES)["prompt"] == render(tokenizer, MESSAGES, answer=True)


def test_transformers_reads_the_same_model(any_shape, tokenizer, tmp_path):
    export_gguf(any_shape, tokenizer, tmp_path / "x.gguf", "f32")
    save_checkpoint(tmp_path / "model", any_shape, tokenizer, "")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    read = load_gguf_checkpoint(tmp_path / "x.gguf", return_tensors=True, model_to_load=theirs)["tensors"]
    state = theirs.state_dict()
    assert state.keys() - read.keys() == ({"lm_head.weight"} if any_shape.config.tied else set())
    for name, tensor in read.items():
        assert torch.equal(tensor, state[name]), name
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="x.gguf")
    assert their_tokenizer.chat_template == tokenizer.chat_template
    for text in texts(100):
        assert their_tokenizer(text, split_special_tokens=True).input_ids == tokenizer.encode(text)
