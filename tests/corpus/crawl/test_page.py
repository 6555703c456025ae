"""What a crawler reads in pages, sitemaps and consents."""

import contextlib
import gzip
import random

import pytest

from malmoi.corpus.crawl.page import MOST_LINKS, read_page, read_sitemap
from malmoi.corpus.crawl.robots import consents

URL = "http://example.com/a/b"


def test_links_are_read_in_the_encoding_of_the_page():
    page = '<meta charset="euc-kr"><base href="/새/"><a href="똠">가</a><a href="#x">나</a><a href="똠#z">다</a>'
    assert read_page(page.encode("cp949"), "", URL).links == (
        ("http://example.com/%EC%83%88/%EB%98%A0", "page"),
        ("http://example.com/%EC%83%88/", "page"),
    )


def test_areas_and_refreshes_lead_on_too():
    page = b'<meta http-equiv="refresh" content="0; url=/next"><map><area href="map"></map>'
    assert [link for link, _ in read_page(page, "", URL).links] == [
        "http://example.com/a/map",
        "http://example.com/next",
    ]


def test_a_page_of_nothing_but_links_and_a_deep_one_do_no_harm():
    many = b"".join(b'<a href="%d">' % number for number in range(3 * MOST_LINKS))
    assert len(read_page(many, "", URL).links) == MOST_LINKS
    assert read_page(b"<div>" * 100_000, "", URL).links == ()


def test_sitemaps_list_pages_and_sitemaps():
    pages = "<urlset><url><loc> http://example.com/가 </loc></url><url><loc>mailto:x</loc></url></urlset>"
    index = "<sitemapindex><sitemap><loc>/more.xml</loc></sitemap></sitemapindex>"
    assert read_sitemap(gzip.compress(pages.encode()), URL) == (("http://example.com/%EA%B0%80", "page"),)
    assert read_sitemap(index.encode(), URL) == (("http://example.com/more.xml", "sitemap"),)


@pytest.mark.parametrize("body", [b"", b"no XML", gzip.compress(bytes(60 << 20)), b"\x1f\x8b broken"])
def test_what_is_no_sitemap_says_so(body):
    with pytest.raises(ValueError):
        read_sitemap(body, URL)


def test_entities_of_a_sitemap_do_not_multiply():
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
        f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)
    )
    assert read_sitemap(f"{bomb}]><urlset><url><loc>http://example.com/&j;</loc></url></urlset>".encode(), URL) in (
        (),
        (("http://example.com/", "page"),),
    )


@pytest.mark.parametrize(
    ("headers", "metas", "expected"),
    [
        ([], [], ("", True)),
        ([("X-Robots-Tag", "noindex, nofollow")], [], ("noindex", False)),
        ([("X-Robots-Tag", "otherbot: noindex")], [], ("", True)),
        ([("X-Robots-Tag", "malmoi: none")], [], ("none", False)),
        ([("X-Robots-Tag", "noindex, max-snippet:-1")], [], ("noindex", True)),
        ([("X-Robots-Tag", "max-image-preview:large, noindex")], [], ("noindex", True)),
        ([("X-Robots-Tag", "otherbot: noindex, max-snippet:-1")], [], ("", True)),
        ([], [("ROBOTS", "NoAI")], ("noai", True)),
        ([], [("googlebot", "noindex")], ("", True)),
        ([], [("malmoi", "nofollow")], ("", False)),
        ([("TDM-Reservation", "1")], [], ("tdm-reservation", True)),
    ],
)
def test_what_a_page_asks_of_robots_is_understood(headers, metas, expected):
    assert consents(headers, metas) == expected


def test_damaged_pages_and_sitemaps_never_do_more_than_say_so():
    dice = random.Random(4)
    pieces = [b"<", b"&#xD800;", b"'", b"\0", b"//[", b"\xed\xa0\x80", b"<!DOCTYPE", b"<base href=//[x>", b"\xb0\xa1"]
    whole = '<meta charset="euc-kr"><a href="/가?나=다">가</a><urlset><url><loc>http://x/</loc></url></urlset>'.encode()
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(4):
            place = dice.randrange(len(data))
            data[place : place + dice.randrange(9)] = dice.choice(pieces)
        read_page(bytes(data), "", URL)
        with contextlib.suppress(ValueError):
            read_sitemap(bytes(data), URL)
