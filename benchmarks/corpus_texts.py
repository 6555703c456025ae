"""Clean articles and junk in Korean and English, for measuring filters; made from the shared data and from seeds.

Every kind has a part "tuning", on which limits may be chosen, and a part "held_out", which shares neither documents nor
the generators' words with it. `forum`, `list` and `news` are wild mixes made of several sources.
"""

from __future__ import annotations

import base64
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
    python = [_ROLE.sub(r"\1\2", row[column]).replace("\\ ", "") for row in _rows(data / "python-docs-ko/en-ko.tsv")]
    debian = [line for line in _lines(data / f"debian_docs/{language}.txt") if not line.startswith(_MARKS)]
    kinds: dict[str, Iterator[str]] = {
        "python_docs": _articles([line for line in python if len(line) > 40], part, make),
        "debian_docs": _articles(debian, part, make),
        "bible": _articles([row[column] for row in _rows(data / "bible_en_ko/en-ko.tsv")], part, make, " "),
        "encyclopedia": _articles(_encyclopedia(data, language), part, make),
        "forum": _forums(_posts(data, language), part, make, language),
        "list": _lists([line for line in debian if 8 < len(line) < 90], part, make),
        "news": _news(_news_sentences(data, language), part, make, language),
    }
    return {kind: list(islice(texts, each)) for kind, texts in kinds.items()}


