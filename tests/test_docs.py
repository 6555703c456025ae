"""Every malmoi command in the documentation is one that malmoi understands; both languages show the same ones."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from malmoi.cli.main import app
from malmoi.core.config import apply_override
from malmoi.pipeline.kinds import STAGES
from malmoi.pipeline.recipe import build_step, load_recipe, shipped_recipes

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("README*.md"), *ROOT.glob("docs/*/*.md")]
VERBS = get_command(app).commands


def commands(page: Path) -> list[list[str]]:
    """The words of every line in a code block that calls malmoi, without its comment."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    calls = [shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?malmoi ", line)]
    return [call[1:] for call in calls]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_understood(page):
    for verb, *words in commands(page):
        assignments = [word for word in words if "=" in word]
        if verb == "run":
            recipe = words[0] if words[0] in shipped_recipes() else "folder"
            load_recipe(recipe, assignments)
        elif words and words[0] in (verbs := getattr(VERBS[verb], "commands", {})):
            verbs[words[0]].make_context(words[0], words[1:])
        elif verb in STAGES:
            if "--settings" not in words:
                values = {"stage": verb}
                for assignment in assignments:
                    apply_override(values, assignment)
                build_step(values, verb, str(page))
        else:
            VERBS[verb].make_context(verb, words)  # every argument and option is one that the command has


@pytest.mark.parametrize("name", sorted(page.name for page in (ROOT / "docs/en").glob("*.md")))
def test_both_languages_show_the_same_commands(name):
    assert commands(ROOT / "docs/en" / name) == commands(ROOT / "docs/ko" / name)


def test_every_page_is_there_in_both_languages():
    names = [{page.name for page in (ROOT / "docs" / language).glob("*.md")} for language in ("en", "ko")]
    assert names[0] == names[1]


def test_every_link_leads_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
