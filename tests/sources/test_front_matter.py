"""What a model's README states at its head, however it is written."""

import pytest

from malmoi.sources.front_matter import join_front_matter, licence_in, split_front_matter


def test_what_is_joined_is_split_again():
    fields = {"license": "mit", "source": "hf:org/말모이", "revision": "12e5"}
    assert split_front_matter(join_front_matter(fields, "# 말모이\n---\n")) == (fields, "# 말모이\n---\n")


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# x", "apache-2.0"),
        ("---\r\nlicense: apache-2.0\r\n---\r\n# x", "apache-2.0"),
        ("---\nlicense: [mit, cc0-1.0]\n---", "mit, cc0-1.0"),
        ("---\nlicense: other\nlicense_name: 꽃-licence\n---\n", "꽃-licence"),
        ("---\nlicense: other\n---\n", "other"),
        ('---\nlicense: "a\\e[31mb\\n"\n---\n', "a[31mb"),
        ("---\nlicense: {a: [b]}\n---\n", ""),
        ("---\nlicense: 7\n---\n", ""),
        ("---\n---\n", ""),
        ("---\nlicense: mit\n", ""),
        ("license: mit", ""),
        ("---\n- mit\n---\n", ""),
        ("---\nlicense: mit: x\n---\n", ""),
        ("---\nlicense: " + "[" * 400 + "\n---\n", ""),
        ("---\nlicense: mit\ndate: 2026-99-99\n---\n", ""),
        ("", ""),
    ],
)
def test_the_licence(text, licence):
    assert licence_in(split_front_matter(text)[0]) == licence
