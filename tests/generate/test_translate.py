"""Translation: what the cache saves changes no token; targets end where they should."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.generate.translate import greedy, read_lines, translate
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig

SHAPES = {
    "marian": {"activation": "silu", "head_bias": True, "decoder_layers": 1, "scaled_embedding": False},
    "t5": {
        "norm": "rms",
        "norm_first": True,
        "positions": "relative",
        "bias": False,
        "scaled_attention": False,
        "scaled_embedding": False,
        "scaled_head": True,
        "decoder_layers": 1,
    },
}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def model(request, learned_translator):
    return learned_translator(**request.param)


@pytest.fixture
def random_translator(tokenizer):
    shape = {"context": 48, "width": 32, "layers": 1, "heads": 4, "start": tokenizer.end, "dropout": 0.5}
    return build_model(EncoderDecoderConfig(vocabulary=tokenizer.size, **shape), seed=0)


@pytest.fixture
def source(tokenizer, translations):
    ids = [torch.tensor([*tokenizer.encode(text), tokenizer.end]) for text in translations]
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), torch.tensor([len(row) for row in ids])


@torch.no_grad()
def without_cache(model, source, lengths, steps):
    """Every step reads everything again."""
    target = torch.full((len(source), 1), model.config.start)
    for _ in range(steps):
        target = torch.cat([target, model.logits(source, lengths, target)[:, -1:].argmax(-1)], dim=1)
    return target[:, 1:].tolist()


def test_texts_become_the_texts_it_has_learned(model, tokenizer, translations):
    assert translate(model, tokenizer, list(translations)) == list(translations.values())
    assert translate(model, tokenizer, ["숲"]) == [translations["숲"]]
    assert translate(model, tokenizer, []) == []


def test_with_the_cache_as_without(model, source):
    assert greedy(model, *source, stops=(), maximum_tokens=30) == without_cache(model, *source, 30)


def test_a_target_ends_with_its_first_stop_and_the_others_go_on(model, tokenizer, source, translations):
    targets = greedy(model, *source, stops=tokenizer.stops)
    assert targets == [[*tokenizer.encode(text), tokenizer.end] for text in translations.values()]
    assert len({len(target) for target in targets}) == 3


def test_what_is_forbidden_is_never_written(model, source):
    forbidden = [row[0] for row in greedy(model, *source, stops=(), maximum_tokens=1)]
    usual, model.config = model.config, model.config.model_copy(update={"never": tuple(forbidden)})
    targets = greedy(model, *source, stops=(), maximum_tokens=20)
    model.config = usual
    assert not {token for row in targets for token in row} & set(forbidden)


def test_a_target_is_no_longer_than_asked_and_than_the_context(model, source):
    assert {len(row) for row in greedy(model, *source, stops=(), maximum_tokens=3)} == {3}
    assert {len(row) for row in greedy(model, *source, stops=())} == {64}


def test_dropout_is_off_while_translating_and_on_again_after(random_translator, tokenizer, translations):
    first, second = (translate(random_translator.train(), tokenizer, list(translations), 12) for _ in range(2))
    assert first == second
    assert random_translator.training


def test_a_text_too_long_is_refused(model, tokenizer):
    with pytest.raises(UserError, match="do not fit into the context of 64"):
        translate(model, tokenizer, ["말모이 " * 50])


def test_damaged_weights_are_told(random_translator, tokenizer):
    with torch.no_grad():
        random_translator.embedding.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="not a number"):
        translate(random_translator, tokenizer, ["숲"])


def test_lines_of_a_file_end_where_lines_end_and_nowhere_else(tmp_path):
    (tmp_path / "글.txt").write_bytes("여우\u2028곰\r\na\x0cb\x85c\n\nd".encode())
    assert read_lines(tmp_path / "글.txt") == ["여우\u2028곰", "a\x0cb\x85c", "", "d"]
