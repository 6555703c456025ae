"""Tasks whose items are made by a seed: additions, and real words with a slip of the pen."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable

from malmoi.core.errors import UserError
from malmoi.data.examples import Example, without_repeats

_WORDS = re.compile(r"[^\W\d_]+")
_HANGUL = re.compile("[가-힣]+")

SHORTEST, SHORTEST_HANGUL = 5, 3
"""Characters of a word that a slip leaves recognisable; a Hangul syllable says more than a letter."""


def additions(count: int, seed: int) -> list[Example]:
    """Different sums of two numbers with two digits each: "27 + 45" and "72".

    Raises:
        UserError: there are not so many.
    """
    pairs = [(first, second) for first in range(10, 100) for second in range(10, 100)]
    if count > len(pairs):
        raise UserError(f"There are {len(pairs):,} additions of two numbers with two digits.", "Lower limit.")
    chosen = random.Random(seed).sample(pairs, count)
    return [Example(f"{first} + {second}", str(first + second)) for first, second in chosen]


def misspellings(texts: Iterable[str], count: int, seed: int) -> list[Example]:
    """Frequent words of the texts, each with two neighbouring characters swapped or one left out, and the word.

    Names are left out as far as a capital tells, and so is a slip that is a word of the texts itself.

    Raises:
        UserError: the texts hold too few words.
    """
    words = Counter(word for text in texts for word in _WORDS.findall(text))
    fitting = [word for word, times in words.most_common() if times > 1 and _fits(word)]
    frequent = fitting[: max(2 * count, len(fitting) // 4)]
    chance = random.Random(seed)
    made = [Example(_slip(word, chance), word) for word in chance.sample(frequent, len(frequent))]
    examples = without_repeats([example for example in made if example.input not in words])
    if len(examples) < count:
        raise UserError(
            f"The texts hold {len(examples):,} words that occur twice and are long enough to misspell, of {count:,}.",
            "Lower limit or shots, or name longer texts.",
        )
    return examples[:count]


def _fits(word: str) -> bool:
    if _HANGUL.fullmatch(word):
        return len(word) >= SHORTEST_HANGUL
    return word.islower() and len(word) >= SHORTEST


def _slip(word: str, chance: random.Random) -> str:
    """Swap or leave out behind the first character, by which a reader finds a word."""
    place = chance.randrange(1, len(word) - 1)
    if chance.random() < 0.5:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + word[place + 1 :]
