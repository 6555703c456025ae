"""transformers is the referee: its models read by us, and ours read by it, give the same logits."""

import json

import pytest
import tokenizers
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, load_model, save_checkpoint
from malmoi.generate.generator import generate
from malmoi.generate.sampling import SamplingSettings
from malmoi.layers.cache import KeyValueCache
from malmoi.models.classifier import Classifier
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.roles import Roles
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXTS = ["말모이는 낱말을 모은 사전이다.", "A model reads one token at a time.", "봄", "The end 끝!"]
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 40,
}
THEIRS = {
    "qwen3": transformers.Qwen3Config(**TINY, head_dim=16, rope_theta=5e5, tie_word_embeddings=False),
    "qwen3 tied": transformers.Qwen3Config(**TINY, head_dim=8, tie_word_embeddings=True),
    "qwen2": transformers.Qwen2Config(**TINY),
    "llama": transformers.LlamaConfig(**TINY, rms_norm_eps=1e-3),
    "llama biased": transformers.LlamaConfig(**TINY, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama 3": transformers.LlamaConfig(
        **TINY,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 5e3,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "llama stretched": transformers.LlamaConfig(
        **TINY, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    ),
    "mistral": transformers.MistralConfig(**TINY, sliding_window=7),
    "mistral without a window": transformers.MistralConfig(**TINY, sliding_window=None),
    "qwen3 with a window": transformers.Qwen3Config(
        **TINY, head_dim=8, use_sliding_window=True, sliding_window=5, max_window_layers=0
    ),
    "gpt2": transformers.GPT2Config(vocab_size=97, n_positions=40, n_embd=32, n_layer=2, n_head=4),
    "gpt2 untied": transformers.GPT2Config(
        vocab_size=97, n_positions=40, n_embd=32, n_layer=2, n_head=4, n_inner=56, tie_word_embeddings=False
    ),
}
OURS = {
    "qwen3": {"key_value_heads": 2, "rotary_base": 5e5},
    "qwen3 wide heads": {"key_value_heads": 1, "head_width": 24, "tied": False},
    "qwen2": {"query_key_norm": False, "attention_bias": True},
    "llama": {"query_key_norm": False, "tied": False, "norm_epsilon": 1e-3},
    "llama biased": {"query_key_norm": False, "bias": True},
    "llama 3": {
        "query_key_norm": False,
        "rotary_scaling": {
            "kind": "llama3", "factor": 8.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 16
        },
    },
    "mistral": {"query_key_norm": False, "attention": ["window(6)"]},
    "qwen2 with a window": {"query_key_norm": False, "attention_bias": True, "attention": ["window(6)"]},
    "gpt2": {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "query_key_norm": False},
    "gpt2 relu2": {
        "norm": "layer", "positions": "learned", "activation": "relu2", "bias": True, "query_key_norm": False, "tied": False
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 2, TokenizerSettings(kind="byte", vocabulary=270))


def ours(shake, tokenizer, **changes):
    shape = {"vocabulary": tokenizer.size, "context": 48, "width": 32, "layers": 2, "heads": 4} | changes
    return shake(build_model(GPTConfig(**shape), seed=0))


@pytest.mark.parametrize("config", THEIRS.values(), ids=THEIRS.keys())
def test_their_models_read_by_us(config, tmp_path, shake):
    theirs = shake(transformers.AutoModelForCausalLM.from_config(config))
    theirs.save_pretrained(tmp_path)
    tokens = torch.randint(97, (2, 40))
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path).logits(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", THEIRS.values(), ids=THEIRS.keys())
def test_one_token_at_a_time_with_a_cache(config, tmp_path, shake):
    theirs = shake(transformers.AutoModelForCausalLM.from_config(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    tokens = torch.randint(97, (2, 20))
    cache, past = KeyValueCache(ours.config, rows=2, length=20), None
    with torch.no_grad():
        for piece in torch.split(tokens, [9, 1, 1, 5, 4], dim=1):
            answer = theirs(piece, past_key_values=past, use_cache=True)
            past = answer.past_key_values
            torch.testing.assert_close(ours.logits(piece, cache), answer.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", THEIRS.values(), ids=THEIRS.keys())
def test_padding_on_the_right_changes_nothing(config, tmp_path, shake):
    theirs = shake(transformers.AutoModelForCausalLM.from_config(config))
    theirs.save_pretrained(tmp_path)
    tokens, lengths = torch.randint(97, (3, 12)), torch.tensor([12, 1, 7])
    real = torch.arange(12) < lengths[:, None]
    with torch.no_grad():
        wanted = theirs(tokens, attention_mask=real.long()).logits
        torch.testing.assert_close(load_model(tmp_path).logits(tokens)[real], wanted[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", OURS.values(), ids=OURS.keys())
def test_our_checkpoints_read_by_them(changes, tokenizer, tmp_path, shake):
    model = ours(shake, tokenizer, **changes)
    save_checkpoint(tmp_path / "model", model, tokenizer, "# 시험")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    for text in TEXTS:
        tokens = torch.tensor([tokenizer.encode(text)])
        assert their_tokenizer(text).input_ids == tokens[0].tolist()
        with torch.no_grad():
            torch.testing.assert_close(model.logits(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)
    assert theirs.generation_config.eos_token_id == sorted(tokenizer.stops)
    again = load_checkpoint(tmp_path / "model")
    assert again.model.config.model_copy(update={"attention_bias": None}) == model.config.model_copy(
        update={"attention_bias": None}
    )
    for name, value in model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


@pytest.mark.parametrize("begin", ["<|im_start|>", ""])
def test_both_write_the_same_behind_the_token_that_begins_a_text(begin, tokenizer, shake, tmp_path):
    tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(tokenizer.backend.to_str()), Roles(begin=begin))
    model = ours(shake, tokenizer)
    save_checkpoint(tmp_path, model, tokenizer, "")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    wanted = tokenizer.special[begin] if begin else None
    assert (theirs.config.bos_token_id, theirs.generation_config.bos_token_id) == (wanted, wanted)
    ids = tokenizer.encode_template(f"{begin}{TEXTS[0]}")
    pieces = generate(model, tokenizer, ids, SamplingSettings(temperature=0, maximum_tokens=20))
    written = theirs.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)
    assert written[0, len(ids) :].tolist() == [piece.token for piece in pieces]


@pytest.mark.parametrize("changes", [OURS["qwen3 wide heads"], OURS["qwen2"], OURS["llama"], OURS["gpt2"]], ids=str)
def test_our_classifiers_read_by_them(changes, tokenizer, tmp_path, shake):
    model = Classifier(ours(shake, tokenizer, **changes), ["부정", "긍정", "neutral"]).eval()
    save_checkpoint(tmp_path, model, tokenizer, "")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.config.id2label == {0: "부정", 1: "긍정", 2: "neutral"}
    rows = [torch.tensor(ids) for ids in tokenizer.encode_batch(TEXTS)]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.end)
    with torch.no_grad():
        scores = model(padded, lengths)
        batch = their_tokenizer(TEXTS, padding=True, return_tensors="pt")
        torch.testing.assert_close(theirs(**batch).logits, scores, rtol=1e-5, atol=1e-5)
        again = load_checkpoint(tmp_path).model
        assert again.classes == model.classes
        torch.testing.assert_close(again(padded, lengths), scores)


def test_their_bare_gpt2_has_names_without_a_prefix(tmp_path, shake):
    theirs = shake(transformers.GPT2Model(THEIRS["gpt2"]))
    theirs.save_pretrained(tmp_path)
    tokens = torch.randint(97, (1, 9))
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path)(tokens), theirs(tokens)[0], rtol=1e-5, atol=1e-5)


def test_their_checkpoint_in_several_files(tmp_path, shake):
    theirs = shake(transformers.AutoModelForCausalLM.from_config(THEIRS["llama"]))
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert not (tmp_path / "model.safetensors").exists()
    tokens = torch.randint(97, (1, 9))
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path).logits(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}},
            "llama3 needs original_context",
        ),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_parameters": None}, "positions scaled by 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": "much"}, "rope_parameters": None}, "rotary_scaling"),
        ({"rope_scaling": "linear", "rope_parameters": None}, "a field of a wrong type"),
        ({"hidden_act": "gelu"}, "activation"),
        ({"attention_bias": True}, "biases"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({"num_hidden_layers": 10**9}, "1,000,000,000 layers but has only"),
        ({"hidden_size": 2**62}, "sizes that no model has"),
        ({"num_attention_heads": 0}, "heads"),
        ({"num_hidden_layers": "two"}, "layers"),
        ({"vocab_size": None}, "vocabulary"),
    ],
    ids=str,
)
def test_what_we_do_not_have_is_refused(change, feature, tmp_path):
    transformers.AutoModelForCausalLM.from_config(THEIRS["llama"]).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=feature):
        load_model(tmp_path)


def test_a_mistral_that_names_no_window_has_the_usual_one(tmp_path):
    theirs = transformers.MistralConfig(**(THEIRS["mistral"].to_dict() | {"max_position_embeddings": 8192}))
    transformers.AutoModelForCausalLM.from_config(theirs).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    del fields["sliding_window"]
    path.write_text(json.dumps(fields))
    window = transformers.AutoConfig.from_pretrained(tmp_path).sliding_window
    assert load_model(tmp_path).config.mixing == [f"window({window})"]
