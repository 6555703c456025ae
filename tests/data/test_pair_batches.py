"""Batches of pairs: each pair once an epoch, hardly any padding, the same order for the same seed."""

import random
from itertools import chain

import pytest
import torch

from malmoi.data.batch import IGNORED
from malmoi.data.pair_batches import EncodedPair, PairBatches, collate_pairs

START = 99


@pytest.fixture
def pairs():
    chance = random.Random(0)
    lengths = [(length, length + chance.randrange(4)) for length in chance.choices(range(1, 20), k=300)]
    return [EncodedPair([number] * source, [number] * target) for number, (source, target) in enumerate(lengths)]


def numbers(batch):
    return batch.source[:, 0].tolist()


def epoch(batches, number):
    first = number * batches.batches
    return [batches.batch(step, 0) for step in range(first, first + batches.batches)]


def test_a_batch_has_its_target_one_place_later_as_its_input():
    batch = collate_pairs([EncodedPair([5, 6, 7], [8, 9]), EncodedPair([5], [8])], START)
    assert batch.source.tolist() == [[5, 6, 7], [5, START, START]]
    assert batch.source_lengths.tolist() == [3, 1]
    assert batch.inputs.tolist() == [[START, 8], [START, START]]
    assert batch.targets.tolist() == [[8, 9], [8, IGNORED]]


def test_an_epoch_has_each_pair_once_and_the_next_one_another_order(pairs):
    batches = PairBatches(pairs, [], START, tokens=120, seed=1)
    first, second = ([numbers(batch) for batch in epoch(batches, number)] for number in (0, 1))
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(300))
    assert first != second
    assert {tuple(batch) for batch in first} != {tuple(batch) for batch in second}


def test_the_budget_counts_padding_and_there_is_little(pairs):
    found = epoch(PairBatches(pairs, [], START, tokens=120), 0)
    padded = [batch.source.numel() + batch.targets.numel() for batch in found]
    real = sum(len(pair.source) + len(pair.target) for pair in pairs)
    assert max(padded) <= 120
    assert sum(padded) < 1.15 * real


def test_a_pair_beyond_the_budget_stands_alone(pairs):
    long = EncodedPair([7] * 200, [7] * 200)
    found = epoch(PairBatches([*pairs, long], [], START, tokens=120), 0)
    assert [len(batch.source) for batch in found if batch.source.shape[1] == 200] == [1]


def test_the_order_is_a_function_of_seed_step_and_slot(pairs):
    one, same, other = (PairBatches(pairs, [], START, 120, slots=2, seed=seed) for seed in (1, 1, 2))
    places = [(9, 1), (0, 0), (40, 1)]
    assert [numbers(one.batch(*place)) for place in places] == [numbers(same.batch(*place)) for place in places]
    assert [numbers(one.batch(*place)) for place in places] != [numbers(other.batch(*place)) for place in places]
    assert one.steps(2) == round(2 * one.batches / 2)


def test_validation_has_all_held_out_pairs_each_time(pairs):
    batches = PairBatches(pairs[:9], pairs, START, tokens=120)
    for _ in range(2):
        assert sorted(chain(*map(numbers, batches.validation()))) == list(range(300))
    assert list(PairBatches(pairs, [], START, 120).validation()) == []
    assert torch.equal(next(batches.validation()).source, next(batches.validation()).source)
