"""A shuffled order without state: a permutation that can be asked for any place."""

from __future__ import annotations

import hashlib

import numpy as np

ROUNDS = 6

Places = np.ndarray[tuple[int], np.dtype[np.uint64]]


def permute(places: Places, size: int, key: str) -> Places:
    """The images of `places` under a permutation of range(size) that `key` chooses.

    A Feistel network over the next even power of two, walked until it lands inside the range
    (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").

    Args:
        places: (n,) uint64, each below `size`.
    """
    half = np.uint64(max(1, (max(1, size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.frombuffer(hashlib.sha256(key.encode()).digest() * 2, dtype=np.uint64)[:ROUNDS]
    image = _feistel(np.asarray(places, dtype=np.uint64), half, mask, keys)
    while (outside := image >= size).any():
        image[outside] = _feistel(image[outside], half, mask, keys)
    return image


def _feistel(places: Places, half: np.uint64, mask: np.uint64, keys: Places) -> Places:
    left, right = places >> half, places & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << half) | right


def _mix(value: Places) -> Places:
    """The finaliser of splitmix64 (Steele and others 2014)."""
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
