"""Scores are those of sacrebleu; the dictionary finds what belongs together; attention is what the model mixes by."""

import numpy as np
import pytest
import torch

from malmoi.evaluate.alignment import END, attention_to_source, word_attention
from malmoi.evaluate.character_overlap import chrf, score_answers
from malmoi.evaluate.translation import each_chrf, score_translations, signatures
from malmoi.evaluate.word_translation import WordTranslation
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.seq2seq_shapes import SHAPES

OURS = ["Ein Hund läuft über die grüne Wiese.", "여우가 숲에 삽니다."]
WANTED = ["Ein Hund läuft über die Wiese.", "여우는 숲에서 살았습니다."]


def test_scores_are_between_nothing_and_all():
    assert score_translations(WANTED, WANTED).as_json() == {"bleu": 100.0, "chrf": 100.0}
    assert score_translations(["", ""], WANTED).as_json() == {"bleu": 0.0, "chrf": 0.0}
    assert 20 < score_translations(OURS, WANTED).bleu < 80
    assert "tok:13a" in signatures()["bleu"]


def test_chrf_is_the_one_of_few_shot_tasks():
    ours = chrf(score_answers(OURS, WANTED))
    np.testing.assert_allclose(100 * ours, each_chrf(OURS, WANTED), rtol=1e-6)
    assert score_translations(OURS, WANTED).chrf == pytest.approx(
        100 * float(chrf(score_answers(OURS, WANTED).sum(0)[None])[0]), abs=0.01
    )


def test_the_dictionary_finds_what_belongs_together():
    pairs = {
        "the fox": "여우가 그",
        "the bear": "그 곰이",
        "a fox sleeps": "잔다 여우가",
        "a bear eats": "곰이 먹는다",
        "the wood": "숲이 그",
        "a wood": "숲이",
    }
    dictionary = WordTranslation(list(pairs), list(pairs.values()))
    assert dictionary.translate("the bear sleeps, Fox") == "그 곰이 잔다 , Fox"


def slow_model_1(pairs, rounds):
    """IBM's first model by its definition."""
    pairs = [(["", *source.split()], target.split()) for source, target in pairs]
    likelihood = {(one, other): 1.0 for source, target in pairs for one in source for other in target}
    for _ in range(rounds):
        counts = dict.fromkeys(likelihood, 0.0)
        for source, target in pairs:
            for other in target:
                total = sum(likelihood[one, other] for one in source)
                for one in source:
                    counts[one, other] += likelihood[one, other] / total
        sums = {}
        for (one, _), count in counts.items():
            sums[one] = sums.get(one, 0.0) + count
        likelihood = {kind: count / sums[kind[0]] for kind, count in counts.items()}
    return likelihood


def test_it_is_the_model_of_the_paper():
    chance = np.random.default_rng(0)
    pairs = [
        (" ".join(chance.choice(list("abcdef"), 4)), " ".join(chance.choice(list("가나다라마"), 3))) for _ in range(60)
    ]
    wanted = slow_model_1(pairs, rounds=5)
    found = WordTranslation(*zip(*pairs, strict=True)).dictionary
    for word in "abcdef":
        best = max("가나다라마", key=lambda other: wanted.get((word, other), 0))
        assert found[word] == best


@pytest.fixture
def looking(tokenizer, shake):
    shape = {"context": 64, "width": 32, "layers": 1, "decoder_layers": 2, "heads": 4, "dropout": 0.5}
    config = EncoderDecoderConfig(vocabulary=tokenizer.size, start=tokenizer.end, **shape, **SHAPES["modern"])
    return shake(build_model(config, seed=0), deviation=0.3)


@torch.no_grad()
def test_attention_is_that_by_which_the_layers_mix(looking):
    source, target = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 10, 11]])
    outputs = []
    for block in looking.decoder.blocks:
        block.cross_attention.register_forward_hook(lambda layer, given, output: outputs.append(output))
    weights = attention_to_source(looking, source, target)
    assert weights.shape == (2, 1, 4, 3, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 4, 3))
    sources = looking.decoder.sources(looking.encode(source))
    for block, output, own, (_, value) in zip(looking.decoder.blocks, outputs, weights, sources, strict=True):
        mixed = block.cross_attention.output((own @ value).transpose(1, 2).reshape(1, 3, -1))
        torch.testing.assert_close(mixed, output, rtol=1e-4, atol=1e-5)


def test_words_stand_on_both_axes_and_shares_add_up(looking, tokenizer):
    seen = word_attention(looking, tokenizer, "여우가 곰에게 물었습니다.", "who are you, 말모이?")
    assert seen.source == ["여우가", "곰에게", "물었습니다", ".", END]
    assert seen.target == ["who", "are", "you", ",", "말모이", "?", END]
    assert np.sum(seen.weights, axis=1) == pytest.approx(np.ones(7), abs=1e-3)


def test_attention_leaves_the_model_as_it_was(looking, tokenizer):
    looking.train()
    word_attention(looking, tokenizer, "숲", "wood")
    assert looking.training
    assert not any(block.cross_attention._forward_pre_hooks for block in looking.decoder.blocks)
