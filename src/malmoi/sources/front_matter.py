"""The YAML between `---` lines at the head of a README.md or card.md, where models state their licence."""

from __future__ import annotations

import re
from typing import Any

import yaml

_LONGEST = 1 << 16


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The fields at the head of a Markdown text, and the text below them; no fields where they cannot be read."""
    match = re.match(r"---\r?\n(.*?\n)?---[ \t]*\r?(\n|$)", text[:_LONGEST], re.DOTALL)
    if match is None:
        return {}, text
    try:
        fields = yaml.safe_load(match[1] or "")
    except (yaml.YAMLError, ValueError, RecursionError):
        fields = None
    return (fields if isinstance(fields, dict) else {}), text[match.end() :].lstrip()


def join_front_matter(fields: dict[str, Any], text: str) -> str:
    """A Markdown text with these fields at its head."""
    return f"---\n{yaml.safe_dump(fields, allow_unicode=True, sort_keys=False)}---\n\n{text}"


def licence_in(fields: dict[str, Any]) -> str:
    """The licence as a line of text, "" where none is stated.

    The hub writes the identifier, a list of them, or "other" with a name beside it.
    """
    stated = fields.get("license")
    if stated == "other" and fields.get("license_name"):
        stated = fields["license_name"]
    names = stated if isinstance(stated, list) else [stated]
    line = ", ".join(name for name in names if isinstance(name, str))
    return "".join(character for character in line if character.isprintable())[:100]
