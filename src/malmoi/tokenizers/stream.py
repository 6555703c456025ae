"""Text from tokens as they come, never half a character."""

from __future__ import annotations

import codecs

from malmoi.tokenizers.tokenizer import Tokenizer


class TextStream:
    """Decodes one token at a time. Bytes of an unfinished character are held back until it is whole.

    The pieces, joined, are what `Tokenizer.decode` gives for all tokens at once, but for the space before a text that
    some vocabularies know and `decode` leaves out: a stream goes on from a text, where that space is one of its own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """The text that became certain with this token; often empty inside a Hangul syllable or an emoji."""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def finish(self) -> str:
        """What was held back; U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)
