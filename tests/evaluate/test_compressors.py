import gzip
import math

import pytest

from malmoi.evaluate.compressors import compressed_bits_per_byte


@pytest.mark.parametrize("compressor", ["gzip", "xz"])
def test_repetition_is_cheap_in_both_languages(compressor):
    for sentence in ("The cat sat on the mat. ", "고양이가 방석에 앉았다. "):
        assert compressed_bits_per_byte([sentence * 300], compressor) < 0.5


def test_is_the_size_of_the_file_over_the_size_of_the_text():
    text = "말을 모은 책\ngathered words"
    expected = 8 * len(gzip.compress(text.encode(), 9)) / len(text.encode())
    assert compressed_bits_per_byte(text.split("\n"), "gzip") == expected


def test_no_text_is_not_a_number():
    assert math.isnan(compressed_bits_per_byte([], "gzip"))
