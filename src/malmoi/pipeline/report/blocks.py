"""What a section of the report is made of. Each block has a macro of its name in `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from malmoi.pipeline.report.chart import LineChart, tidy


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Facts:
    """Names with values, in columns."""

    items: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Table:
    """Rows of text under columns; a column whose title begins with '#' is set flush right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    last_is_total: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Bar:
    """One bar; `role` is "main", "control", "kept" or "dropped"."""

    name: str
    value: float
    text: str
    role: str = "control"


@dataclass(frozen=True)
class Bars:
    """Horizontal bars on a common scale that starts at zero."""

    title: str
    bars: Sequence[Bar]
    kind: str = "bars"

    @property
    def longest(self) -> float:
        """The value of the longest bar."""
        return max((bar.value for bar in self.bars), default=0) or 1


@dataclass(frozen=True)
class Chart:
    """A line chart."""

    chart: LineChart
    kind: str = "chart"


@dataclass(frozen=True)
class Tokens:
    """A text cut into its tokens."""

    title: str
    tokens: Sequence[str]
    kind: str = "tokens"


@dataclass(frozen=True)
class Samples:
    """What a model wrote after one prompt: (heading, continuation) of each checkpoint."""

    prompt: str
    texts: Sequence[tuple[str, str]]
    kind: str = "samples"

    @property
    def is_grid(self) -> bool:
        """Whether the last text is a drawing: lines of one length below each other."""
        lines = self.texts[-1][1].splitlines()
        return len(lines) > 3 and len({len(line) for line in lines[:-1]}) == 1


@dataclass(frozen=True)
class Confusion:
    """A table of true (rows) against predicted (columns) classes, with the shares of each row."""

    title: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    true_title: str
    predicted_title: str
    kind: str = "confusion"

    def share(self, row: int, column: int) -> float:
        """Which share of the true class `row` was put into `column`."""
        return self.counts[row][column] / (sum(self.counts[row]) or 1)


@dataclass(frozen=True)
class Picture:
    """An image under its caption; `address` holds the image itself, see `pipeline.pictures`."""

    caption: str
    address: str


@dataclass(frozen=True)
class Pictures:
    """Images beside each other, "large" grids or "small" single ones; their pixels are shown as squares."""

    title: str
    pictures: Sequence[Picture]
    size: str = "large"
    kind: str = "pictures"


@dataclass(frozen=True)
class Heat:
    """Shares by words on both axes; each row adds up to 1."""

    title: str
    columns: Sequence[str]
    rows: Sequence[str]
    shares: Sequence[Sequence[float]]
    kind: str = "heat"


@dataclass(frozen=True)
class Pairs:
    """Figures side by side where the page is wide enough."""

    blocks: Sequence[Bars | Confusion | Chart | Heat]
    kind: str = "pairs"


@dataclass(frozen=True)
class Answer:
    """One question with what the model answered before and after fine-tuning."""

    question: str
    before: str
    after: str


@dataclass(frozen=True)
class Answers:
    """Answers side by side."""

    answers: Sequence[Answer]
    before_title: str
    after_title: str
    kind: str = "answers"


@dataclass(frozen=True)
class Marked:
    """A question over a passage; a part of it is plain (""), what a model "found", or what was "wanted"."""

    question: str
    note: str
    parts: Sequence[tuple[str, str]]
    kind: str = "marked"


@dataclass(frozen=True)
class Commands:
    """Command lines with what each does."""

    commands: Sequence[tuple[str, str]]
    kind: str = "commands"


@dataclass(frozen=True)
class Folded:
    """Preformatted text behind a title that opens it."""

    title: str
    text: str
    kind: str = "folded"


Block: TypeAlias = (
    Text
    | Heading
    | Facts
    | Table
    | Bars
    | Chart
    | Tokens
    | Samples
    | Confusion
    | Pictures
    | Heat
    | Pairs
    | Answers
    | Marked
    | Commands
    | Folded
)


@dataclass(frozen=True)
class Tile:
    """One of the figures at the top of the page."""

    value: str
    unit: str
    note: str


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `anchor` is what links lead to."""

    anchor: str
    title: str
    lede: str
    blocks: Sequence[Block]
    tiles: Sequence[Tile] = field(default_factory=list)


def as_text(value: Any) -> str:
    """A setting or result in words: no quotes, no braces."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return tidy(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {as_text(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(inner) for inner in value)
    return "" if value is None else str(value)
