import math
from collections import Counter

import numpy as np
import pytest

from malmoi.evaluate.ngram import NGram

VOCABULARY, START = 40, 39


def sample_documents(seed, count=60):
    """A Markov chain: the next id is near the one before."""
    generator = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        steps = generator.integers(-2, 3, size=generator.integers(0, 120))
        documents.append(np.abs(np.cumsum(steps)) % (VOCABULARY - 1))
    return documents


def slow_nats(model, train, document):
    """The same model with dictionaries, one token at a time."""
    counts, contexts, lead = Counter(), Counter(), max(0, model.order - 1)
    for text in train:
        padded = [START] * lead + text.tolist()
        for place in range(lead, len(padded)):
            for order in range(1, model.order + 1):
                sequence = tuple(padded[place - order + 1 : place + 1])
                counts[sequence] += 1
                contexts[(order, sequence[:-1])] += 1
    total, padded = 0.0, [START] * lead + document.tolist()
    for place in range(lead, len(padded)):
        probability = 1 / VOCABULARY
        for order in range(1, model.order + 1):
            sequence = tuple(padded[place - order + 1 : place + 1])
            seen = contexts[(order, sequence[:-1])]
            if seen:
                weight = model.weights[order - 1][1 + int(math.log2(seen))]
                probability = weight * counts[sequence] / seen + (1 - weight) * probability
        total -= math.log(probability)
    return total


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_agrees_with_dictionaries(order):
    train, test = sample_documents(0), [*sample_documents(1, 5), np.array([38, 0, 38], dtype=np.int64)]
    model = NGram(train, VOCABULARY, order, START)
    expected = [slow_nats(model, train, document) for document in test]
    assert model.document_nats(test) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_uniform_costs_the_logarithm_of_the_vocabulary():
    assert NGram([], 16, 0, 15).document_nats([np.arange(5)]) == [pytest.approx(5 * math.log(16))]


def test_probabilities_sum_to_one():
    model = NGram(sample_documents(0), VOCABULARY, 2, START)
    each = [np.array([7, token]) for token in range(VOCABULARY)]
    first = model.document_nats([np.array([7])])[0]
    assert sum(math.exp(first - nats) for nats in model.document_nats(each)) == pytest.approx(1)


def test_longer_context_helps_on_text_that_has_it():
    train, test = sample_documents(0, 400), sample_documents(1, 40)
    costs = [sum(NGram(train, VOCABULARY, order, START).document_nats(test)) for order in (0, 1, 2)]
    assert costs[0] > costs[1] > 1.2 * costs[2]


@pytest.mark.parametrize("train", [[], [np.zeros(0, dtype=np.int64)], [np.array([5])]])
def test_too_little_training_text_falls_back_to_uniform(train):
    nats = NGram(train, VOCABULARY, 2, START).document_nats([np.array([1, 2, 3])])[0]
    assert nats < 3.5 * math.log(VOCABULARY)


def test_counting_all_of_the_text_does_not_change_the_class_of_the_unigram():
    """920 tokens tune the weight of counts up to 1023, yet all 1,030 are counted: the next class has no weight yet."""
    tokens = np.random.default_rng(0).integers(0, 4, 1_030)
    nats = NGram([tokens], VOCABULARY, 1, START).document_nats([np.array([0, 1, 2, 3])])[0]
    assert nats == pytest.approx(4 * math.log(4), rel=0.02)


def test_korean_bytes():
    train = [np.frombuffer("말을 모으고 말을 기른다. ".encode() * 200, dtype=np.uint8)]
    test = np.frombuffer("말을 기른다.".encode(), dtype=np.uint8)
    bits = NGram(train, 257, 5, 256).document_nats([test])[0] / math.log(2) / len(test)
    assert bits < 1.5


def test_an_order_too_long_for_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="63 bits"):
        NGram([], 60_000, 4, 0)
