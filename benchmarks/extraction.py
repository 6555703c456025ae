"""The main text of pages made here: ours, in children with a time limit, beside plain trafilatura and two controls.

Real paragraphs in two languages are put into eight templates with menus, side columns, comments, footers and tables,
half of the Korean pages in CP949. The main text of each page is known. Precision, recall and F count its words.
The bar is plain trafilatura that is told the right encoding; without that it must find the encoding itself, as we do.
Run: MALMOI_MIRROR=../shared/data python benchmarks/extraction.py
"""

from __future__ import annotations

import html
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trafilatura
from lxml import html as lxml_html

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.corpus.extract import ExtractionPool, Page
from malmoi.sources.fetch import fetch_source

PAGES = 400
BAR = 0.005
MENU = {
    "en": ["Home", "Products", "About us", "Contact", "Careers", "Sign in", "Newsletter", "Archive", "Help", "Search"],
    "ko": ["처음으로", "제품 소개", "회사 소개", "문의하기", "채용", "로그인", "새 소식", "지난 글", "도움말", "찾기"],
}
FOOTER = {
    "en": "Copyright 2026 Example Ltd. All rights reserved. Terms of service. Privacy policy. We use cookies.",
    "ko": "저작권 2026 보기회사. 모든 권리 보유. 이용 약관. 개인정보 처리방침. 이 사이트는 쿠키를 씁니다.",
}
REPLIES = {
    "en": ["Great post, thanks!", "First.", "I do not agree at all.", "Could you share the source?", "Subscribed."],
    "ko": ["좋은 글 감사합니다.", "일등입니다.", "저는 생각이 다릅니다.", "출처를 알 수 있을까요?", "구독했어요."],
}


@dataclass(frozen=True)
class Made:
    """A page as it is sent and as it was written, and the paragraphs that are its main text."""

    data: bytes
    text: str
    main: list[str]
    language: str


def main() -> None:
    """Make pages, extract, print, write benchmarks/results/extraction.json."""
    pages = list(make_pages(PAGES))
    plain = {"include_comments": False, "include_tables": True}
    ways: dict[str, Callable[[list[Made]], Iterable[Any]]] = {
        "ours": lambda pages: ExtractionPool(1, 30).map(Page("html", page.data) for page in pages),
        "trafilatura": lambda pages: (trafilatura.extract(page.text, **plain) for page in pages),
        "trafilatura on bytes": lambda pages: (trafilatura.extract(page.data, **plain) for page in pages),
        "trafilatura baseline": lambda pages: (trafilatura.baseline(page.text)[1] for page in pages),
        "all text": lambda pages: (lxml_html.fromstring(page.text).text_content() for page in pages),
    }
    rows = {}
    for name, way in ways.items():
        began = time.perf_counter()
        texts = [text if isinstance(text, str) else "" for text in way(pages)]
        seconds = time.perf_counter() - began
        rows[name] = {"pages_a_second": round(len(pages) / seconds, 1)} | {
            language: scores([(text, page) for text, page in zip(texts, pages, strict=True) if page.language in wanted])
            for language, wanted in (("en", "en"), ("ko", "ko"), ("both", ("en", "ko")))
        }
    for name, row in rows.items():
        figures = "  ".join(f"{key} P {v[0]:.3f} R {v[1]:.3f} F {v[2]:.3f}" for key, v in row.items() if len(key) < 5)
        print(f"{name:20} {figures}  {row['pages_a_second']:6.1f} pages/s")
    difference = max(abs(rows["ours"][key][2] - rows["trafilatura"][key][2]) for key in ("en", "ko", "both"))
    print(f"largest difference of F to plain trafilatura: {difference:.4f} (bar: <= {BAR})")
    print("reached" if difference <= BAR else "NOT reached")
    result = {"machine": machine_facts(), "pages": len(pages), "bar": BAR, "difference": difference, "ways": rows}
    write_json(Path(__file__).parent / "results" / "extraction.json", result)


