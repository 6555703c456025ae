"""`malmoi corpus`: the stage, and what looks at a corpus before and after it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from malmoi.cli.run import Overrides, stage_command, stage_example
from malmoi.pipeline.kinds import STAGES

STAGE = "stage"


class StageOrVerb(TyperGroup):
    """Takes what is no verb as the settings of the stage: `malmoi corpus folder=~/texts --out my-corpus`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = args and (args[0] in self.commands or args[0] == "--help")
        rest: list[str] = super().parse_args(ctx, args if known else [STAGE, *args])
        return rest


app = typer.Typer(cls=StageOrVerb, help=STAGES["corpus"].about, epilog=stage_example("corpus"), rich_markup_mode=None)
app.command(STAGE, hidden=True, help=STAGES["corpus"].about, epilog=stage_example("corpus"))(stage_command("corpus"))

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, or a shipped example.")]


@app.command(epilog="Example: malmoi corpus build gpt3-mixture --out my-mixture")
def build(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/CONFIG by default.")] = None,
) -> None:
    """Fetch, read, clean, filter, deduplicate, decontaminate and mix what a file describes; write corpus and report."""
    from malmoi.pipeline.corpus_config import load_corpus_config
    from malmoi.pipeline.runner import run_recipe
    from malmoi.pipeline.show import print_ending

    recipe = load_corpus_config(config, overrides or [])
    print_ending(run_recipe(recipe, out or Path("runs") / recipe.name))


@app.command(epilog="Example: malmoi corpus preview gpt3-mixture --documents 200")
def preview(
    config: Config,
    overrides: Overrides = None,
    documents: Annotated[int, typer.Option(min=1, help="How many documents to look at.")] = 500,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/CONFIG by default.")] = None,
) -> None:
    """Show each rule's effect on some documents before a long build."""
    from malmoi.pipeline.corpus_config import corpus_settings, load_corpus_config
    from malmoi.pipeline.corpus_preview import preview_corpus, print_preview
    from malmoi.pipeline.runner import run_step

    recipe = load_corpus_config(config, overrides or [])
    directory = out or Path("runs") / recipe.name
    for step in recipe.steps[:-2]:  # the fetch stage, if there is one
        run_step(step, directory / step.name, {}, f"[bold]{step.name}[/bold]")
    print_preview(preview_corpus(corpus_settings(recipe, directory / "fetch"), documents))


@app.command(epilog="Example: malmoi corpus explain input.txt#7 --corpus runs/gpt3-mixture/corpus")
def explain(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A document: SOURCE/IDENTIFIER, or IDENTIFIER.")],
    corpus: Annotated[
        Path | None, typer.Option(help="Directory of a corpus; the newest below runs/ by default.")
    ] = None,
) -> None:
    """Say which rule dropped a document, with what was measured and the limit; or that it was kept."""
    from malmoi.pipeline.corpus_preview import explain_document, newest_corpus

    explain_document(identifier, corpus or newest_corpus())


@app.command("train-filter", epilog="Example: malmoi corpus train-filter reviews.csv --keep good --out my-filter")
def train_filter(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled texts: jsonl, csv or tsv.")],
    keep: Annotated[str, typer.Option(help="The label of texts that are to be kept.")],
    out: Annotated[Path, typer.Option(help="Directory of the filter: quality=DIRECTORY of a corpus.")],
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
) -> None:
    """Train a small filter of quality or toxicity; written only if it is better than naming the commonest label."""
    from malmoi.core.console import console
    from malmoi.data.label_tables import TableSettings
    from malmoi.pipeline.train_filter import train_filter

    proof = train_filter(file, TableSettings(text=text, label=label), keep, out)
    console.print(f"{proof.accuracy:.1%} of {proof.texts:,} held-out texts right")
    console.print(f"{proof.majority:.1%} by naming the commonest label")
    for name, share in sorted(proof.recall.items()):
        console.print(f"  of those labelled {name}: {share:.1%}", markup=False)
    console.print(f"use it: quality={out}", markup=False)


@app.command(epilog="Example: malmoi corpus crawl https://example.com --contact you@example.com --out my-site")
def crawl(
    urls: Annotated[list[str], typer.Argument(metavar="URL... [KEY=VALUE]...", help="Where to begin, and settings.")],
    contact: Annotated[str, typer.Option(help="Your e-mail address or page, for those who run the site.")] = "",
    out: Annotated[Path | None, typer.Option(help="Directory of the result; runs/crawl by default.")] = None,
) -> None:
    """Fetch the pages of your own web sites into WARC archives; `malmoi crawl --settings` lists the settings."""
    pages = [word for word in urls if "://" in word.partition("=")[0]]
    settings = [word for word in urls if word not in pages]
    given = [f"urls={pages}", *([f"contact={contact}"] if contact else []), *settings]
    stage_command("crawl")(given, out)
