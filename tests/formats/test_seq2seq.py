"""T5 and Marian: transformers' models read by us, and ours read by it, give the same states, logits and targets."""

import json

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, load_model, save_checkpoint
from malmoi.generate.translate import greedy, translate
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig

T5 = {
    "vocab_size": 97,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
MARIAN = {
    "vocab_size": 97,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 96,
    "decoder_start_token_id": 96,
}
V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
CONFIGS = {
    "t5": transformers.T5Config(**T5),
    "t5 with usual buckets": transformers.T5Config(
        **T5
        | {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-3}
    ),
    "t5 v1.1": transformers.T5Config(**T5, **V1_1),
    "t5 deeper": transformers.T5Config(**T5, num_decoder_layers=3),
    "t5 shallower, gated silu": transformers.T5Config(**T5, num_decoder_layers=1, feed_forward_proj="gated-silu"),
    "marian": transformers.MarianConfig(**MARIAN, activation_function="swish", scale_embedding=True),
    "marian relu": transformers.MarianConfig(**MARIAN | {"decoder_layers": 1}, activation_function="relu"),
}
RELATIVE = {
    "norm": "rms",
    "norm_first": True,
    "positions": "relative",
    "bias": False,
    "scaled_attention": False,
    "scaled_embedding": False,
}
OURS = {
    "transformer": {},
    "marian": {"activation": "silu", "head_bias": True, "decoder_layers": 1, "scaled_embedding": False},
    "t5": RELATIVE | {"scaled_head": True, "decoder_layers": 1},
    "t5 v1.1": RELATIVE | {"activation": "geglu_tanh", "tied": False, "head_width": 12},
    "t5 v1.1 tied": RELATIVE | {"activation": "swiglu", "relative_buckets": 8, "relative_reach": 20},
}
CARD = "# 시험"
GENERATOR = torch.Generator().manual_seed(0)
SOURCE, TARGET = (torch.randint(1, 96, (3, length), generator=GENERATOR) for length in (40, 30))
LENGTHS, TARGET_LENGTHS = torch.tensor([40, 1, 17]), torch.tensor([5, 30, 12])
REAL, WANTED = torch.arange(40) < LENGTHS[:, None], torch.arange(30) < TARGET_LENGTHS[:, None]
families = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def theirs_of(config, shake):
    """Their model; a gated T5 with a head of its own, as published."""
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    if config.model_type == "t5" and config.feed_forward_proj == "gated-gelu":
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(config.vocab_size, config.d_model))
    return shake(model)


def their_logits(model):
    masks = {"attention_mask": REAL.long(), "decoder_attention_mask": WANTED.long()}
    return model(input_ids=SOURCE, decoder_input_ids=TARGET, **masks).logits[WANTED]


def change(directory, changes, name="config.json"):
    path = directory / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@families
@torch.no_grad()
def test_their_models_read_by_us(config, tmp_path, shake):
    theirs = theirs_of(config, shake)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    wanted = theirs(input_ids=SOURCE, attention_mask=REAL.long(), decoder_input_ids=TARGET)
    close(ours.encode(SOURCE, LENGTHS)[REAL], wanted.encoder_last_hidden_state[REAL])
    close(ours.logits(SOURCE, LENGTHS, TARGET), wanted.logits)
    close(ours.logits(SOURCE, LENGTHS, TARGET)[WANTED], their_logits(theirs))


@families
@torch.no_grad()
def test_a_piece_at_a_time_with_a_cache(config, tmp_path, shake):
    theirs = theirs_of(config, shake)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    memory, cache = ours.encode(SOURCE, LENGTHS), ours.cache(rows=3, length=30)
    pieces = [ours.decode(piece, memory, LENGTHS, cache) for piece in TARGET.split([9, 1, 1, 15, 4], dim=1)]
    close(ours.head(torch.cat(pieces, 1))[WANTED], their_logits(theirs))


@families
@torch.no_grad()
def test_their_models_go_back(config, tokenizer, tmp_path, shake):
    theirs = theirs_of(config, shake)
    theirs.save_pretrained(tmp_path / "theirs")
    save_checkpoint(tmp_path / "ours", load_model(tmp_path / "theirs"), tokenizer, CARD)
    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours")
    assert type(again) is type(theirs)
    close(their_logits(again), their_logits(theirs))


