"""One page has one address, whatever its links look like."""

import pytest

from malmoi.corpus.crawl.urls import LONGEST, canonical_url

PAGE = "https://example.com/a/b/page?x=1"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("HTTP://EXAMPLE.com:80", "http://example.com/"),
        ("https://example.com:443/#top", "https://example.com/"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("../c/./d/..", "https://example.com/a/c/"),
        ("https://example.com/../../a//b/%2e%2e/c", "https://example.com/a//c"),
        ("/한글 경로", "https://example.com/%ED%95%9C%EA%B8%80%20%EA%B2%BD%EB%A1%9C"),
        ("/%ed%95%9c%ea%b8%80%20%ea%b2%bd%eb%a1%9c", "https://example.com/%ED%95%9C%EA%B8%80%20%EA%B2%BD%EB%A1%9C"),
        ("/%7Euser/%41", "https://example.com/~user/A"),
        ("?b=2&a=1&utm_source=mail&fbclid=x&NaPm=y", "https://example.com/a/b/page?a=1&b=2"),
        ("?a=2&a=1&B=3", "https://example.com/a/b/page?B=3&a=1&a=2"),
        ("/list;jsessionid=0A1B?page=2", "https://example.com/list?page=2"),
        ("//www.말모이.한국./", "https://www.xn--pz2bmpe12a.xn--3e0b707e/"),
        ("http://[::FFFF:7F00:1]/", "http://[::ffff:7f00:1]/"),
        (" \n/wrapped\n", "https://example.com/wrapped"),
    ],
)
def test_links_take_one_form_and_stay_in_it(link, expected):
    assert canonical_url(link, PAGE) == expected
    assert canonical_url(expected) == expected


@pytest.mark.parametrize(
    "link",
    [
        "mailto:me@example.com", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "ftp://example.com/",
        "http://user:secret@example.com/", "http://", "http://[::1", "http://example.com:99999/", "http://a b/",
        "/" + "x" * LONGEST,
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_none(link):
    assert canonical_url(link, PAGE) is None