def _part(units: list[str], part: Part) -> list[str]:
    """Every second block of units."""
    wanted = 0 if part == "tuning" else 1
    return [unit for place, unit in enumerate(units) if place // BLOCK % 2 == wanted]


def _articles(units: list[str], part: Part, make: random.Random, glue: str = "\n\n") -> Iterator[str]:
    """Neighbouring units until a length between a short page and a long one is reached."""
    article: list[str] = []
    wanted = 0
    for unit in _part(units, part):
        wanted = wanted or int(make.triangular(500, 6_000, 1_200))
        article.append(unit)
        if sum(map(len, article)) >= wanted:
            yield glue.join(article)
            article, wanted = [], 0


def _forums(posts: list[str], part: Part, make: random.Random, language: Language) -> Iterator[str]:
    """A thread: a title, then posts with their writers; as people write, often without a full stop."""
    rest = iter(_part(posts, part))
    names = ("익명", "지나가던이", "초보맘", "mango", "눈팅족") if language == "ko" else ("anon", "guest", "Kate", "old_timer")
    while thread := list(islice(rest, make.randint(12, 40))):
        if len(thread) < 12:
            return
        bare = make.random() < 0.5
        heads = [f"{make.choice(names)}{make.randint(1, 99)} {make.randint(2009, 2025)}.{make.randint(1, 12)}.3" for _ in thread]
        bodies = thread if bare else [f"{head}\n{post}" for head, post in zip(heads, thread, strict=True)]
        yield ("\n" if bare else "\n\n").join(bodies)


def _lists(lines: list[str], part: Part, make: random.Random) -> Iterator[str]:
    """Instructions or a glossary: a sentence or two, then bullets or numbers, again and again."""
    rest = iter(_part(lines, part))
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
    rest = iter(_part(sentences, part))
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
        reviews = [row[1] for row in _rows(data / "nsmc/test.tsv", 30_000)]
        with (data / "songys_chatbot/ChatbotData.csv").open(encoding="utf-8-sig", newline="") as file:
            chat = [f"{row[0]} {row[1]}" for row in csv.reader(file)]
        return [*reviews[1:], *chat[1:]]
    reviews = (data / "mr_polarity/rt-polarity.pos").read_text(encoding="cp1252").splitlines()
    messages = [row[1] for row in _rows(data / "sms_spam/SMSSpamCollection") if row[0] == "ham"]
    return [*[_UNSPACED.sub(r"\2\3\4", review) for review in reviews], *messages]


def _news_sentences(data: Path, language: Language) -> list[str]:
    if language == "ko":
        rows = [row for row in _rows(data / "kornlu/sts-train.tsv") if row[0] == "main-news" and len(row) > 6]
        return [row[column] for column in (5, 6) for row in rows]
    return [row[1] for row in _rows(data / "rte/train.tsv") if len(row) > 1]


def _rows(path: Path, most: int | None = None) -> list[list[str]]:
    lines = islice(path.open(encoding="utf-8"), most)
    return [line.rstrip("\n").split("\t") for line in lines if "\t" in line]


def _lines(path: Path) -> list[str]:
    return [line for line in map(str.strip, path.open(encoding="utf-8")) if line]


_WORDS: dict[Language, dict[str, tuple[str, str]]] = {
    "ko": {
        "goods": (
            "카지노 대출 할인 임플란트 성형외과 이사업체 쿠폰 무료배송 최저가 홍보 마케팅 다이어트 탈모치료 중고차 보험비교 렌탈",
            "바카라 토토 적금 특가 교정 피부과 용달 사은품 당일발송 견적 광고대행 한약 가발 리스 실비보험 정수기 펜션예약 꽃배달",
        ),
        "tails": ("가격 후기 추천 비용 상담 순위", "정보 잘하는곳 이벤트 문의 사이트 비교"),
        "places": (
            "강남 홍대 부산 대구 인천 수원 분당 일산 천안 청주 전주 목포",
            "신촌 잠실 광주 대전 울산 용인 판교 김포 원주 춘천 여수 제주",
        ),
        "menu": (
            "홈 로그인 회원가입 마이페이지 장바구니 고객센터 공지사항 자유게시판 이용약관 개인정보처리방침 사이트맵 이전글 다음글 목록 인쇄 검색",
            "처음으로 로그아웃 아이디찾기 주문조회 관심상품 자주묻는질문 이벤트 갤러리 회사소개 오시는길 제휴문의 맨위로 댓글쓰기 추천 신고 공유하기",
        ),
        "rows": ("매출 비용 합계 평균 서울 부산 경기 인원 수량", "수입 지출 소계 비율 대전 광주 전남 세대 단가"),
        "templates": (
            "{place} {goods} 전문 업체를 찾으신다면 {place} 최고의 {goods} 서비스를 만나 보세요.|{place}에서 {goods} 문제로 고민하고 계신가요? 지금 바로 상담을 받아 보세요.",
            "{goods} 가격이 궁금하시면 {place} {goods} 센터에 문의하시기 바랍니다.|{place} 지역에서 가장 저렴하게 {goods} 상품을 제공하는 곳입니다.",
        ),
    },
    "en": {
        "goods": (
            "casino loans cheap discount viagra insurance mortgage coupon deals implants weight loss hosting essays replica watches",
            "poker payday bargain sale pills attorney refinance voucher offers botox keto seo dissertation handbags sneakers outlet",
        ),
        "tails": ("price reviews online best near me", "buy now top quote company compare"),
        "places": (
            "London Boston Dallas Leeds Perth Miami Denver Austin Bristol Toronto",
            "Seattle Chicago Dublin Phoenix Sydney Tampa Houston Oakland Cardiff Calgary",
        ),
        "menu": (
            "Home|Login|Sign up|My account|Cart|Contact us|News|Forum|Terms of service|Privacy policy|Sitemap|Previous|Next|Archive|Print|Search",
            "Start|Log out|Forgot password|Orders|Wishlist|FAQ|Events|Gallery|About|Directions|Careers|Back to top|Reply|Like|Report|Share",
        ),
        "rows": ("Revenue Cost Total Mean North South Units Count", "Income Expense Subtotal Ratio East West Price Stock"),
        "templates": (
            "Looking for the best {goods} in {place}? Our {place} {goods} team is ready to help you today.|If you need {goods} near {place}, call our office for a free quote.",
            "We are the leading provider of {goods} in the {place} area.|Contact the {place} {goods} centre to get the lowest price on the market.",
        ),
    },
}
_LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat "
    "duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur excepteur sint "
    "occaecat cupidatat non proident sunt in culpa qui officia deserunt mollit anim id est laborum"
).split()


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
        half, column = (0 if part == "tuning" else 1), 1 if language == "ko" else 0
        words = {kind: halves[half] for kind, halves in _WORDS[language].items()}
        self.goods, self.tails = words["goods"].split(), words["tails"].split()
        self.places, self.rows = words["places"].split(), words["rows"].split()
        self.templates = words["templates"].split("|")
        strings = _part([row[column].strip() for row in _rows(data / "pypi_ui_pairs/homeassistant.en-ko.tsv")], part)
        own = words["menu"].split("|" if language == "en" else " ")
        self.menu = [*own, *[string for string in strings if len(string.split()) <= 3][: 5 * len(own)]]
        sentences = [row[column].strip() for row in _rows(data / "python-docs-ko/en-ko.tsv", 4_000)]
        self.sentences = [text for text in _part(sentences, part) if 40 < len(text) < 300 and "`" not in text]

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
    sentences = [" ".join(junk.many(_LOREM, 6, 16)).capitalize() + "." for _ in range(made.randint(10, 40))]
    if made.random() < 0.5:
        sentences[:4] = [" ".join(_LOREM[:19]).capitalize() + "."]
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
