"""General compressors on the held-out text: what can be had without having learned any language.

They see only the text itself and are not primed with the training text, so they start from nothing; a model that has
been trained should be well below them.
"""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Iterable

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, compresslevel=9, mtime=0),
    "xz": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}
"""Name -> function from bytes to fewer bytes, each at its strongest setting."""


def compressed_bits_per_byte(texts: Iterable[str], compressor: str) -> float:
    """Bits of the compressed file, header included, for each UTF-8 byte of the texts joined with newlines."""
    data = "\n".join(texts).encode()
    return 8 * len(COMPRESSORS[compressor](data)) / len(data) if data else float("nan")
