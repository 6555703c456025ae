"""Text from tokens as they come, never half a character."""

from __future__ import annotations

import codecs

from malmoi.tokenizers.tokenizer import Tokenizer


class TextStream:
    """Decodes one token at a time. Bytes of an unfinished character are held back until it is whole.

    The pieces, joined, are what `Tokenizer.decode` gives for all tokens at once. A stream that goes on from a text
    keeps the space that some vocabularies put before a text and `decode` leaves out: there it is one of its own.

    Args:
        begins: the tokens are a text of their own and do not go on from one.
    """

    def __init__(self, tokenizer: Tokenizer, *, begins: bool = False) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._left_out = tokenizer.leading if begins else ""

    def feed(self, token: int) -> str:
        """The text that became certain with this token; often empty inside a Hangul syllable or an emoji."""
        text = self._decoder.decode(self._tokenizer.token_bytes(token))
        if text:
            text, self._left_out = text.removeprefix(self._left_out), ""
        return text

    def finish(self) -> str:
        """What was held back; U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)
