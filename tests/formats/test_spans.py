"""Models that find answers: transformers' read by us, and ours read by it, give the same scores."""

import json

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.data.question_windows import QuestionForm
from malmoi.formats.checkpoint import load_checkpoint, load_model, save_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.models.span_finder import SpanFinder, new_span_finder
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "bert": transformers.BertConfig(**SIZES, intermediate_size=48, max_position_embeddings=24),
    "roberta": transformers.RobertaConfig(
        **SIZES, intermediate_size=48, max_position_embeddings=26, pad_token_id=1, type_vocab_size=1
    ),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=97, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=24
    ),
}
OURS = {
    "bert": {"segments": 2},
    "roberta": {"segments": 1, "first_position": 2, "norm_epsilon": 1e-5, "pooler": "none"},
    "distilbert": {"segments": 0, "pooler": "none"},
}
SHAPE = {"vocabulary": 300, "context": 24, "width": 32, "layers": 2, "heads": 4}
TOKENS = torch.randint(3, 97, (3, 24), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([24, 5, 11])
REAL = torch.arange(24) < LENGTHS[:, None]
PADDED = TOKENS.masked_fill(~REAL, 1)


@pytest.fixture(scope="module")
def tokenizer():
    settings = TokenizerSettings(vocabulary=300, frame="bert")
    return train_tokenizer(["말모이는 낱말을 모은 사전이다. The fox asked the bear."] * 4, settings)


def same(ours, theirs):
    wanted = torch.stack([theirs.start_logits, theirs.end_logits], dim=-1)
    torch.testing.assert_close(ours[REAL], wanted[REAL], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_theirs_read_by_us(config, tmp_path, shake):
    theirs = shake(transformers.AutoModelForQuestionAnswering.from_config(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert isinstance(ours, SpanFinder)
    assert (ours.form.longest, ours.form.marks) == (24, False)
    same(ours(TOKENS, LENGTHS, torch.zeros_like(TOKENS)), theirs(PADDED, attention_mask=REAL.long()))


@pytest.mark.parametrize("fields", OURS.values(), ids=OURS.keys())
@torch.no_grad()
def test_ours_read_by_them(fields, tokenizer, tmp_path, shake):
    ours = shake(SpanFinder(build_model(EncoderConfig(**SHAPE | fields), seed=0)))
    save_checkpoint(tmp_path, ours, tokenizer, "")
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    same(ours(TOKENS, LENGTHS, torch.zeros_like(TOKENS)), theirs(PADDED, attention_mask=REAL.long()))


@torch.no_grad()
def test_marked_words_are_more_segments_of_theirs(tokenizer, tmp_path, shake):
    body = build_model(EncoderConfig(**SHAPE), seed=0)
    ours = shake(new_span_finder(body, QuestionForm(longest=24, marks=True, threshold=-0.5), seed=0))
    save_checkpoint(tmp_path, ours, tokenizer, "")
    segments = (TOKENS % 7).masked_fill(~REAL, 0)
    theirs = transformers.BertForQuestionAnswering.from_pretrained(tmp_path)
    same(ours(TOKENS, LENGTHS, segments), theirs(PADDED, attention_mask=REAL.long(), token_type_ids=segments))
    assert load_checkpoint(tmp_path).headed(SpanFinder).form == ours.form


def test_kinds_of_words_begin_as_the_passage():
    table = new_span_finder(build_model(EncoderConfig(**SHAPE), seed=0), QuestionForm(24, marks=True), 0).body.segments
    assert table.num_embeddings == 7
    assert (table.weight[1:] == table.weight[1]).all()
    assert not (table.weight[0] == table.weight[1]).all()


@torch.no_grad()
def test_a_shape_that_only_malmoi_has_comes_back_too(tokenizer, tmp_path, shake):
    config = EncoderConfig(**SHAPE, positions="rotary", activation="swiglu", masked_head=False)
    ours = shake(new_span_finder(build_model(config, seed=0), QuestionForm(24, marks=True), seed=0))
    save_checkpoint(tmp_path, ours, tokenizer, "")
    segments = TOKENS % 7
    again = load_checkpoint(tmp_path).headed(SpanFinder)
    torch.testing.assert_close(again(TOKENS, LENGTHS, segments), ours(TOKENS, LENGTHS, segments), rtol=0, atol=0)


def test_a_language_model_is_refused():
    with pytest.raises(UserError, match=r"looks both ways.*minilm"):
        new_span_finder(build_model(GPTConfig(**SHAPE), seed=0), QuestionForm(24), seed=0)


def test_marks_need_segments():
    body = build_model(EncoderConfig(**SHAPE | OURS["distilbert"]), seed=0)
    with pytest.raises(UserError, match="marks=false"):
        new_span_finder(body, QuestionForm(24, marks=True), seed=0)


@pytest.mark.parametrize(
    "form", ["x", {"longest": "24"}, {"longest": 0}, {"stride": 0}, {"threshold": "no"}, {"longest": 99}]
)
def test_a_damaged_form_is_refused(form, tokenizer, tmp_path):
    save_checkpoint(tmp_path, SpanFinder(build_model(EncoderConfig(**SHAPE), seed=0)), tokenizer, "")
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"question_form": form}))
    with pytest.raises(UserError, match="question_form"):
        load_model(tmp_path)


def test_what_it_is_not_good_for_is_said(tokenizer, tmp_path):
    save_checkpoint(tmp_path, SpanFinder(build_model(EncoderConfig(**SHAPE), seed=0)), tokenizer, "")
    opened = load_checkpoint(tmp_path)
    for what in ("language_model", "backbone", "translator"):
        with pytest.raises(UserError):
            getattr(opened, what)
    with pytest.raises(UserError, match=r"not a classifier.*Use malmoi answer"):
        opened.headed(Classifier)
