"""The token that ends a text can be made to open every text, here and for those who read the files."""

from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.opening import opened_with_end
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer


def test_the_end_opens_every_text_after_saving_too(tmp_path):
    plain = train_tokenizer(["말모이 abc"], TokenizerSettings(kind="character", vocabulary=0))
    opened_with_end(plain).save(tmp_path)
    opened = load_tokenizer(tmp_path)
    assert (plain.opening, opened.opening) == ([], [plain.end])
    assert opened.encode("말모이") == plain.encode("말모이")


def test_transformers_opens_a_text_in_the_same_way(tmp_path):
    from transformers import AutoTokenizer

    opened_with_end(train_tokenizer(["말모이 abc"], TokenizerSettings(kind="character", vocabulary=0))).save(tmp_path)
    opened = load_tokenizer(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("말모이").input_ids == opened.opening + opened.encode("말모이")