@pytest.mark.parametrize("changes", OURS.values(), ids=OURS.keys())
@torch.no_grad()
def test_our_models_read_by_them(changes, tokenizer, tmp_path, shake):
    shape = {"vocabulary": tokenizer.size, "context": 48, "width": 32, "layers": 2, "heads": 4, "start": 7}
    ours = shake(build_model(EncoderDecoderConfig(**(shape | changes), never=(7, 9)), seed=0))
    save_checkpoint(tmp_path, ours, tokenizer, CARD)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    close(their_logits(theirs), ours.logits(SOURCE, LENGTHS, TARGET)[WANTED])
    again = load_checkpoint(tmp_path)
    assert again.translator.config == ours.config
    assert again.card == CARD
    assert all(torch.equal(again.model.state_dict()[name], value) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("shape", ["marian", "t5", "t5 v1.1"])
def test_both_write_the_same_targets(shape, learned_translator, tokenizer, translations, tmp_path):
    save_checkpoint(tmp_path, learned_translator(**OURS[shape]), tokenizer, CARD)
    ours, theirs = load_checkpoint(tmp_path), transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    batch = their_tokenizer([text + tokenizer.special_text(tokenizer.end) for text in translations], padding=True)
    ids, real = torch.tensor(batch.input_ids), torch.tensor(batch.attention_mask)
    targets = theirs.generate(input_ids=ids, attention_mask=real, max_new_tokens=40, do_sample=False, num_beams=1)
    assert their_tokenizer.batch_decode(targets, skip_special_tokens=True) == list(translations.values())
    assert translate(ours.translator, ours.tokenizer, list(translations), 40) == list(translations.values())
    for wanted, row in zip(targets, greedy(ours.translator, ids, real.sum(1), tokenizer.stops, 40), strict=True):
        assert wanted[1 : 1 + len(row)].tolist() == row


@pytest.mark.parametrize("shape", ["marian", "t5"])
def test_both_forbid_the_same_tokens(shape, learned_translator, tokenizer, translations, tmp_path):
    forbidden = tuple(tokenizer.encode("he"))
    ours = learned_translator(**OURS[shape])
    ours.config = ours.config.model_copy(update={"never": forbidden})
    save_checkpoint(tmp_path, ours, tokenizer, CARD)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    source = torch.tensor([tokenizer.encode("숲")])
    wanted = theirs.generate(input_ids=source, max_new_tokens=12, do_sample=False)[0, 1:].tolist()
    assert greedy(load_checkpoint(tmp_path).translator, source, None, tokenizer.stops, 12)[0] == wanted
    assert not set(wanted) & set(forbidden)


@pytest.mark.parametrize("config", [CONFIGS["t5"], CONFIGS["marian"]], ids=["t5", "marian"])
@torch.no_grad()
def test_their_bare_models_read_by_us(config, tmp_path, shake):
    theirs = shake(transformers.AutoModel.from_config(config))
    theirs.save_pretrained(tmp_path)
    wanted = theirs(input_ids=SOURCE, attention_mask=REAL.long(), decoder_input_ids=TARGET)[0]
    close(load_model(tmp_path)(SOURCE, LENGTHS, TARGET), wanted)


@pytest.mark.parametrize("name", ["t5", "t5 v1.1", "marian"])
@torch.no_grad()
def test_files_of_older_versions_repeat_the_embedding_and_keep_what_is_computed(name, tmp_path, shake):
    theirs = theirs_of(CONFIGS[name], shake)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    unused = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.zeros(8, 4)}
    state = theirs.state_dict() | ({} if name == "marian" else unused)
    assert {"lm_head.weight", f"{'model.' * (name == 'marian')}encoder.embed_tokens.weight"} <= set(state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    fields = json.loads((tmp_path / "config.json").read_text()) | {"tie_word_embeddings": name != "t5 v1.1"}
    fields.pop("scale_decoder_outputs", None)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    ours = load_model(tmp_path)
    assert ours.config.tied == (name != "t5 v1.1")
    close(ours.logits(SOURCE, LENGTHS, TARGET)[WANTED], their_logits(theirs))


def test_what_may_not_be_written_stands_in_either_file(tmp_path):
    transformers.MarianMTModel(CONFIGS["marian"]).save_pretrained(tmp_path)
    assert load_model(tmp_path).config.never == ()
    change(tmp_path, {"bad_words_ids": [[96], [3]]}, "generation_config.json")
    assert load_model(tmp_path).config.never == (96, 3)
    change(tmp_path, {"bad_words_ids": [[5]], "decoder_start_token_id": None})
    assert load_model(tmp_path).config.never == (5,)
    assert load_model(tmp_path).config.start == 96


@torch.no_grad()
def test_a_shape_that_nobody_else_has_stays_ours(tokenizer, tmp_path, shake):
    shape = {"vocabulary": tokenizer.size, "context": 48, "width": 32, "layers": 1, "heads": 4, "start": 7}
    ours = shake(build_model(EncoderDecoderConfig(**shape, norm_first=True), seed=0))
    save_checkpoint(tmp_path, ours, tokenizer, CARD)
    again = load_checkpoint(tmp_path)
    assert "only malmoi opens it" in again.card
    close(again.translator.logits(SOURCE, LENGTHS, TARGET), ours.logits(SOURCE, LENGTHS, TARGET))


def test_a_classifier_on_an_encoder_decoder_is_refused(tokenizer, tmp_path):
    shape = {"vocabulary": tokenizer.size, "context": 48, "width": 32, "layers": 1, "heads": 4, "start": 0}
    nobody_else_has = EncoderDecoderConfig(**shape, norm_first=True)
    save_checkpoint(tmp_path, build_model(nobody_else_has, seed=0), tokenizer, CARD)
    change(tmp_path, {"architectures": ["MalmoiForSequenceClassification"]})
    with pytest.raises(UserError, match="a classifier on an encoder-decoder"):
        load_model(tmp_path)


def test_a_translator_and_a_language_model_are_told_apart(tokenizer, make_model, tmp_path):
    shape = {"vocabulary": tokenizer.size, "context": 48, "width": 32, "layers": 1, "heads": 4, "start": 7}
    save_checkpoint(tmp_path / "translator", build_model(EncoderDecoderConfig(**shape), seed=0), tokenizer, CARD)
    save_checkpoint(tmp_path / "gpt", make_model(), tokenizer, CARD)
    with pytest.raises(UserError, match="is a translator"):
        _ = load_checkpoint(tmp_path / "translator").language_model
    with pytest.raises(UserError, match="no encoder-decoder"):
        _ = load_checkpoint(tmp_path / "gpt").translator


@pytest.mark.parametrize(
    ("config", "changes", "sentence"),
    [
        ("t5", {"feed_forward_proj": "gated-tanh"}, "activation"),
        ("t5", {"feed_forward_proj": 3}, "activation"),
        ("t5", {"d_kv": None}, "of another shape"),
        ("t5", {"d_model": 2**62}, "sizes that no model has"),
        ("t5", {"num_decoder_layers": 10**9}, "1,000,000,000 layers but has only"),
        ("t5", {"num_heads": 0}, "heads"),
        ("t5", {"d_model": 10**30}, "sizes that no model has"),
        ("t5", {"relative_attention_num_buckets": 16}, "of another shape"),
        ("t5", {"relative_attention_num_buckets": 10**12}, "relative_reach"),
        ("t5", {"relative_attention_max_distance": 2}, "relative_reach"),
        ("t5", {"is_encoder_decoder": False}, "an encoder or a decoder alone"),
        ("t5", {"architectures": ["T5ForSequenceClassification"], "id2label": {"0": "긍정"}}, "a head of classes"),
        ("t5", {"decoder_start_token_id": 97}, "not in a vocabulary of 97"),
        ("marian", {"activation_function": "tanh"}, "activation"),
        ("marian", {"encoder_layers": "two"}, "layers"),
        ("marian", {"decoder_ffn_dim": 64}, "different widths"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "a second vocabulary"),
        ("marian", {"decoder_vocab_size": 50}, "a second vocabulary"),
        ("marian", {"tie_word_embeddings": False}, "does not share the embedding"),
        ("marian", {"bad_words_ids": [[3, 4]]}, "forbidden sequences"),
        ("marian", {"bad_words_ids": [3]}, "a field of a wrong type"),
        ("marian", {"vocab_size": 98, "decoder_vocab_size": 98}, "config.json says 98"),
    ],
    ids=str,
)
def test_what_we_do_not_have_is_refused(config, changes, sentence, tmp_path):
    transformers.AutoModelForSeq2SeqLM.from_config(CONFIGS[config]).save_pretrained(tmp_path)
    change(tmp_path, changes)
    with pytest.raises(UserError, match=sentence):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "field"), [("t5", "d_model"), ("t5", "num_layers"), ("marian", "pad_token_id"), ("marian", "d_model")]
)
def test_a_missing_field_is_named(config, field, tmp_path):
    transformers.AutoModelForSeq2SeqLM.from_config(CONFIGS[config]).save_pretrained(tmp_path)
    for name in ("config.json", "generation_config.json"):
        fields = json.loads((tmp_path / name).read_text())
        fields = {key: value for key, value in fields.items() if key not in (field, "decoder_start_token_id")}
        (tmp_path / name).write_text(json.dumps(fields))
    with pytest.raises(UserError, match=f"has no field '{field}'"):
        load_model(tmp_path)


def test_a_target_longer_than_the_positions_is_refused(tmp_path):
    transformers.MarianMTModel(CONFIGS["marian"]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="41 tokens do not fit into the context of 40"):
        load_model(tmp_path)(SOURCE, LENGTHS, torch.ones(3, 41, dtype=torch.int64))


@pytest.mark.parametrize("shape", ["transformer", "t5"])
def test_how_widely_to_search_is_kept_on_both_sides(shape, tokenizer, tmp_path):
    sizes = {"vocabulary": tokenizer.size, "context": 40, "width": 32, "layers": 1, "heads": 4, "start": tokenizer.end}
    model = build_model(EncoderDecoderConfig(**sizes, **OURS[shape], beams=3), seed=0)
    save_checkpoint(tmp_path, model, tokenizer, CARD)
    assert load_model(tmp_path).config.beams == 3
    assert transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).generation_config.num_beams == 3
