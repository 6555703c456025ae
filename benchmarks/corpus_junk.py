"""Junk in Korean and English, made from seeds: keywords, menus, random syllables, filler, codes, tables, echoes.

The words of the tuning part and of the held-out part differ, and so do the sentences they borrow.
"""

from __future__ import annotations

import base64
import random
import re
from pathlib import Path

import yaml
from corpus_texts import Language, Part, one_part, read_rows


def junk_texts(data: Path, language: Language, part: Part, each: int) -> dict[str, list[str]]:
    """`each` texts of every kind of junk; `data` lends sentences and interface strings."""
    kinds = {
        "keyword_spam": _keyword_spam,
        "menus": _menus,
        "random_syllables": _random_syllables,
        "lorem_ipsum": _lorem_ipsum,
        "base64": _base64,
        "number_tables": _number_tables,
        "machine_repeated": _machine_repeated,
    }
    junk = _Junk(data, language, part)
    return {kind: [make(junk) for _ in range(each)] for kind, make in kinds.items()}


class _Junk:
    """The words of a language's part, and the dice."""

    def __init__(self, data: Path, language: Language, part: Part) -> None:
        self.language = language
        self.random = random.Random(f"junk {language} {part}")
        lists = yaml.safe_load(Path(__file__).with_name("corpus_junk.yaml").read_text(encoding="utf-8"))
        half, column = (0 if part == "tuning" else 1), 1 if language == "ko" else 0
        words: dict[str, list[str]] = {kind: halves[half] for kind, halves in lists[language].items()}
        self.goods, self.tails, self.places = words["goods"], words["tails"], words["places"]
        self.rows, self.templates, self.lorem = words["rows"], words["templates"], lists["lorem"]
        pairs = read_rows(data / "pypi_ui_pairs/homeassistant.en-ko.tsv")
        strings = one_part([row[column].strip() for row in pairs], part)
        self.menu = [*words["menu"], *[text for text in strings if len(text.split()) <= 3][: 5 * len(words["menu"])]]
        sentences = [row[column].strip() for row in read_rows(data / "python-docs-ko/en-ko.tsv", 4_000)]
        self.sentences = [text for text in one_part(sentences, part) if 40 < len(text) < 300 and "`" not in text]

    def many(self, words: list[str], least: int, most: int) -> list[str]:
        return self.random.choices(words, k=self.random.randint(least, most))


def _keyword_spam(junk: _Junk) -> str:
    made = junk.random
    words = junk.many(junk.goods, 80, 400)
    if made.random() < 0.5:
        words = [f"{made.choice(junk.places)} {word}" for word in words]
    if made.random() < 0.5:
        words = [f"{word}{'' if junk.language == 'ko' else ' '}{made.choice(junk.tails)}" for word in words]
    if made.random() < 0.3:
        words = [f"#{word.replace(' ', '')}" for word in words]
    if made.random() < 0.4:
        template, every = made.choice(junk.templates), made.randint(10, 20)
        sentence = template.format(goods=made.choice(junk.goods), place=made.choice(junk.places))
        words = [f"{word} {sentence}" if place % every == 0 else word for place, word in enumerate(words)]
    text = made.choice([" ", ", ", " / ", " "]).join(words)
    return re.sub(r"((?:\S+ ){12})", r"\1\n", text) if made.random() < 0.5 else text


def _menus(junk: _Junk) -> str:
    made = junk.random
    items = made.sample(junk.menu, made.randint(40, len(junk.menu)))
    style = made.choice(["lines", "bars", "crumbs", "counts"])
    if style == "lines":
        return "\n".join(items)
    if style == "counts":
        return "\n".join(f"{item} ({made.randint(0, 400)})" for item in items)
    rows = [items[at : at + 6] for at in range(0, len(items), 6)]
    return "\n".join((" | " if style == "bars" else " > ").join(row) for row in rows)


def _random_syllables(junk: _Junk) -> str:
    made = junk.random
    style = made.choice(["uniform", "shuffled", "common"])
    real = [sign for sign in "".join(made.sample(junk.sentences, 5)).lower() if sign.isalpha()]
    if junk.language == "ko":
        hangul = [sign for sign in real if "가" <= sign <= "힣"]
        common = [chr(code) for code in range(0xAC00, 0xD7A4, 28 if made.random() < 0.5 else 7)]
        signs = {"uniform": [chr(code) for code in range(0xAC00, 0xD7A4)], "shuffled": hangul, "common": common}[style]
    else:
        pairs = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
        signs = {"uniform": list("abcdefghijklmnopqrstuvwxyz"), "shuffled": real, "common": pairs}[style]
    longest = 5 if junk.language == "ko" else 4 if style == "common" else 9
    words = ["".join(made.choices(signs, k=made.randint(1, longest))) for _ in range(made.randint(80, 400))]
    return " ".join(word + made.choice([*[""] * 9, ".", ".\n"]) for word in words)


def _lorem_ipsum(junk: _Junk) -> str:
    made = junk.random
    sentences = [" ".join(junk.many(junk.lorem, 6, 16)).capitalize() + "." for _ in range(made.randint(10, 40))]
    if made.random() < 0.5:
        sentences[:4] = [" ".join(junk.lorem[:19]).capitalize() + "."]
    heading = made.choice(junk.sentences) if made.random() < 0.5 else ""
    return f"{heading}\n\n{' '.join(sentences)}".strip()


def _base64(junk: _Junk) -> str:
    made = junk.random
    data = made.randbytes(made.randint(400, 6_000))
    code = data.hex() if made.random() < 0.2 else base64.b64encode(data).decode()
    if made.random() < 0.6:
        code = re.sub("(.{76})", r"\1\n", code)
    heading = made.choice(junk.sentences) if made.random() < 0.5 else "data:image/png;base64,"
    return f"{heading}\n{code}"


def _number_tables(junk: _Junk) -> str:
    made = junk.random
    gap, labels, wide = made.choice(["\t", ", ", " | ", "  "]), made.random() < 0.5, made.randint(4, 10)
    unit = made.choice(["", "", "%", "원" if junk.language == "ko" else "$"])
    lines = [gap.join(junk.many(junk.rows, wide, wide))]
    for _ in range(made.randint(15, 80)):
        cells = [f"{made.uniform(0, 10 ** made.randint(1, 6)):,.{made.randint(0, 2)}f}{unit}" for _ in range(wide)]
        lines.append(gap.join([made.choice(junk.rows), *cells] if labels else cells))
    return "\n".join(lines)


def _machine_repeated(junk: _Junk) -> str:
    made = junk.random
    style = made.choice(["sentence", "paragraph", "template", "phrase"])
    if style == "template":
        lines = [
            template.format(goods=made.choice(junk.goods), place=place)
            for place in junk.many(junk.places, 12, 40)
            for template in junk.templates
        ]
        return made.choice([" ", "\n", "\n\n"]).join(lines)
    unit = " ".join(made.sample(junk.sentences, {"sentence": 1, "paragraph": 4, "phrase": 1}[style]))
    if style == "phrase":
        unit = " ".join(unit.split()[:4])
    return made.choice([" ", "\n", "\n\n"]).join([unit] * made.randint(8, 60))
