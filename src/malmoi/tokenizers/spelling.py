"""What a token stands for in a text, by the decoder of its vocabulary."""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import decoders

from malmoi.core.errors import UserError

_KNOWN = {"Sequence", "ByteLevel", "Fuse", "Replace", "ByteFallback", "Strip", "Metaspace", "WordPiece"}
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")


def byte_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's byte-level spelling: printable bytes as themselves, the others from U+0100 up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


class Speller:
    """Token -> bytes, whatever stands around it, so that the bytes of a row of tokens can be joined.

    Attributes:
        leading: the space that the bytes of a whole text begin with and the text does not, or "": SentencePiece and
            WordPiece mark where a word starts, also before the first one.

    Raises:
        UserError: tokens of this decoder have no bytes of their own.
    """

    def __init__(self, decoder: Any) -> None:
        state: dict[str, Any] = json.loads(decoder.__getstate__()) if decoder is not None else {"type": "None"}
        steps: list[dict[str, Any]] = state["decoders"] if state["type"] == "Sequence" else [state]
        kinds = [step["type"] for step in steps]
        if unknown := [kind for kind in kinds if kind not in _KNOWN]:
            raise UserError(
                f"A tokenizer with the decoder {unknown[0]} is not supported.",
                "Use one of byte-level BPE, SentencePiece, WordPiece, words or characters.",
            )
        strips = any(step.get("start") or step.get("prepend_scheme", "never") != "never" for step in steps)
        self.leading = " " if strips or "WordPiece" in kinds else ""
        self._decoder: decoders.Decoder = decoder
        self._letters = byte_alphabet() if "ByteLevel" in kinds else None
        self._falls_back = "ByteFallback" in kinds

    def spell(self, token: str, *, added: bool) -> bytes:
        """The bytes of a token.

        Args:
            added: it was added to the vocabulary as a whole word, so a byte-level one is spelled as it stands.
        """
        if self._letters is not None:
            letters = {} if added else self._letters
            return b"".join(
                bytes((letters[character],)) if character in letters else character.encode() for character in token
            )
        if self._falls_back and (byte := _BYTE.fullmatch(token)):
            return bytes.fromhex(byte[1])
        behind_another: str = self._decoder.decode(["a", token])
        return behind_another[1:].encode()
