"""A page that hangs or eats all memory is given up; the others go on."""

import multiprocessing

import pytest

from malmoi.corpus import extract
from malmoi.corpus.document import Unreadable
from malmoi.corpus.extract import ExtractionPool, Page

PROSE = "말모이는 우리말 사전의 원고이다. 많은 사람이 말을 모았다. " * 6
PAGE = f"<html><body><nav>메뉴</nav><article><p>{{}} {PROSE}</p></article></body></html>"


def html(number):
    return Page("html", PAGE.format(number).encode())


def test_texts_come_in_the_order_of_their_pages_and_reasons_among_them():
    pages = [
        html(1),
        Unreadable("no page"),
        html(2),
        Page("pdf", b"%PDF-1.7 no"),
        Page("text", "글".encode("cp949"), "euc-kr"),
    ]
    found = list(ExtractionPool(2, 30).map(pages))
    assert [str(text)[:7] for text in found] == ["1 말모이는 ", "no page", "2 말모이는 ", "damaged", "글"]


def test_a_page_that_takes_too_long_is_given_up_and_the_next_one_is_read():
    pool = ExtractionPool(1, 1e-4)
    with pytest.raises(Unreadable, match="extraction timed out: more than 0.0001 s"):
        pool.extract(html(1))
    pool.seconds = 30
    assert pool.extract(html(2)).startswith("2 말모이는")


def test_a_page_that_kills_its_child_has_that_reason_and_the_next_one_is_read():
    pool, others = ExtractionPool(1, 30), set(multiprocessing.active_children())
    pool.extract(html(1))
    [child] = set(multiprocessing.active_children()) - others
    child.kill()
    child.join()
    with pytest.raises(Unreadable, match="extraction crashed"):
        pool.extract(html(1))
    assert pool.extract(html(2)).startswith("2 말모이는")


def test_children_are_replaced_after_a_number_of_pages(monkeypatch):
    monkeypatch.setattr(extract, "RECYCLED", 2)
    pool, children = ExtractionPool(1, 30), []
    monkeypatch.setattr(extract, "_Child", lambda made=extract._Child: children.append(made()) or children[-1])
    assert len([pool.extract(Page("text", b"abc")) for _ in range(3)]) == 3
    assert len(children) == 2
