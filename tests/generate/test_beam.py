"""Beam search: as exhaustive search where everything is kept, as transformers' where little is."""

import itertools

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_model
from malmoi.generate.beam import beam_search
from malmoi.generate.translate import greedy, translate
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig

STOP, LONGEST = 4, 4


@pytest.fixture
def toy(shake):
    """Five tokens, one of which ends a target, and a sixth that is never written."""
    shape = {"vocabulary": 6, "context": 8, "width": 16, "layers": 1, "heads": 2, "start": 5, "never": (5,)}
    return shake(build_model(EncoderDecoderConfig(**shape), seed=3), deviation=0.3)


@torch.no_grad()
def best_of_all(model, source):
    """The target with the highest mean log-probability among all there are."""
    scored = []
    for length in range(1, LONGEST + 1):
        targets = [
            target
            for target in itertools.product(range(5), repeat=length)
            if STOP not in target[:-1] and (length == LONGEST or target[-1] == STOP)
        ]
        written = torch.tensor(targets)
        inputs = torch.nn.functional.pad(written[:, :-1], (1, 0), value=model.config.start)
        likelihoods = model.logits(source.expand(len(targets), -1), None, inputs).log_softmax(-1)
        means = likelihoods.gather(2, written[..., None]).mean((1, 2)).tolist()
        scored += zip(means, targets, strict=True)
    return list(max(scored)[1])


def test_with_room_for_all_it_is_exhaustive_search(toy):
    sources = torch.randint(0, 5, (8, 3), generator=torch.Generator().manual_seed(0))
    found = beam_search(toy, sources, None, {STOP}, beams=400, maximum_tokens=LONGEST)
    assert found == [best_of_all(toy, source) for source in sources]
    assert len({len(target) for target in found}) == 3


@pytest.mark.parametrize("beams", [2, 4, 7])
@pytest.mark.parametrize("seed", range(6))
def test_it_finds_what_transformers_finds(shake, tmp_path, beams, seed):
    sizes = {
        f"{side}_{name}": size
        for side in ("encoder", "decoder")
        for name, size in {"layers": 1, "attention_heads": 2, "ffn_dim": 24}.items()
    }
    special = {"pad_token_id": 12, "decoder_start_token_id": 12, "eos_token_id": 0, "forced_eos_token_id": None}
    config = transformers.MarianConfig(vocab_size=13, d_model=16, max_position_embeddings=32, **sizes, **special)
    torch.manual_seed(seed)
    theirs = shake(transformers.MarianMTModel(config), deviation=0.5)
    theirs.generation_config.bad_words_ids = [[12]]
    theirs.save_pretrained(tmp_path)
    lengths = torch.tensor([9, 1, 5])
    real = torch.arange(9) < lengths[:, None]
    source = torch.randint(1, 12, (3, 9)).masked_fill(~real, 12)
    wanted = theirs.generate(
        input_ids=source, attention_mask=real, num_beams=beams, max_new_tokens=14, do_sample=False, early_stopping=False
    )[:, 1:]
    found = beam_search(load_model(tmp_path), source, lengths, {0}, beams, maximum_tokens=14)
    assert [row[: len(target)] for row, target in zip(wanted.tolist(), found, strict=True)] == found
    assert all(token == 12 for row, target in zip(wanted.tolist(), found, strict=True) for token in row[len(target) :])


def test_one_beam_is_greedy(learned_translator, tokenizer, translations):
    model = learned_translator()
    texts = [*translations, "여우가 누구", "a bear"]
    rows = [torch.tensor([*ids, tokenizer.end]) for ids in tokenizer.encode_batch(texts)]
    source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    taken = greedy(model, source, torch.tensor([len(row) for row in rows]), tokenizer.stops, 30)
    assert translate(model, tokenizer, texts, 30, beams=1) == [tokenizer.decode(row) for row in taken]


def test_texts_become_the_texts_it_has_learned(learned_translator, tokenizer, translations):
    assert translate(learned_translator(), tokenizer, list(translations), beams=4) == list(translations.values())


def test_the_models_settings_say_how_widely_to_search(learned_translator, tokenizer, translations, monkeypatch):
    model, asked = learned_translator(), []
    model.config = model.config.model_copy(update={"beams": 3})
    monkeypatch.setattr("malmoi.generate.translate.beam_search", lambda *values: asked.append(values[4]) or [[]])
    translate(model, tokenizer, ["숲"])
    translate(model, tokenizer, ["숲"], beams=2)
    assert asked == [3, 2]


def test_damaged_weights_are_told(toy):
    with torch.no_grad():
        toy.embedding.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="not a number"):
        beam_search(toy, torch.zeros((1, 2), dtype=torch.int64), None, {STOP}, 2)
