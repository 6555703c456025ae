"""Bytes become the text that was written, whatever was declared."""

import pytest

from malmoi.corpus.decode import decode, decode_page, media_type

KOREAN = [
    "똠방각하와 펲시콜라를 마신 뒤에 뷁 하고 외쳤다. 아무도 대답하지 않았다.",
    "말모이는 최초의 한국어 사전 원고이다. 주시경과 제자들이 낱말을 모았다.",
    "공지사항: 서울시 홈페이지 점검 안내 (2026년 1월 3일 09:00~12:00)",
    "믜와 쌰와 갂, 읎는 글자도 쓴다. 그런 글자는 KS X 1001에 없다.",
    "Korean과 English가 섞인 page이다. Python 3.11을 설치한다.",
    "대학교 도서관은 아침 아홉 시에 열고 저녁 열 시에 닫는다.",
]
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗い所で泣いていた。"
CHINESE = "我们今天去图书馆看书，那里有很多人。老师说学习汉语需要时间和耐心，学生们都很努力。"
RUSSIAN = "Мы сегодня идём в библиотеку читать книги, там много людей."


def page(text, label=""):
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={label}">' if label else ""
    return f"<html><head>{meta}<title>x</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize("text", KOREAN)
@pytest.mark.parametrize("label", ["", "ks_c_5601-1987", "utf-8"])
def test_korean_pages_with_no_right_and_wrong_label(text, label):
    """The eighteen of issue 4."""
    assert decode_page(page(text, label).encode("cp949")) == page(text, label)


@pytest.mark.parametrize("text", KOREAN)
@pytest.mark.parametrize(
    "label", ["euc-kr", "korean", "EUC-KR", "iso-8859-1", "shift_jis", "gb2312", "big5", "nonsense"]
)
def test_korean_pages_under_other_names(text, label):
    assert decode_page(page(text, label).encode("cp949")) == page(text, label)


@pytest.mark.parametrize("label", ["", "shift_jis", "x-sjis", "utf-8"])
def test_shift_jis(label):
    assert decode_page(page(JAPANESE, label).encode("cp932")) == page(JAPANESE, label)


@pytest.mark.parametrize("label", ["", "utf-8"])
@pytest.mark.parametrize("text", [JAPANESE, "東京都庁は、西新宿二丁目にある。", "会社概要　お知らせ　サイトマップ"])
@pytest.mark.parametrize("encoding", ["euc_jp", "iso2022_jp"])
def test_other_japanese_encodings(text, label, encoding):
    assert decode_page(page(text, label).encode(encoding)) == page(text, label)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [*KOREAN, JAPANESE])
def test_utf_16_with_and_without_a_mark(encoding, text):
    assert decode_page(page(text).encode(encoding)) == page(text)


@pytest.mark.parametrize("text", ["hello\0world", "a\0b\n", "안녕\0하세요 여러분"])
def test_a_zero_in_a_short_text_makes_no_utf_16_of_it(text):
    assert decode(text.encode()) is None


@pytest.mark.parametrize("text", ["안녕 하세요\n", "곰아, 어디 가?", "OK\n", "中文 字"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_short_texts_in_utf_16(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("text", "encoding", "label"),
    [
        (CHINESE, "gb18030", ""),
        (CHINESE, "gb18030", "gb2312"),
        (JAPANESE, "euc_jp", "euc-jp"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (RUSSIAN, "cp1251", "windows-1251"),
        ("Français à l’école, déjà vu.", "cp1252", "iso-8859-1"),
    ],
)
def test_other_languages_are_not_taken_for_korean(text, encoding, label):
    assert decode_page(page(text, label).encode(encoding)) == page(text, label)


def test_what_the_server_declares_comes_before_what_the_page_declares():
    written = page(RUSSIAN, "koi8-r")
    assert decode_page(written.encode("cp1251"), "windows-1251") == written


def test_one_damaged_character_does_not_change_the_encoding():
    damaged = page(KOREAN[1] * 20, "utf-8").encode().replace(b"\xec", b"\xff\xec", 1)
    assert decode_page(damaged).replace("\ufffd", "") == page(KOREAN[1] * 20, "utf-8")


def test_a_few_typographic_apostrophes_are_no_damaged_utf_8():
    text = "Nothing but plain English for a long while. " * 30 + "It’s a film that doesn’t end."
    assert decode(text.encode("cp1252")) == text


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), bytes(100), b"\x01\x02" * 50])
def test_binary_files_are_no_text(data):
    assert decode(data) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Text/HTML; charset="EUC-KR"', ("text/html", "EUC-KR")),
        ("", ("", "")),
        ("nonsense", ("text/plain", "")),
        ("text/html\r\nX: y", ("text/html", "")),
    ],
)
def test_content_types_are_understood(header, expected):
    assert media_type(header) == expected
