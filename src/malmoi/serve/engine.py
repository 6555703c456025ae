"""One model, one thread, one answer at a time; the others wait their turn."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from malmoi.generate.generator import Piece, generate
from malmoi.generate.prefix import PrefixCache
from malmoi.generate.sampling import SamplingSettings
from malmoi.models.language_model import LanguageModel
from malmoi.serve.errors import ApiError
from malmoi.tokenizers.tokenizer import Tokenizer

Result = TypeVar("Result")


class Engine:
    """Generates on a thread of its own and keeps the cache from one request to the next."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, name: str, waiting: int = 8) -> None:
        """Args: waiting: how many requests may wait behind the one at work."""
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self._cache = PrefixCache(model)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generation")
        self._places = waiting + 1
        self._generations: set[Generation] = set()

    def start(self, prompts: list[list[int]], settings: SamplingSettings, *, begins: bool) -> Generation:
        """Take a place in the queue; the prompts of one request are answered one after the other.

        Args:
            begins: see `generate`.

        Raises:
            UserError: a prompt does not fit the context.
            ApiError: the queue is full (429).
        """
        model, tokenizer, cache = self.model, self.tokenizer, self._cache
        answers = [generate(model, tokenizer, prompt, settings, cache, begins=begins) for prompt in prompts]
        if len(self._generations) >= self._places:
            raise ApiError(
                429, f"{len(self._generations)} requests are at work or waiting; try again shortly.", code="queue_full"
            )
        generation = Generation(answers)
        self._generations.add(generation)
        generation.run_on(self._thread, lambda: self._generations.discard(generation))
        return generation

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do something else with the model, in turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Cancel what is at work or waiting."""
        for generation in list(self._generations):
            generation.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


class Generation:
    """One request's pieces, each with the number of its prompt, as they come."""

    def __init__(self, answers: list[Iterator[Piece]]) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[int, Piece] | Exception | None] = asyncio.Queue()
        self._cancelled = threading.Event()
        self._future: Future[None] | None = None

    def run_on(self, thread: ThreadPoolExecutor, done: Callable[[], None]) -> None:
        """Queue the work; `done` is called in the event loop once it has ended in whatever way."""
        self._future = thread.submit(self._work)

        def ended(_: Future[None]) -> None:
            self._tell(self._queue.put_nowait, None)
            self._tell(done)

        self._future.add_done_callback(ended)

    @property
    def ended(self) -> bool:
        """Whether the model is done with it."""
        return self._future is not None and self._future.done()

    def cancel(self) -> None:
        """Stop after the token at hand, or never begin."""
        self._cancelled.set()
        if self._future:
            self._future.cancel()

    async def __aiter__(self) -> AsyncIterator[tuple[int, Piece]]:
        """The pieces; ends early, without a finish reason, when cancelled.

        Raises:
            Exception: whatever the model raised.
        """
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.cancel()

    def _work(self) -> None:
        try:
            for index, pieces in enumerate(self._answers):
                for piece in pieces:
                    if self._cancelled.is_set():
                        return
                    self._tell(self._queue.put_nowait, (index, piece))
        except Exception as error:
            self._tell(self._queue.put_nowait, error)

    def _tell(self, action: Callable[..., None], *values: object) -> None:
        """Do something in the event loop, unless it is closed because the server is going down."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action, *values)
