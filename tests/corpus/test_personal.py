"""Personal data become placeholders, also with particles at their end; what only looks like it stays."""

import pytest

from malmoi.corpus.document import Document
from malmoi.corpus.personal import is_business_number, is_card_number, is_resident_number, mask, mask_personal_data


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a@b.kr로 보내세요.", "<|email|>로 보내세요."),
        ("메일:hong.gil-dong+x@mail.example.co.kr에게", "메일:<|email|>에게"),
        ("010-1234-5678로 전화", "<|phone|>로 전화"),
        ("전화01012345678입니다", "전화<|phone|>입니다"),
        ("02-123-4567번과 (031) 123-4567번", "<|phone|>번과 <|phone|>번"),
        ("+82 10-1234-5678, +442079460958", "<|phone|>, <|phone|>"),
        ("call (212) 555-0123 or 212-555-0123", "call <|phone|> or <|phone|>"),
        ("주민등록번호는 900101-1234568이다", "주민등록번호는 <|resident|>이다"),
        ("210101-3123456", "<|resident|>"),
        ("사업자 124-81-00998의", "사업자 <|business|>의"),
        ("4111 1111 1111 1111로 결제", "<|card|>로 결제"),
        ("378282246310005", "<|card|>"),
        ("9410123456789010", "<|card|>"),
        ("900101 - 1234568", "<|resident|>"),
        ("080-123-4567, ０１０－１２３４－５６７８", "<|phone|>, <|phone|>"),
        ("（010-1234-5678）과 ２０２６ ０１０-1234-5678", "（<|phone|>）과 ２０２６ <|phone|>"),
        ("+82 10 1234 5678 010 2222 3333", "<|phone|> <|phone|>"),
        ("+1 (415) 555-2671 415-555-2671", "<|phone|> <|phone|>"),
        ("+33 1 23 45 67 89 2024-01-15", "<|phone|> 2024-01-15"),
        ("hong@한국.kr, 홍길동@example.com으로, a@b.한국은", "<|email|>, <|email|>으로, <|email|>은"),
        ("메일은hong@example.com", "메일은<|email|>"),
        ("203.0.114.77에서 접속", "<|ip|>에서 접속"),
        ("2001:4860:4860::8888에서", "<|ip|>에서"),
    ],
)
def test_personal_data_are_masked(text, masked):
    assert mask(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15 12:30:45, 2024.01.15",
        "ISBN 978-89-7914-874-9, 0-306-40615-2",
        "임진왜란 1592-1598, 1588-1592",
        "버전 120.0.99.71, version 120.0.99.71, v120.0.99.71, 120.0.99.71판",
        "1.2.3.4절, OID 1.3.6.1.4.1.311, 120.0.0.0",
        "127.0.0.1과 192.168.0.1과 ::1과 2001:db8::1",
        "std::vector, 12:30:45, user@host",
        "900101-1234567",
        "124-81-00999",
        "4111111111111112",
        "3.14159265358979 1,234,567,890 +12345678.901",
        "계좌 123-456-789012",
        "1588-1234, 025551234, 2208162517",
        "２０２４－０１－１５, １２３４５６７８９０",
        "+1 2 3 4 5 6 7 8 9, +3.5 2.25 1.125",
        "전국@대회. 사과 3개@1,000원",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert mask(text) == (text, {})


def test_check_digits():
    assert is_resident_number("9001011234568")
    assert not is_resident_number("9001011234567")
    assert is_resident_number("2101013123456")  # born after 2019: numbers without a check digit
    assert not is_resident_number("9013011234568")  # no such month
    assert is_business_number("1248100998")
    assert not is_business_number("1248100999")
    assert is_card_number("4111111111111111")
    assert not is_card_number("4111111111111112")


def test_what_was_masked_is_counted():
    document = mask_personal_data(Document("a@b.kr, c@d.kr, 010-1234-5678", "source", metadata={"title": "창"}))
    assert document.metadata == {"title": "창", "masked": {"email": 2, "phone": 1}}


@pytest.mark.parametrize(
    "text", ["(" * 200_000, "1 " * 100_000, "a." * 100_000 + "@", ":2001" * 40_000, "+1-" * 60_000]
)
def test_hostile_texts_are_left_alone(text):
    assert mask(text) == (text, {})  # in quadratic time this would take minutes
