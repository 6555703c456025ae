"""Beam search: the best targets of an encoder-decoder, found by keeping several beginnings of each."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from malmoi.core.errors import UserError
from malmoi.generate.generator import evaluating
from malmoi.layers.cache import KeyValueCache
from malmoi.models.seq2seq import EncoderDecoder

_SHORTEST = 256
"""Tokens that a target may always have where nobody says how many."""


def longest_target(model: EncoderDecoder, length: int, maximum_tokens: int | None) -> int:
    """Tokens that the target of a source of `length` tokens may have: by default twice as many, at least 256."""
    return min(model.config.context, maximum_tokens or max(2 * length, _SHORTEST))


@dataclass
class _Search:
    """The search for one target.

    Attributes:
        beams: how many beginnings are kept.
        finished: (score, order, target) of the best finished targets; the worst one first.
        done: nothing better is expected.
    """

    beams: int
    finished: list[tuple[float, int, list[int]]] = field(default_factory=list)
    done: bool = False

    def finish(self, score: float, target: list[int]) -> None:
        """Take a finished target; `score` is the mean log-probability of its tokens."""
        entry = (score, -len(target), target)
        if len(self.finished) < self.beams:
            heapq.heappush(self.finished, entry)
        else:
            heapq.heappushpop(self.finished, entry)

    def settle(self, best_open: float) -> None:
        """Stop as soon as no open beginning has a better mean so far than the worst of enough finished targets."""
        self.done = self.done or (len(self.finished) == self.beams and best_open <= self.finished[0][0])

    @property
    def best(self) -> list[int]:
        """The best finished target."""
        return max(self.finished)[2]


@torch.inference_mode()
def beam_search(
    model: EncoderDecoder,
    source: torch.Tensor,
    lengths: torch.Tensor | None,
    stops: Collection[int],
    beams: int,
    maximum_tokens: int | None = None,
) -> list[list[int]]:
    """The target of each source with the highest mean log-probability among those found, its stop included.

    Every step keeps the `beams` most probable beginnings that do not end. Those among the best that end, or are as long
    as a target may be, are finished. Dividing by the length keeps long targets from losing (Wu and others 2016,
    arXiv:1609.08144, section 7, with an exponent of 1). What `transformers` finds with `num_beams` is the same.

    Args:
        source: (rows, length) int64, padded on the right.
        lengths: (rows,) int64, the number of real tokens; None where nothing is padded.
        stops: ids that end a target.
        beams: beginnings kept of each target.
        maximum_tokens: longest target; see `longest_target`.

    Raises:
        UserError: the source does not fit into the context, or the model's output is not a number.
    """
    rows, device = len(source), source.device
    maximum = longest_target(model, source.shape[1], maximum_tokens)
    ends = torch.tensor(sorted(stops), dtype=torch.int64, device=device)
    searches = [_Search(beams) for _ in range(rows)]
    scores = torch.full((rows, beams), -torch.inf, device=device)
    scores[:, 0] = 0  # else all beams would begin alike
    targets = torch.empty((rows, beams, 0), dtype=torch.int64, device=device)
    written = torch.full((rows * beams, 1), model.config.start, device=device)
    first = beams * torch.arange(rows, device=device)[:, None]
    with evaluating(model):
        memory = model.encode(source, lengths).repeat_interleave(beams, 0)
        real = None if lengths is None else lengths.repeat_interleave(beams)
        cache = model.cache(rows * beams, maximum)
        for length in range(1, maximum + 1):
            sums = scores[..., None] + _next(model, written, memory, real, cache).view(rows, beams, -1)
            best, places = sums.flatten(1).topk(min((1 + max(1, len(ends))) * beams, sums[0].numel()))
            origin, token = places // sums.shape[2], places % sums.shape[2]
            ended = torch.isin(token, ends) | (length == maximum)
            grown = torch.cat([targets.take_along_dim(origin[..., None], 1), token[..., None]], 2)
            _finish(searches, best[:, :beams] / length, ended[:, :beams], grown)
            scores, kept = best.masked_fill(ended, -torch.inf).topk(beams)
            for search, score in zip(searches, (scores[:, 0] / length).tolist(), strict=True):
                search.settle(score)
            if length == maximum or all(search.done for search in searches):
                break
            targets, written = grown.take_along_dim(kept[..., None], 1), token.gather(1, kept).view(-1, 1)
            cache.select((first + origin.gather(1, kept)).flatten())
    return [search.best for search in searches]


def _next(
    model: EncoderDecoder, written: torch.Tensor, memory: torch.Tensor, real: torch.Tensor | None, cache: KeyValueCache
) -> torch.Tensor:
    """(rows, vocabulary) float32 log-probabilities of the tokens behind `written`."""
    likelihoods: torch.Tensor = model.head(model.decode(written, memory, real, cache)[:, -1]).float().log_softmax(-1)
    if not torch.isfinite(likelihoods.amax(-1)).all():
        raise UserError("The model's output is not a number.", "Its weights are damaged; use an earlier checkpoint.")
    likelihoods[:, list(model.config.never)] = -torch.inf
    return likelihoods


def _finish(searches: list[_Search], means: torch.Tensor, ended: torch.Tensor, targets: torch.Tensor) -> None:
    """Give each search those of its best targets that have ended; (rows, beams), and (rows, more, length) tokens."""
    rows, places = (ended & means.isfinite()).nonzero(as_tuple=True)
    found = zip(rows.tolist(), means[rows, places].tolist(), targets[rows, places].tolist(), strict=True)
    for row, mean, target in found:
        if not searches[row].done:
            searches[row].finish(mean, target)
