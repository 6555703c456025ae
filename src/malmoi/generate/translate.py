"""One text from another: an encoder-decoder reads the source once and writes the target token by token."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from malmoi.generate.generator import evaluating
from malmoi.generate.sampling import SamplingSettings, next_token, random_source
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.tokenizers.tokenizer import Tokenizer

_GREEDY = SamplingSettings(temperature=0)
_SHORTEST = 256
"""Tokens that a target may always have where nobody says how many."""


def translate(
    model: EncoderDecoder, tokenizer: Tokenizer, texts: Sequence[str], maximum_tokens: int | None = None
) -> list[str]:
    """The target of each text, its most probable token at every step.

    Args:
        maximum_tokens: as for `greedy`.

    Raises:
        UserError: a text does not fit into the context.
    """
    if not texts:
        return []
    rows = [torch.tensor([*ids, tokenizer.end]) for ids in tokenizer.encode_batch(texts)]
    device = model.embedding.weight.device
    source = pad_sequence(rows, batch_first=True, padding_value=model.config.start).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return [tokenizer.decode(row) for row in greedy(model, source, lengths, tokenizer.stops, maximum_tokens)]


@torch.inference_mode()
def greedy(
    model: EncoderDecoder,
    source: torch.Tensor,
    lengths: torch.Tensor | None,
    stops: Collection[int],
    maximum_tokens: int | None = None,
) -> list[list[int]]:
    """The target of each source, the most probable token at every step, up to the first stop, which it includes.

    Args:
        source: (rows, length) int64, padded on the right.
        lengths: (rows,) int64, the number of real tokens; None where nothing is padded.
        stops: ids that end a target.
        maximum_tokens: longest target; None for twice the length of the source, at least 256.

    Raises:
        UserError: the source does not fit into the context, or the model's output is not a number.
    """
    rows, length = source.shape
    maximum = min(model.config.context, maximum_tokens or max(2 * length, _SHORTEST))
    targets: list[list[int]] = [[] for _ in range(rows)]
    written = [model.config.start] * rows
    unused = random_source(seed=0)
    with evaluating(model):
        memory, cache = model.encode(source, lengths), model.cache(rows, maximum)
        for _ in range(maximum):
            tokens = torch.tensor(written, device=source.device)[:, None]
            logits = model.head(model.decode(tokens, memory, lengths, cache)[:, -1]).cpu()
            logits[:, list(model.config.never)] = -torch.inf
            written = [next_token(row, _GREEDY, unused, []) for row in logits]
            for target, token in zip(targets, written, strict=True):
                if not (target and target[-1] in stops):
                    target.append(token)
            if all(target[-1] in stops for target in targets):
                break
    return targets
