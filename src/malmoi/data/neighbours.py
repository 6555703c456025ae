"""Vectors of tokens from counting: tokens that have the same neighbours get alike ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from malmoi.data.store import Tokens

WINDOW = 5
"""How many tokens to either side count as neighbours."""

COUNTED = 1 << 22
"""Tokens of each text that are counted at most."""

ROUNDS, SPARE = 4, 16
"""Of the search for the largest eigenvalues: how often it multiplies, and with how many more directions."""


def neighbour_vectors(texts: Iterable[Tokens], vocabulary: int, width: int, end: int, seed: int) -> torch.Tensor:
    """Vectors of all tokens whose products come near to how much more often than by chance two of them meet.

    The table of positive pointwise mutual information, factorized; learning to tell neighbours from other words comes
    to the same (Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization").

    Args:
        texts: (n,) ids each.
        end: id that stands behind each document; tokens of two documents are no neighbours.

    Returns:
        (vocabulary, width) float32, narrower where the vocabulary is smaller. Zeros for tokens that have no neighbours;
        the root mean square of all numbers is 1, if there are any.
    """
    pairs, counts = _pairs(texts, vocabulary, end)
    table = _information(pairs, counts, vocabulary)
    vectors = _factors(table, min(width, vocabulary), seed)
    vectors[table.crow_indices().diff() == 0] = 0
    return vectors / vectors.square().mean().sqrt().clamp_min(1e-12)


def _pairs(texts: Iterable[Tokens], vocabulary: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of neighbours once as one number, left x vocabulary + right, sorted; and how often it stands there."""
    pairs, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for text in texts:
        tokens = np.asarray(text[:COUNTED], dtype=np.int64)
        documents = np.cumsum(tokens == end)
        for distance in range(1, min(WINDOW, len(tokens) - 1) + 1):
            left, right = tokens[:-distance], tokens[distance:]
            near = (documents[:-distance] == documents[distance:]) & (left != end)
            found, often = np.unique(left[near] * vocabulary + right[near], return_counts=True)
            pairs.append(found)
            counts.append(often)
    distinct, place = np.unique(np.concatenate(pairs), return_inverse=True)
    return distinct, np.bincount(place, np.concatenate(counts), len(distinct)).astype(np.int64)


def _information(pairs: NDArray[np.int64], counts: NDArray[np.int64], vocabulary: int) -> torch.Tensor:
    """(vocabulary, vocabulary) sparse float32, symmetric: the log of how much more often than by chance two meet."""
    left, right = np.divmod(pairs, vocabulary)
    places = torch.from_numpy(np.stack([np.concatenate([left, right]), np.concatenate([right, left])]))
    both = torch.from_numpy(np.tile(counts, 2)).double()
    table = torch.sparse_coo_tensor(places, both, (vocabulary, vocabulary), check_invariants=False).coalesce()
    (left_ids, right_ids), often = table.indices(), table.values()
    alone = torch.zeros(vocabulary, dtype=often.dtype).index_add_(0, left_ids, often)
    more = (often * often.sum() / (alone[left_ids] * alone[right_ids])).log().float()
    kept = more > 0
    positive = torch.sparse_coo_tensor(table.indices()[:, kept], more[kept], table.shape, check_invariants=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR")  # in beta, and seven times as fast
        return positive.coalesce().to_sparse_csr()


def _factors(table: torch.Tensor, width: int, seed: int) -> torch.Tensor:
    """(n, width), eigenvectors of a symmetric table times the roots of their eigenvalues' sizes, the largest first.

    By subspace iteration from random directions (Halko and others 2011, arXiv:0909.4061).
    """
    size = len(table)
    directions = torch.randn(size, min(size, width + SPARE), generator=torch.Generator().manual_seed(seed))
    for _ in range(ROUNDS):
        directions = torch.linalg.qr(table @ directions).Q
    values, vectors = torch.linalg.eigh(directions.mT @ (table @ directions))
    largest = values.abs().argsort(descending=True)[:width]
    factors: torch.Tensor = directions @ vectors[:, largest] * values[largest].abs().sqrt()
    return factors
