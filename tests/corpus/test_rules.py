"""Articles stay and junk goes, in Korean and in English; every rule tells its value and its limit."""

import re
import socket
from math import inf
from pathlib import Path

import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.corpus.harmful import HarmfulFilter
from malmoi.corpus.language import LanguageFilter
from malmoi.corpus.measures import Text
from malmoi.corpus.personal import mask_personal_data
from malmoi.corpus.rules import RULES, RuleFilter
from malmoi.corpus.step import Verdict

PROSE = {
    "ko": "옛날 어느 마을에 나무를 하는 사람이 살았습니다. 그는 아침마다 산으로 올라가 나무를 베었고, 저녁이 되면 시장에서 "
    "그것을 팔았습니다. 하루는 연못에 도끼를 빠뜨리고 울고 있는데 산신령이 나타나 왜 우느냐고 물었습니다. 그는 자기의 "
    "낡은 쇠도끼를 잃어버렸다고 솔직하게 말했고, 산신령은 그 마음을 칭찬하며 금도끼와 은도끼도 함께 주었습니다.",
    "en": "There was once a man who lived by cutting wood. Every morning he went up the hill, and in the evening he sold "
    "what he had cut at the market. One day his axe fell into a pond, and he sat down and wept. The spirit of the hill "
    "asked him why he was weeping. He said that he had lost an old axe of iron, and because he told the truth he was "
    "given one of gold and one of silver as well.",
}
JAPANESE = (
    "むかしむかし、ある村に木を切って暮らす男が住んでいました。男は毎朝山に登って木を切り、夕方になると市場で売りました。"
    * 2
)
JUNK = {
    "keywords": " ".join(
        f"강남{goods}가격 {goods}추천" for goods in ("카지노", "대출", "임플란트", "쿠폰", "렌탈") * 8
    ),
    "menu": "\n".join(["홈", "로그인", "회원가입", "장바구니", "고객센터", "공지사항", "이용약관", "사이트맵"] * 6),
    "random syllables": "".join(chr(0xAC00 + at * 7919 % 11172) + " " * (at % 3 == 0) for at in range(400)),
    "filler": "Lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore. " * 6,
    "base64": "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO\n" * 60,
    "numbers": "\n".join(f"{at * 37 % 1000}, {at * 91 % 777}, {at * 13 % 99}, 12.{at}" for at in range(60)),
    "repeated": "이 제품은 정말 좋은 제품이라고 할 수 있습니다.\n" * 30,
}


def judge(text, language="ko"):
    return {one.rule: one for one in RuleFilter().judge(Document(text, "source", metadata={"language": language}))}


@pytest.mark.parametrize("language", PROSE)
def test_prose_breaks_no_rule(language):
    assert [one for one in judge(PROSE[language], language).values() if not one.holds] == []


def test_a_language_without_blanks_breaks_no_rule():
    assert isinstance(RuleFilter()(Document(JAPANESE, "source")), Document)


@pytest.mark.parametrize("kind", JUNK)
def test_junk_breaks_a_rule(kind):
    assert isinstance(RuleFilter()(Document(JUNK[kind], "source", metadata={"language": "ko"})), Verdict)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("keywords", "particles"),
        ("menu", "short_lines"),
        ("random syllables", "particles"),
        ("filler", "lorem_ipsum"),
        ("base64", "long_runs"),
        ("numbers", "letters"),
        ("repeated", "duplicate_5_grams"),
    ],
)
def test_the_rule_that_is_meant_for_it_finds_it(kind, rule):
    assert not judge(JUNK[kind])[rule].holds


def test_the_step_drops_for_the_first_verdict_that_fails():
    document = Document(JUNK["menu"], "source", metadata={"language": "ko"})
    first = next(one for one in RuleFilter().judge(document) if not one.holds)
    assert RuleFilter()(document) == Verdict(first.rule, first.value, first.limit)


def test_limits_can_be_changed_for_a_language():
    short = Document("짧지만 그래도 사람이 정성껏 쓴 글이다.", "source", metadata={"language": "ko"})
    assert RuleFilter()(short) == Verdict("words", 6, ">= 30")
    assert RuleFilter({"ko": {"words": 5}})(short) == short


@pytest.mark.parametrize(
    ("changes", "message"), [({"kr": {}}, "no language 'kr'"), ({"ko": {"wrds": 1}}, "Did you mean 'words'")]
)
def test_unknown_languages_and_rules_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        RuleFilter(changes)


def test_every_measure_takes_the_empty_text():
    assert [rule for rule, measure, _, _ in RULES if measure(Text(""))] == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_documentation_shows_the_limits(language):
    page = (Path(__file__).parents[2] / "docs" / language / "rules.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(\w+)` \|.*?\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    cells = [
        (
            name,
            *[
                "–" if limit in (0, inf) else f"{sign.replace('>=', '≥').replace('<=', '≤')} {limit:g}"
                for limit in limits
            ],
        )
        for name, _, sign, limits in RULES
    ]
    assert shown == cells


def test_the_language_is_noted_with_the_shares_of_a_mixed_page():
    mixed = "Python의 `sum` 함수는 iterable을 받아서 모든 원소를 더한 값을 돌려주는 built-in 함수입니다."
    labelled = LanguageFilter(["ko", "en"])(Document(mixed, "source"))
    assert labelled.metadata["language"] == "ko"
    assert 0.3 < labelled.metadata["hangul"] < 0.7
    assert labelled.metadata["hangul"] + labelled.metadata["latin"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (PROSE["ko"], "ko"),
        (PROSE["en"], "en"),
        ("Es war einmal ein Mann, der vom Holzhacken lebte und jeden Morgen auf den Berg ging.", "de"),
        ("むかしむかし、ある村に木を切って暮らす男が住んでいました。", "ja"),
        ("1234 5678 !!!", "unknown"),
        ("", "unknown"),
        ("あ\ud800い", "ja"),
    ],
)
def test_languages_are_told_apart(text, language):
    assert LanguageFilter([]).label(Document(text, "source")).metadata["language"] == language


def test_a_language_that_is_not_wanted_is_dropped():
    german = "Es war einmal ein Mann, der vom Holzhacken lebte und jeden Morgen auf den Berg ging."
    assert LanguageFilter(["ko", "en"])(Document(german, "source")) == Verdict("language", "de", "ko or en")


def test_no_step_needs_a_network(monkeypatch):
    def refuse(*_):
        raise OSError("the network is closed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    document = Document(PROSE["en"], "source")
    for step in (LanguageFilter(["en"]), RuleFilter(), HarmfulFilter(), mask_personal_data):
        document = step(document)
    assert document.text == PROSE["en"]


@pytest.mark.shared
@pytest.mark.parametrize("language", ["ko", "en"])
def test_most_held_out_articles_stay_and_most_junk_goes(mirror, language, monkeypatch):
    """A smaller version of benchmarks/corpus_rules.py."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from corpus_junk import junk_texts
    from corpus_texts import clean_texts

    def kept(kinds):
        texts = [text for texts in kinds.values() for text in texts]
        labelled = [LanguageFilter(["ko", "en"])(Document(text, "source")) for text in texts]
        ends = [one if isinstance(one, Verdict) else RuleFilter()(one) for one in labelled]
        return sum(not isinstance(end, Verdict) for end in ends) / len(texts)

    assert kept(clean_texts(mirror, language, "held_out", 20)) >= 0.95
    assert kept(junk_texts(mirror, language, "held_out", 20)) <= 0.05
