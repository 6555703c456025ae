"""The text of a web page, without its menus and markup."""

from __future__ import annotations

from pathlib import Path

from malmoi.core.errors import MissingExtra


def html_text(page: str, path: Path) -> str | None:
    """The main text of a page, or None when it has none; `path` is only used to say what needs the package."""
    try:
        import trafilatura
    except ImportError:
        raise MissingExtra("trafilatura", "corpus", f"Reading {path.name}") from None
    text: str | None = trafilatura.extract(page, include_comments=False, include_tables=True)
    return text
