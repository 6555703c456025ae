"""Rows from several sources: shares as weighted, each window once an epoch, nothing about it is state."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.data.mixture import Mixture

CONTEXT = 8
SOURCES = {"tales": np.arange(0, 400, dtype=np.uint16), "wiki": np.arange(1_000, 3_000, dtype=np.uint16)}


def mixture(weights=None, held_out=None, **changes) -> Mixture:
    settings = {"context": CONTEXT, "rows": 10} | changes
    return Mixture(SOURCES, held_out or {}, weights or {}, **settings)


def test_targets_are_the_next_tokens():
    batch = mixture().batch(step=3, slot=0)
    assert batch.tokens.shape == batch.targets.shape == (10, CONTEXT)
    assert batch.tokens.dtype == torch.int64
    assert torch.equal(batch.targets, batch.tokens + 1)


def test_a_batch_is_a_function_of_its_number():
    first, again = mixture(slots=2), mixture(slots=2)
    for step in (7, 0, 300):
        assert torch.equal(first.batch(step, 1).tokens, again.batch(step, 1).tokens)
    assert not torch.equal(first.batch(0, 0).tokens, first.batch(0, 1).tokens)
    assert not torch.equal(first.batch(0, 0).tokens, mixture(slots=2, seed=1).batch(0, 0).tokens)


def test_accumulation_sees_the_rows_of_one_large_batch():
    large, small = mixture(rows=20), mixture(rows=5, slots=4)
    parts = torch.cat([small.batch(2, slot).tokens for slot in range(4)])
    assert torch.equal(large.batch(2, 0).tokens, parts)


def test_each_window_comes_once_an_epoch():
    source = mixture({"tales": 1})
    windows = len(SOURCES["tales"]) // CONTEXT - 1
    starts = [int(row[0]) for step in range(10) for row in source.batch(step, 0).tokens][:windows]
    assert len(set(starts)) == windows
    assert len({start % CONTEXT for start in starts}) == 1
    assert all(b >= a + CONTEXT for a, b in zip(sorted(starts), sorted(starts)[1:], strict=False))


def test_another_epoch_has_another_order():
    source = mixture({"tales": 1}, rows=49)
    first, second = source.batch(0, 0).tokens[:, 0], source.batch(1, 0).tokens[:, 0]
    assert first.tolist() != second.tolist()


def test_weights_count_tokens_and_are_reported():
    source = mixture({"tales": 3, "wiki": 1})
    taken = Counter(
        "tales" if row[0] < 1_000 else "wiki" for step in range(137) for row in source.batch(step, 0).tokens
    )
    shares = source.shares(137)
    assert {name: share.share for name, share in shares.items()} == {n: taken[n] / 1_370 for n in shares}
    assert shares["tales"].weight == 0.75
    assert shares["tales"].share == pytest.approx(0.75, abs=0.02)
    assert shares["tales"].epochs == pytest.approx(taken["tales"] / 49)


def test_without_weights_sources_count_by_their_size():
    assert mixture().weights == {"tales": pytest.approx(1 / 6), "wiki": pytest.approx(5 / 6)}


def test_validation_has_every_held_out_token_once():
    held_out = {"tales": np.arange(50, 83, dtype=np.uint16), "wiki": np.arange(7, 9, dtype=np.uint16)}
    source = mixture(held_out=held_out, rows=2)
    targets = [batch.targets[batch.targets != IGNORED] for batch in source.validation()]
    assert torch.cat(targets).tolist() == [*range(51, 83), 8]
    assert len(list(source.validation())) == len(targets)


def test_nothing_is_held_out():
    assert list(mixture().validation()) == []


def test_a_text_too_small_for_its_context_is_named_with_its_numbers():
    with pytest.raises(UserError, match=r"'tales' has 400 tokens, too few for a context of 300.*context=100"):
        mixture({"tales": 1}, context=300)


def test_a_weight_of_an_unknown_source_names_the_nearest():
    with pytest.raises(UserError, match="'tale', of which .* Did you mean 'tales'"):
        mixture({"tale": 1})


@pytest.mark.parametrize("weights", [{"tales": -1}, {"tales": 0}])
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(UserError):
        mixture(weights)


class Endless:
    """Tokens of which nobody has seen the end; counts what is read of them."""

    def __init__(self, count):
        self.count, self.read = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, places):
        self.read += places.stop - places.start
        return np.arange(places.start, places.stop).astype(np.uint32)


def test_trillions_are_planned_without_reading_them():
    sources = {"web": Endless(4_000_000_000_000), "책": Endless(60_000_000_000), "wiki": Endless(3_000_000_000)}
    tracemalloc.start()
    source = Mixture(sources, {}, {"web": 0.8, "책": 0.17, "wiki": 0.03}, context=2_048, rows=4)
    shares = source.shares(steps=300_000_000_000 // (4 * 2_048))
    batch = source.batch(36_000_000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {name: round(share.epochs, 2) for name, share in shares.items()} == {"web": 0.06, "책": 0.85, "wiki": 3.0}
    assert batch.tokens.shape == (4, 2_048)
    assert sum(one.read for one in sources.values()) == 4 * 2_049
    assert peak < 1 << 21