def make_pages(count: int) -> Iterable[Made]:
    """The same pages every time."""
    prose = {"en": english(), "ko": korean()}
    dice = random.Random(4)
    for number in range(count):
        language = ("en", "ko")[number % 2]
        main = dice.sample(prose[language], dice.randrange(4, 12))
        page = TEMPLATES[number // 2 % len(TEMPLATES)](main, language, dice)
        cp949 = language == "ko" and dice.random() < 0.5
        label = dice.choice(["euc-kr", "ks_c_5601-1987", "utf-8", ""]) if cp949 else dice.choice(["utf-8", ""])
        meta = f'<meta charset="{label}">' if label else ""
        title = main[0].split(".")[0][:60]
        whole = (
            f"<!doctype html><html lang={language}><head>{meta}<title>{html.escape(title)}</title></head>{page}</html>"
        )
        yield Made(whole.encode("cp949" if cp949 else "utf-8", "xmlcharrefreplace"), whole, main, language)


def english() -> list[str]:
    """Paragraphs of prose."""
    text = fetch_source("python-topics")[0].read_text(encoding="utf-8")
    return [p for p in (" ".join(piece.split()) for piece in text.split("\n\n")) if 200 < len(p) < 900 and p[-1] == "."]


def korean() -> list[str]:
    """Paragraphs of three sentences."""
    lines = [line.split("\t")[1] for line in fetch_source("python-docs-ko")[0].read_text(encoding="utf-8").splitlines()]
    lines = [line.strip() for line in lines if len(line) > 40 and line.strip().endswith("다.")]
    return [" ".join(lines[place : place + 3]) for place in range(0, len(lines) - 3, 3)]


def _paragraphs(texts: list[str]) -> str:
    return "".join(f"<p>{html.escape(text)}</p>" for text in texts)


def _menu(language: str, dice: random.Random, count: int = 7) -> str:
    return "".join(f'<li><a href="/{word}">{word}</a></li>' for word in dice.sample(MENU[language], count))


def _comments(language: str, dice: random.Random) -> str:
    replies = "".join(f'<div class="comment"><p>{reply}</p></div>' for reply in dice.sample(REPLIES[language], 3))
    return f'<section id="comments" class="comments">{replies}</section>'


def _footer(language: str) -> str:
    return f'<footer class="footer"><p>{FOOTER[language]}</p></footer>'


def _blog(main: list[str], language: str, dice: random.Random) -> str:
    return (
        f"<body><nav><ul>{_menu(language, dice)}</ul></nav><main><article class=post>{_paragraphs(main)}</article>"
        f"</main>{_comments(language, dice)}{_footer(language)}</body>"
    )


def _news(main: list[str], language: str, dice: random.Random) -> str:
    return (
        f"<body><header><ul class=menu>{_menu(language, dice)}</ul></header><div id=content class=article-body>"
        f"{_paragraphs(main)}</div><aside class=related><ul>{_menu(language, dice)}</ul></aside>"
        f"{_footer(language)}</body>"
    )


def _manual(main: list[str], language: str, dice: random.Random) -> str:
    sections = "".join(f"<h2>{n}.</h2>{_paragraphs([text])}" for n, text in enumerate(main, 1))
    return (
        f"<body><div class=sidebar role=navigation><ul>{_menu(language, dice)}</ul></div><div role=main>{sections}"
        f"</div>{_footer(language)}</body>"
    )


def _board(main: list[str], language: str, dice: random.Random) -> str:
    """A page laid out with tables, as older boards are."""
    text = "<br><br>".join(map(html.escape, main))
    links = " | ".join(f'<a href="#">{word}</a>' for word in MENU[language])
    return (
        f"<body><table width=100%><tr><td colspan=2>{links}</td></tr><tr><td width=120><ul>{_menu(language, dice)}</ul>"
        f"</td><td class=content>{text}</td></tr><tr><td colspan=2>{FOOTER[language]}</td></tr></table></body>"
    )


def _with_table(main: list[str], language: str, dice: random.Random) -> str:
    rows = "".join(f"<tr><th>{word}</th><td>{dice.randrange(1000)}</td></tr>" for word in MENU[language][:4])
    return (
        f"<body><nav>{_menu(language, dice)}</nav><article>{_paragraphs(main[:2])}<table>{rows}</table>"
        f"{_paragraphs(main[2:])}</article>{_footer(language)}</body>"
    )


def _bare(main: list[str], language: str, dice: random.Random) -> str:
    return f"<body>{_paragraphs(main)}</body>"


def _divisions(main: list[str], language: str, dice: random.Random) -> str:
    """No element says what it is."""
    inner = "".join(f"<div><div>{html.escape(text)}</div></div>" for text in main)
    first = f"<div class=x1><ul>{_menu(language, dice, 5)}</ul></div>"
    return f"<body>{first}<div class=x2>{inner}</div>{_footer(language)}</body>"


def _wiki(main: list[str], language: str, dice: random.Random) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in main[-2:])
    return (
        f'<body><div id="mw-panel">{_menu(language, dice)}</div><div id="content"><div id="bodyContent">'
        f"{_paragraphs(main[:-2])}<ul>{items}</ul></div></div>{_footer(language)}</body>"
    )


TEMPLATES = [_blog, _news, _manual, _board, _with_table, _bare, _divisions, _wiki]


def scores(pairs: list[tuple[str, Made]]) -> tuple[float, float, float]:
    """Precision, recall and F over the words of all pages."""
    found = wanted = both = 0
    for text, page in pairs:
        have, want = Counter(text.split()), Counter(" ".join(page.main).split())
        found, wanted, both = found + have.total(), wanted + want.total(), both + (have & want).total()
    precision, recall = both / max(1, found), both / wanted
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


if __name__ == "__main__":
    main()
