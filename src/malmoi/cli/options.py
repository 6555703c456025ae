"""Options that several commands share, and the checkpoint they open."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.core.errors import UserError
from malmoi.core.processes import own_command

if TYPE_CHECKING:
    from malmoi.formats.checkpoint import Checkpoint
    from malmoi.models.language_model import LanguageModel
    from malmoi.tokenizers.tokenizer import Tokenizer

Temperature = Annotated[float, typer.Option(help="How freely tokens are drawn; 0 always takes the most probable one.")]
TopK = Annotated[int, typer.Option(help="Choose among so many most probable tokens; 0 for all.")]
TopP = Annotated[
    float, typer.Option(help="Choose among the most probable tokens with this probability together, 0 to 1.")
]
MinP = Annotated[
    float, typer.Option(help="Drop tokens less probable than this share of the most probable one, 0 to 1.")
]
Penalty = Annotated[float, typer.Option(help="Above 1, tokens that occurred become less probable.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same text; a new one each time by default.")]
MaximumTokens = Annotated[
    int | None, typer.Option(help="Stop after so many tokens, at the latest where the context ends.")
]
Int8Cache = Annotated[
    bool, typer.Option("--int8-cache", help="Hold what was read in eight bits: a quarter of the memory.")
]
Stop = Annotated[list[str] | None, typer.Option(help="Text at which to stop; may be given several times.")]

RUNS, MODELS = Path("runs"), Path("models")


def newest_assistant() -> Path:
    """The checkpoint of the newest finished `instruct` stage below runs/.

    Raises:
        UserError: there is none.
    """
    found = [path for path in RUNS.glob("*/instruct*/model") if path.is_dir()]
    if not found:
        raise UserError(
            f"There is no assistant below {RUNS}/ yet.",
            f"Name a checkpoint, or make one with: {own_command()} run quickstart",
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def find_checkpoint(path: Path) -> Path:
    """`path`, or where an imported model of this bare name lies."""
    return MODELS / path if not path.exists() and (MODELS / path).is_dir() else path


def read_checkpoint(path: Path) -> Checkpoint:
    """Load a model of any kind, an imported one by its bare name too, and show that something is happening meanwhile.

    Raises:
        UserError: there is none at `path`.
    """
    from malmoi.core.console import error_console, verbatim
    from malmoi.formats.checkpoint import load_checkpoint

    path = find_checkpoint(path)
    with error_console.status(f"Reading {verbatim(path)}"):
        return load_checkpoint(path)


def read_standard_input() -> str:
    """All of standard input, in UTF-8 or what else its bytes show.

    Raises:
        UserError: it is no text, or a byte of it is none.
    """
    from malmoi.corpus.decode import detect_encoding

    data = sys.stdin.buffer.read()
    encoding = detect_encoding(data)
    if encoding is None:
        raise UserError("Standard input is no text.", "Give it as UTF-8.")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"Standard input is no text: line {line:,} is not {encoding}.", "Give it as UTF-8.") from None
    return io.StringIO(text, newline=None).read()  # every end of line as a line feed


def open_checkpoint(path: Path) -> Checkpoint:
    """Likewise, on the device that is to do the work. Raises as `read_checkpoint`, and as `pick_device`."""
    from malmoi.core.accelerator import pick_device

    return read_checkpoint(path).to(pick_device())


def open_writer(path: Path, int8_cache: bool = False) -> tuple[LanguageModel, Tokenizer]:
    """Likewise, a model that writes text.

    Raises:
        UserError: there is none at `path`, it is of another kind, or it keeps nothing that could be held in int8.
    """
    checkpoint = open_checkpoint(path)
    model = checkpoint.language_model
    if int8_cache:
        model.use_int8_cache()
    return model, checkpoint.tokenizer
