"""Clean articles in Korean and English, for measuring filters; made from the shared data sets.

Every kind has a part "tuning", on which limits may be chosen, and a part "held_out", which shares no document with it.
`forum`, `list` and `news` are a wild mix: text of people and of pages in the shapes that the web gives it.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

Language = Literal["ko", "en"]
Part = Literal["tuning", "held_out"]

BLOCK = 40
"""Units of a source that go to one part together, so that neighbours do not fall into both."""
_MARKS = ("This page is: ", "Title is: ")
"""What the extraction of the LibreOffice help put between its pages."""
_ROLE = re.compile(r":[\w:.-]+:`~?!?([^`<]*?)(?: *<[^`]*>)?`|``?([^`]*)``?_*")
_UNSPACED = re.compile(r" (@?)([,.:;!?%)\]]|'s|n't|'re|'ve|'ll)|([(\[]) | @([-,.])@ ")


def clean_texts(data: Path, language: Language, part: Part, each: int) -> dict[str, list[str]]:
    """At most `each` articles of every kind, from the data sets in `data`."""
    make = random.Random(f"{language} {part}")
    column = 1 if language == "ko" else 0
    python = [
        _ROLE.sub(r"\1\2", row[column]).replace("\\ ", "") for row in read_rows(data / "python-docs-ko/en-ko.tsv")
    ]
    debian = [line for line in _lines(data / f"debian_docs/{language}.txt") if not line.startswith(_MARKS)]
    kinds: dict[str, Iterator[str]] = {
        "python_docs": _articles([line for line in python if len(line) > 40], part, make),
        "debian_docs": _articles(debian, part, make),
        "bible": _articles([row[column] for row in read_rows(data / "bible_en_ko/en-ko.tsv")], part, make, " "),
        "encyclopedia": _articles(_encyclopedia(data, language), part, make),
        "forum": _forums(_posts(data, language), part, make, language),
        "list": _lists([line for line in debian if 8 < len(line) < 90], part, make),
        "news": _news(_news_sentences(data, language), part, make, language),
    }
    return {kind: list(islice(texts, each)) for kind, texts in kinds.items()}


def one_part(units: list[str], part: Part) -> list[str]:
    """Every second block of units."""
    wanted = 0 if part == "tuning" else 1
    return [unit for place, unit in enumerate(units) if place // BLOCK % 2 == wanted]


def _articles(units: list[str], part: Part, make: random.Random, glue: str = "\n\n") -> Iterator[str]:
    """Neighbouring units until a length between a short page and a long one is reached."""
    article: list[str] = []
    wanted = 0
    for unit in one_part(units, part):
        wanted = wanted or int(make.triangular(500, 6_000, 1_200))
        article.append(unit)
        if sum(map(len, article)) >= wanted:
            yield glue.join(article)
            article, wanted = [], 0


def _forums(posts: list[str], part: Part, make: random.Random, language: Language) -> Iterator[str]:
    """A thread: a title, then posts with their writers; as people write, often without a full stop."""
    rest = iter(one_part(posts, part))
    names = ("익명", "지나가던이", "mango", "눈팅족") if language == "ko" else ("anon", "guest", "Kate", "old_timer")
    while thread := list(islice(rest, make.randint(12, 40))):
        if len(thread) < 12:
            return
        bare = make.random() < 0.5
        heads = [
            f"{make.choice(names)}{make.randint(1, 99)} 20{make.randint(10, 25)}.{make.randint(1, 12)}.3"
            for _ in thread
        ]
        bodies = thread if bare else [f"{head}\n{post}" for head, post in zip(heads, thread, strict=True)]
        yield ("\n" if bare else "\n\n").join(bodies)


def _lists(lines: list[str], part: Part, make: random.Random) -> Iterator[str]:
    """Instructions or a glossary: a sentence or two, then bullets or numbers, again and again."""
    rest = iter(one_part(lines, part))
    while items := list(islice(rest, make.randint(18, 50))):
        if len(items) < 18:
            return
        mark: Callable[[int], str] = make.choice([lambda n: "- ", lambda n: f"{n}. ", lambda n: "• "])
        every = make.randint(4, 8)
        yield "\n".join(
            f"\n{item}" if place % every == 0 else f"{mark(place % every)}{item}" for place, item in enumerate(items)
        ).strip()


def _news(sentences: list[str], part: Part, make: random.Random, language: Language) -> Iterator[str]:
    """A headline, a line with writer and date, and paragraphs of one or two sentences."""
    rest = iter(one_part(sentences, part))
    while body := list(islice(rest, make.randint(9, 25))):
        if len(body) < 9:
            return
        day = f"{make.randint(2005, 2025)}-{make.randint(1, 12):02}-{make.randint(1, 28):02}"
        byline = f"김하늘 기자 입력 {day} 09:12" if language == "ko" else f"By Jane Doe, Staff Writer | {day}"
        headline = " ".join(body[0].rstrip(".").split()[:8])
        yield "\n\n".join([headline, byline, *(" ".join(body[at : at + 2]) for at in range(1, len(body), 2))])


def _encyclopedia(data: Path, language: Language) -> list[str]:
    if language == "ko":
        articles = json.loads((data / "korquad/KorQuAD_v1.0_dev.json").read_text(encoding="utf-8"))["data"]
        return list(dict.fromkeys(piece["context"] for article in articles for piece in article["paragraphs"]))
    lines = [*_lines(data / "wikitext2/valid.txt"), *_lines(data / "wikitext2/test.txt")]
    return [_UNSPACED.sub(r"\2\3\4", line.replace("<unk>", "")) for line in lines if not line.startswith("=")]


def _posts(data: Path, language: Language) -> list[str]:
    if language == "ko":
        reviews = [row[1] for row in read_rows(data / "nsmc/test.tsv", 30_000)]
        with (data / "songys_chatbot/ChatbotData.csv").open(encoding="utf-8-sig", newline="") as file:
            chat = [f"{row[0]} {row[1]}" for row in csv.reader(file)]
        return [*reviews[1:], *chat[1:]]
    reviews = (data / "mr_polarity/rt-polarity.pos").read_text(encoding="cp1252").splitlines()
    messages = [row[1] for row in read_rows(data / "sms_spam/SMSSpamCollection") if row[0] == "ham"]
    return [*[_UNSPACED.sub(r"\2\3\4", review) for review in reviews], *messages]


def _news_sentences(data: Path, language: Language) -> list[str]:
    if language == "ko":
        rows = [row for row in read_rows(data / "kornlu/sts-train.tsv") if row[0] == "main-news" and len(row) > 6]
        return [row[column] for column in (5, 6) for row in rows]
    return [row[1] for row in read_rows(data / "rte/train.tsv") if len(row) > 1]


def read_rows(path: Path, most: int | None = None) -> list[list[str]]:
    """The columns of the first `most` lines of a table with tabs."""
    lines = islice(path.open(encoding="utf-8"), most)
    return [line.rstrip("\n").split("\t") for line in lines if "\t" in line]


def _lines(path: Path) -> list[str]:
    return [line for line in map(str.strip, path.open(encoding="utf-8")) if line]
