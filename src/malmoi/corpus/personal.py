"""Personal data: e-mail addresses, telephone, resident, business and card numbers, IP addresses become placeholders.

Numbers that carry a check digit are masked only when it is right, so that part numbers and sums stay. Korean particles
may follow at once, as in `a@b.kr로`. What is left alone: dates, ISBNs, numbers that read like years (1588-1234) or that
any number could be (an area code or a business number without signs in it), and IP addresses that are not public
(loopback, private networks, documentation), which lead to nobody. Four numbers with dots are also how versions and
sections are written: they are an address unless all are below 32, the last two are 0, or a word such as "version" or
"버전" stands beside them.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from malmoi.corpus.document import Document

_START, _END = r"(?<!\d)(?<!\d[-.])", r"(?!\d|[-.]\d)"
_EMAIL = re.compile(
    r"(?:(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}|(?<![가-힣])[가-힣]{1,20})"
    r"@(?:[A-Za-z0-9가-힣-]{1,63}\.){1,6}(?:[A-Za-z]{2,24}(?![A-Za-z0-9])|한국)"
)
_IPV6 = re.compile(r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}")
_IPV4 = re.compile(r"\d\d{0,2}(?:\.\d{1,3}){3}")
_NARROW = str.maketrans("０１２３４５６７８９＋－（）．", "0123456789+-().")
_NUMBERS = re.compile(r"[\d+(＋（][\d .()－（）．-]{7,}+")
_RESIDENT = re.compile(rf"{_START}\d{{6}}(?: ?- ?)?[1-8]\d{{6}}{_END}")
_BUSINESS = re.compile(rf"{_START}\d{{3}}-\d{{2}}-\d{{5}}{_END}")
_CARD = re.compile(rf"{_START}(?:[2-69]\d{{3}}([ -]?)\d{{4}}\1\d{{4}}\1\d{{4}}|3[47]\d\d([ -]?)\d{{6}}\2\d{{5}}){_END}")
_PHONE = re.compile(
    rf"""{_START}(?:
    \+[1-9]\d{{0,2}}[ .-]?(?:\(0?\d{{1,4}}\)[ .-]?)?\d(?:\d|[ .-](?=\d\d)\d){{5,11}}   # international
    | 01[016-9][ .-]?\d{{3,4}}[ .-]?\d{{4}}                                          # Korean mobile
    | \(?0(?:2|[3-6][1-5]|70|80|50\d)(?:\)[ ]?|[ .-])\d{{3,4}}[ .-]\d{{4}}            # Korean area codes
    | \(?[2-9]\d\d(?:\)[ ]?|[.-])\d{{3}}[.-]\d{{4}}                                  # North America
    ){_END}""",
    re.VERBOSE,
)
_VERSION_BEFORE = re.compile(r"(?:version|ver\.?|release|버전|릴리스|판|==)[\s:]*$", re.IGNORECASE)
_VERSION_AFTER = re.compile(r"\s*(?:version|release|버전|릴리스|판\b)", re.IGNORECASE)


def mask_personal_data(document: Document) -> Document:
    """The document with placeholders such as <|email|>, and how many of each in its metadata's `masked`."""
    text, masked = mask(document.text)
    if not masked:
        return document
    return replace(document, text=text, metadata=document.metadata | {"masked": masked})


def mask(text: str) -> tuple[str, dict[str, int]]:
    """The text with placeholders, and how many of each kind were put into it."""
    masked: Counter[str] = Counter()

    def put(kind: str, pattern: re.Pattern[str], holds: Callable[[re.Match[str]], bool], text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            if not holds(match):
                return match[0]
            masked[kind] += 1
            return f"<|{kind}|>"

        return pattern.sub(replaced, text)

    def numbers(run: re.Match[str]) -> str:
        shown, narrow = run[0], run[0].translate(_NARROW)
        for kind, pattern, holds in _KINDS:
            found = [match.span() for match in pattern.finditer(narrow) if holds(match)]
            for start, end in reversed(found):
                shown, narrow = (f"{text[:start]}<|{kind}|>{text[end:]}" for text in (shown, narrow))
            if found:
                masked[kind] += len(found)
        return shown

    if "@" in text:
        text = put("email", _EMAIL, lambda match: True, text)
    text = put("ip", _IPV6, _is_public_address, text)
    text = put("ip", _IPV4, _is_public_address, text)
    return _NUMBERS.sub(numbers, text), dict(masked)


def is_resident_number(digits: str) -> bool:
    """Whether 13 digits can be a Korean resident (seventh digit 1 to 4) or foreigner (5 to 8) registration number.

    The first six are a date of birth. The last is a check digit, which numbers given since October 2020 lack.
    """
    century = 1900 if digits[6] in "1256" else 2000
    try:
        born = date(century + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))
    except ValueError:
        return False
    total = _weighted(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5))
    offset = 11 if digits[6] in "1234" else 13
    return born >= date(2020, 1, 1) or int(digits[12]) == (offset - total % 11) % 10


def is_business_number(digits: str) -> bool:
    """Whether 10 digits are a Korean business registration number: weights 1 3 7 1 3 7 1 3 5 and a check digit."""
    total = _weighted(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5))
    return (10 - (total + int(digits[8]) * 5 // 10) % 10) % 10 == int(digits[9])


def is_card_number(digits: str) -> bool:
    """Whether the digits pass Luhn's check (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _digits(check: Callable[[str], bool]) -> Callable[[re.Match[str]], bool]:
    return lambda match: check(re.sub(r"\D", "", match[0]))


def _is_phone(match: re.Match[str]) -> bool:
    number = match[0]
    if not number.startswith("+"):
        return True
    count = sum(map(str.isdigit, number))
    decimal = re.fullmatch(r"\+\d+\.\d+", number) is not None
    return 8 <= count <= 15 and not decimal and (count >= 10 or count + 1 < len(number))


def _is_public_address(match: re.Match[str]) -> bool:
    found, text, start, end = match[0].rstrip(":"), match.string, match.start(), match.end()
    before, after = text[max(0, start - 12) : start], text[end : end + 9]
    if re.search(r"[0-9A-Za-z_.:]$", before) or re.match(r"[0-9A-Za-z_]|\.\d", after):
        return False  # the middle of something longer
    if _VERSION_BEFORE.search(before) or _VERSION_AFTER.match(after):
        return False
    if "." in found and (found.endswith(".0.0") or max(map(int, found.split("."))) < 32):
        return False
    try:
        return ipaddress.ip_address(found).is_global
    except ValueError:
        return False


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    ("resident", _RESIDENT, _digits(is_resident_number)),
    ("business", _BUSINESS, _digits(is_business_number)),
    ("card", _CARD, _digits(is_card_number)),
    ("phone", _PHONE, _is_phone),
)
"""Numbers within a run of digits and signs: placeholder, pattern, check."""
