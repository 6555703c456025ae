"""Cards: what a named source is, its licence, and where its files are to be had."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from malmoi.core.config import Settings, parse_settings
from malmoi.core.errors import UserError, nearest


class CardFile(Settings):
    """One file on a card.

    Attributes:
        name: its name once fetched.
        sha256: of its content; None where the origin may change it, and the sum is then only recorded.
        bytes: its size, which no download or archive member may exceed; 0 where the origin may change it.
        mirror: path inside MALMOI_MIRROR, besides SOURCE/NAME.
        places: where to get it, tried in order; see `malmoi.sources.places`.
    """

    name: str
    sha256: str | None
    bytes: int = 0
    mirror: str = ""
    places: tuple[str, ...] = ()


class Card(Settings):
    """A named source.

    Attributes:
        about: what it is, in one sentence.
        licence: SPDX identifier, or what is known.
        language: BCP 47 code, or "" where it does not apply.
        shape: the preset of weights that fine-tuning may start from, else "".
        files: in the order in which they are used.
    """

    about: str
    licence: str
    language: str = ""
    shape: str = ""
    files: tuple[CardFile, ...]

    @property
    def is_model(self) -> bool:
        """Whether the source is weights of a model of text."""
        return any(file.name == "config.json" or file.name.endswith(".gguf") for file in self.files)

    @property
    def is_image_model(self) -> bool:
        """Whether the source is weights of a network for images."""
        return any(file.name.endswith(".pth") for file in self.files)


@cache
def all_cards() -> dict[str, Card]:
    """Every card by the name of its file."""
    folder = resources.files("malmoi.sources") / "cards"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {
        file.name.removesuffix(".yaml"): parse_settings(
            Card, yaml.safe_load(file.read_text(encoding="utf-8")), f"card {file.name}"
        )
        for file in files
    }


def find_card(name: str) -> Card:
    """The card of a source.

    Raises:
        UserError: there is none; names the nearest.
    """
    cards = all_cards()
    if name not in cards:
        raise UserError(f"There is no source {name!r}.", nearest(name, cards) or f"Known: {', '.join(cards)}.")
    return cards[name]
