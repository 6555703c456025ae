"""A dialogue with a model, whatever screen it appears on."""

from __future__ import annotations

from collections.abc import Generator

from malmoi.generate.generator import Piece, generate
from malmoi.generate.prefix import PrefixCache
from malmoi.generate.sampling import SamplingSettings
from malmoi.models.language_model import LanguageModel
from malmoi.tokenizers.chat import Message, encode_prompt
from malmoi.tokenizers.tokenizer import Tokenizer


class Dialogue:
    """Remembers what was said; forgets the oldest exchange, and counts it, when the context is full.

    A base model, which has no chat template, continues each text on its own.

    Attributes:
        messages: [{"role": ..., "content": ...}], the system message included.
        forgotten: how many messages the last answer no longer saw.
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, settings: SamplingSettings, system: str = ""
    ) -> None:
        self.settings = settings
        self.forgotten = 0
        self._model, self._tokenizer = model, tokenizer
        self._cache = PrefixCache(model)
        self.reset(system)

    def reset(self, system: str = "") -> None:
        """Start anew."""
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []

    @property
    def is_chat(self) -> bool:
        """Whether the model takes part in dialogues; a base model only continues texts."""
        return self._tokenizer.chat_template is not None

    def answer(self, text: str) -> Generator[Piece]:
        """Say something and hear the answer; what was heard until a break counts as the answer.

        Raises:
            UserError: `text` alone does not fit the context.
        """
        if not self.is_chat:
            prompt = self._tokenizer.opening + self._tokenizer.encode(text)
            yield from generate(self._model, self._tokenizer, prompt, self.settings, self._cache)
            return
        self.messages.append({"role": "user", "content": text})
        heard: list[str] = []
        try:
            prompt = self._fitting_prompt()
            for piece in generate(self._model, self._tokenizer, prompt, self.settings, self._cache, begins=True):
                heard.append(piece.text)
                yield piece
        finally:
            if heard:
                self.messages.append({"role": "assistant", "content": "".join(heard)})
            else:
                self.messages.pop()

    def take_back(self) -> str | None:
        """Undo the last exchange; what the user had said, or None if nothing was."""
        if len(self.messages) < 2 or self.messages[-1]["role"] != "assistant":
            return None
        self.messages.pop()
        return self.messages.pop()["content"]

    def _fitting_prompt(self) -> list[int]:
        """Tokens of the longest end of the dialogue that leaves room for an answer, behind the system message."""
        first = 1 if self.messages[0]["role"] == "system" else 0
        context = self._model.config.context
        room = context - min(256, context // 4)
        for start in range(first, len(self.messages), 2):
            prompt = encode_prompt(self._tokenizer, self.messages[:first] + self.messages[start:])
            if len(prompt) <= room:
                break
        self.forgotten = start - first
        return prompt
