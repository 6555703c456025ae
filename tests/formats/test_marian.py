"""A published translator, model and tokenizer: what it writes here, and after it was saved, is what it writes there."""

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.generate.translate import translate


def their_targets(directory, texts):
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        targets = model.generate(**batch, max_new_tokens=24, do_sample=False, num_beams=1)
    return tokenizer.batch_decode(targets, skip_special_tokens=True)


def test_a_published_translator_writes_the_same_here_and_when_it_goes_back(published_translator, translated, tmp_path):
    texts = [*translated, ">>deu<< 값 \u1112\u1161\u11ab"]
    wanted = their_targets(published_translator, texts)
    assert wanted[:-1] == list(translated.values())
    opened = load_checkpoint(published_translator)
    assert translate(opened.translator, opened.tokenizer, texts, maximum_tokens=24) == wanted
    save_checkpoint(tmp_path, opened.model, opened.tokenizer, "")
    again = load_checkpoint(tmp_path)
    assert translate(again.translator, again.tokenizer, texts, maximum_tokens=24) == wanted
    assert their_targets(tmp_path, texts) == wanted
