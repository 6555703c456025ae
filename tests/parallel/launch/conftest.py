"""What is launched in these tests: names with everything in them that a shell could trip over."""

from collections.abc import Callable
from pathlib import Path

import pytest

from malmoi.parallel.launch.settings import LaunchSettings

HOSTILE = ('pretrain.prompts=[\'여우가 "말했다"\', "it\'s $HOME `x`"]', "corpus.folder=내 글/a;b", "a.b=\\n", "a.c=*")


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Callable[..., LaunchSettings]:
    """Makes settings of a recipe in a folder with a Korean name, from which everything is started."""
    folder = tmp_path / "내 실험 $1"
    folder.mkdir()
    (folder / "말모이 recipe.yaml").write_text("about: 낱말을 모은다\nstages:\n- stage: corpus\n", encoding="utf-8")
    monkeypatch.chdir(folder)

    def make(**changes) -> LaunchSettings:
        given = {"recipe": "말모이 recipe.yaml", "overrides": HOSTILE, "out": "runs/내 run", "nodes": 2}
        return LaunchSettings(**({**given, "devices_per_node": 8, "hardware": "H100"} | changes))

    return make


@pytest.fixture
def program(tmp_path) -> Callable[[str, str], Path]:
    """Writes a shell script that stands in for a program; returns its folder, which belongs into PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()

    def make(name: str, script: str) -> Path:
        (folder / name).write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
        return folder

    return make
