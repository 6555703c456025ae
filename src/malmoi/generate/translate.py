"""One text from another: an encoder-decoder reads the source once and writes the target token by token."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from malmoi.core.accelerator import device_of
from malmoi.core.errors import UserError, nearest
from malmoi.corpus.decode import decode
from malmoi.data.examples import one_line
from malmoi.generate.beam import beam_search, longest_target
from malmoi.generate.generator import evaluating
from malmoi.generate.sampling import SamplingSettings, next_token, random_source
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.tokenizers.tokenizer import Tokenizer

ROWS = 16
"""Texts that are translated together."""

_GREEDY = SamplingSettings(temperature=0)


def opening(tokenizer: Tokenizer, into: str, prefix: str) -> str:
    """What stands before every text.

    Args:
        into: code of the language to write, of models that write several.
        prefix: the words by which a model tells its tasks apart, as T5's do.

    Raises:
        UserError: the model does not write this language, or writes several and none is named.
    """
    known = tokenizer.languages
    if into and not known:
        raise UserError("This model takes no code of a language.", "Leave --into out.")
    if known and into not in known:
        what = f"The model does not write {into!r}." if into else "The model writes several languages."
        raise UserError(what, nearest(into, known) or f"Name one with --into: {', '.join(known)}.")
    return (f">>{into}<< " if into else "") + prefix


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, in UTF-8 or what else its bytes show.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Check the path.")
    text = decode(path.read_bytes())
    if text is None:
        raise UserError(f"{path} is no text.", "Name a file with a text a line.")
    # Not splitlines(): it would also cut at U+2028, U+0085 and others, and later targets would not stand beside theirs.
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def translate_lines(
    model: EncoderDecoder,
    tokenizer: Tokenizer,
    lines: Iterable[str],
    before: str = "",
    maximum_tokens: int | None = None,
    rows: int = ROWS,
    beams: int | None = None,
) -> Iterator[str]:
    """The target of each line, on one line, as soon as it is there; a blank line stays one.

    Args:
        lines: brought into NFC, with single blanks.
        before: what stands before every text, see `opening`.
        rows: how many are translated together.
        beams: as for `translate`.

    Raises:
        UserError: a text does not fit into the context.
    """
    remaining = iter(lines)
    while batch := [one_line(line) for line in islice(remaining, rows)]:
        texts = [before + text for text in batch if text]
        targets = iter(translate(model, tokenizer, texts, maximum_tokens, beams))
        yield from (one_line(next(targets)) if text else "" for text in batch)


def translate(
    model: EncoderDecoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    maximum_tokens: int | None = None,
    beams: int | None = None,
) -> list[str]:
    """The target of each text.

    Args:
        maximum_tokens: longest target; see `longest_target`.
        beams: beginnings that `beam_search` keeps; 1 takes the most probable token at every step; None as many as the
            model's settings say.

    Raises:
        UserError: a text does not fit into the context.
    """
    if not texts:
        return []
    rows = [torch.tensor([*ids, tokenizer.end]) for ids in tokenizer.encode_batch(texts)]
    device = device_of(model)
    source = pad_sequence(rows, batch_first=True, padding_value=model.config.start).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    beams = beams or model.config.beams
    targets = (
        greedy(model, source, lengths, tokenizer.stops, maximum_tokens)
        if beams == 1
        else beam_search(model, source, lengths, tokenizer.stops, beams, maximum_tokens)
    )
    return [tokenizer.decode(target) for target in targets]


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
        maximum_tokens: longest target; see `longest_target`.

    Raises:
        UserError: the source does not fit into the context, or the model's output is not a number.
    """
    rows, maximum = len(source), longest_target(model, source.shape[1], maximum_tokens)
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
