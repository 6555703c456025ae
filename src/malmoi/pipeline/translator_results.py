"""What a translator has learned: figures beside its controls, translations to read, attention to look at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from malmoi.core.console import progress
from malmoi.core.files import write_json
from malmoi.data.pairs import Pair
from malmoi.evaluate.alignment import word_attention
from malmoi.evaluate.translation import each_chrf, score_translations, signatures
from malmoi.evaluate.word_translation import WordTranslation
from malmoi.generate.translate import translate
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.tokenizers.tokenizer import Tokenizer

TRANSLATIONS, ATTENTION = "translations.json", "attention.json"

ROWS = 32
"""Texts that are translated together, of about one length."""

LOOKED_AT, WORDS = 2, range(6, 13)
"""Texts whose attention is drawn, and how many words they have."""

SHOWN = 3
"""Best, worst and random translations that are shown."""


def translate_all(
    model: EncoderDecoder, tokenizer: Tokenizer, texts: Sequence[str], beams: int, title: str
) -> list[str]:
    """The translation of every text; texts of about one length go in together."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found: dict[int, str] = {}
    with progress(title, len(texts)) as advance:
        for start in range(0, len(order), ROWS):
            chosen = order[start : start + ROWS]
            found |= zip(
                chosen, translate(model, tokenizer, [texts[index] for index in chosen], None, beams), strict=True
            )
            advance(len(chosen))
    return [found[index] for index in range(len(texts))]


def measure(
    model: EncoderDecoder,
    tokenizer: Tokenizer,
    train: Sequence[Pair],
    test: Sequence[Pair],
    beams: int,
    directory: Path,
) -> dict[str, Any]:
    """Translate the held-out sources, write `translations.json`, and give the figures beside those of the controls."""
    sources, wanted = [pair.source for pair in test], [pair.target for pair in test]
    dictionary = WordTranslation([pair.source for pair in train], [pair.target for pair in train])
    ours = translate_all(model, tokenizer, sources, beams, "translating")
    one_beam = translate_all(model, tokenizer, sources, 1, "translating with one beam") if beams > 1 else ours
    controls = {"dictionary": [dictionary.translate(text) for text in sources], "copy": sources}
    names = sorted({pair.file for pair in test})
    chosen = {name: [index for index, pair in enumerate(test) if pair.file == name] for name in names}
    rows = zip(sources, ours, wanted, controls["dictionary"], each_chrf(ours, wanted), strict=True)
    keys = ("source", "translation", "wanted", "dictionary", "chrf")
    write_json(directory / TRANSLATIONS, {"pairs": [dict(zip(keys, row, strict=True)) for row in rows]})
    return {
        **score_translations(ours, wanted).as_json(),
        "beams": beams,
        "one_beam": score_translations(one_beam, wanted).as_json(),
        "controls": {name: score_translations(texts, wanted).as_json() for name, texts in controls.items()},
        "files": {
            name: _scores_of(places, {"translator": ours, **controls}, wanted) for name, places in chosen.items()
        },
        "signatures": signatures(),
    }


def _scores_of(places: list[int], ways: dict[str, list[str]], wanted: list[str]) -> dict[str, Any]:
    """The figures of some of the texts."""
    picked = [wanted[place] for place in places]
    scores = {name: score_translations([texts[place] for place in places], picked) for name, texts in ways.items()}
    return {"pairs": len(places), **{name: score.as_json() for name, score in scores.items()}}


def translations_to_read(records: Sequence[dict[str, Any]], seed: int) -> dict[str, list[dict[str, Any]]]:
    """The best, some random and the worst of the held-out translations, by chrF; only of texts of a few words.

    Args:
        records: the pairs of `translations.json`.
    """
    several = [record for record in records if len(record["source"].split()) >= WORDS.start] or list(records)
    ranked = sorted(several, key=lambda record: -float(record["chrf"]))
    drawn = random.Random(seed).sample(several, min(SHOWN, len(several)))
    return {"best": ranked[:SHOWN], "random": drawn, "worst": ranked[SHOWN:][-SHOWN:]}


def write_attention(
    model: EncoderDecoder, tokenizer: Tokenizer, records: Sequence[dict[str, Any]], directory: Path
) -> None:
    """Write `attention.json` about the first held-out texts that fit on a page."""
    chosen = [record for record in records if len(record["source"].split()) in WORDS and record["translation"]]
    looks = [
        word_attention(model, tokenizer, record["source"], record["translation"]).as_json()
        for record in (chosen or list(records))[:LOOKED_AT]
    ]
    write_json(directory / ATTENTION, {"texts": looks})
