"""A pattern to look at: as text, and as SVG."""

from __future__ import annotations

import itertools

import torch

_CELL, _MARGIN = 12, 28
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="11">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fbfaf7"/>
<text x="{margin}" y="18" fill="#65696f">key →</text>
<text x="18" y="{margin}" fill="#65696f" text-anchor="end" transform="rotate(-90 18 {margin})">query →</text>
<rect x="{margin}" y="{margin}" width="{across}" height="{down}" fill="#ffffff"/>
<path d="{seen}" fill="#0a6b62"/>
<path d="{grid}" stroke="#e3e1da" stroke-width="0.5" fill="none"/>
</svg>
"""


def as_text(mask: torch.Tensor) -> str:
    """One line a query, one sign a key: filled where the query may look. `mask` is (length, seen) boolean."""
    return "\n".join("".join("■ " if one else "· " for one in row).rstrip() for row in mask.tolist())


def as_svg(mask: torch.Tensor, title: str) -> str:
    """The same as a drawing. `mask` is (length, seen) boolean."""
    down, across = (size * _CELL for size in mask.shape)
    seen = []
    for number, row in enumerate(mask.tolist()):
        place = 0
        for allowed, run in itertools.groupby(row):
            width = len(list(run))
            if allowed:
                seen.append(
                    f"M{_MARGIN + place * _CELL} {_MARGIN + number * _CELL}h{width * _CELL}v{_CELL}h-{width * _CELL}z"
                )
            place += width
    lines = [f"M{_MARGIN + x * _CELL} {_MARGIN}v{down}" for x in range(mask.shape[1] + 1)]
    lines += [f"M{_MARGIN} {_MARGIN + y * _CELL}h{across}" for y in range(mask.shape[0] + 1)]
    return _SVG.format(
        width=across + _MARGIN + _CELL,
        height=down + _MARGIN + _CELL,
        margin=_MARGIN,
        across=across,
        down=down,
        title=title.replace("&", "&amp;"),
        seen="".join(seen),
        grid="".join(lines),
    )
