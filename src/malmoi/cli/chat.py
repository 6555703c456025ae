"""`malmoi chat`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import options

if TYPE_CHECKING:
    from malmoi.generate.dialogue import Dialogue

COMMANDS = {
    "/help": "this list",
    "/again": "another answer to the last message",
    "/reset": "forget the dialogue",
    "/system TEXT": "start anew with another system message",
    "/exit": "leave (as does Ctrl-D)",
}
PROMPT, MORE = "› ", "· "


def chat(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint, a stage's directory, or a GGUF file; the newest assistant.")
    ] = None,
    system: Annotated[str, typer.Option(help="System message; none by default.")] = "",
    temperature: options.Temperature = 0.3,
    top_k: options.TopK = 0,
    top_p: options.TopP = 0.9,
    min_p: options.MinP = 0.0,
    repetition_penalty: options.Penalty = 1.05,
    seed: options.Seed = None,
    maximum_tokens: options.MaximumTokens = None,
    int8_cache: options.Int8Cache = False,
) -> None:
    """Talk to a model in the terminal.

    Ctrl-C stops an answer, Ctrl-D leaves. A line that ends with a backslash goes on in the next.

    Example: malmoi chat runs/quickstart/instruct --temperature 0
    """
    from malmoi.core.config import parse_settings
    from malmoi.core.console import console, verbatim
    from malmoi.generate.dialogue import Dialogue
    from malmoi.generate.sampling import SamplingSettings

    values = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed,
        "repetition_penalty": repetition_penalty, "maximum_tokens": maximum_tokens,
    }  # fmt: skip
    settings = parse_settings(SamplingSettings, values, "the options")
    path = checkpoint or options.newest_assistant()
    model, tokenizer = options.open_writer(path, int8_cache)
    dialogue = Dialogue(model, tokenizer, settings, system)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    console.print(
        f"[bold]{verbatim(path)}[/bold]  "
        f"[dim]{parameters:,} parameters, context of {model.config.context:,} tokens[/dim]",
        soft_wrap=True,
    )
    if not dialogue.is_chat:
        console.print("[yellow]A base model: it knows no dialogue and continues what you type.[/yellow]")
    console.print("[dim]/help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.[/dim]\n")
    talk(dialogue)


def talk(dialogue: Dialogue) -> None:
    """Read, answer, repeat, until the user leaves."""
    prepare_input()
    while (text := read_message()) is not None:
        command, _, rest = text.partition(" ")
        if command in {"/exit", "/quit"}:
            return
        if command == "/again":
            text = dialogue.take_back() or ""
            if not text:
                note("There is no answer yet.")
        elif command in {"/reset", "/system"}:
            dialogue.reset(rest.strip())
            note("A new dialogue begins.")
            continue
        elif command.startswith("/"):
            for name, about in COMMANDS.items():
                note(f"{name:14} {about}")
            continue
        if text.strip():
            answer(dialogue, text)


def answer(dialogue: Dialogue, text: str) -> None:
    """Print an answer while it grows, then its speed; Ctrl-C ends the answer only."""
    from malmoi.cli.speed import Speed
    from malmoi.cli.wrap import WordWrap
    from malmoi.core.console import console
    from malmoi.core.errors import UserError

    speed, wrap, pieces = Speed(), WordWrap(console.width), dialogue.answer(text)
    try:
        for piece in pieces:
            speed.count(piece)
            show(wrap.feed(piece.text))
        show(wrap.finish())
    except KeyboardInterrupt:
        pass
    except UserError as error:
        note(str(error))
        return
    finally:
        pieces.close()
    show("\n")
    if dialogue.forgotten:
        note(f"The first {dialogue.forgotten} messages no longer fit the context and were left out.")
    note(speed.words() + "\n")


def show(text: str) -> None:
    """Print a piece of an answer at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """Print what the program, not the model, says."""
    from malmoi.core.console import console

    console.print(text, style="dim", markup=False)


def prepare_input() -> None:
    """Line editing and history where the system has them; pasted lines stay one message."""
    try:
        import readline
    except ImportError:
        return
    readline.parse_and_bind("set enable-bracketed-paste on")


def read_message() -> str | None:
    """One message, which may have several lines; None at the end of the input."""
    lines: list[str] = []
    while True:
        try:
            line = input(coloured(MORE if lines else PROMPT))
        except EOFError:
            print()
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:
            print()
            lines = []
            continue
        except UnicodeDecodeError:
            note("That was not UTF-8 text; please type it again.")
            continue
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])


def coloured(prompt: str) -> str:
    """The prompt in colour on a terminal; readline is told that the colours take no room."""
    return f"\001\033[1;36m\002{prompt}\001\033[0m\002" if sys.stdout.isatty() else prompt
