"""The result depends neither on the number of workers nor on how often a build was killed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.corpus import clean
from malmoi.corpus.build import WORK
from malmoi.corpus.engine import run_tasks
from malmoi.corpus.store import read_documents
from malmoi.pipeline import corpus_files
from malmoi.pipeline.corpus_settings import CorpusSettings
from malmoi.pipeline.stages.corpus import run

CHOSEN = {"near_duplicates": 0.8, "repeated_lines": 5, "decontaminate": True, "provenance": True}
SCRIPT = """
import json, sys
from pathlib import Path
from malmoi.corpus import clean
from malmoi.pipeline import corpus_files
from malmoi.pipeline.stages import corpus
clean.DOCUMENTS, corpus_files.GROUP_BYTES = 20, 2_000
if __name__ == "__main__":
    settings = corpus.CorpusSettings(**json.loads(sys.argv[1]), workers=int(sys.argv[3]))
    corpus.run(settings, Path(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path):
    """Texts in several files, with duplicates, scraps, a shared line and a broken file among them."""
    make = random.Random(1)
    directory = tmp_path / "texts"
    directory.mkdir()
    words = [f"낱말{number}을" for number in range(500)]
    for file in range(8):
        lines = [" ".join(make.choices(words, k=make.randint(1, 40))) for _ in range(60)]
        records = [{"text": f"{line}\n글의 저작권은 말모이에 있습니다."} for line in lines] + [{"text": lines[0]}]
        (directory / f"{file}.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    (directory / "broken.parquet").write_bytes(b"PAR1")
    return directory


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(clean, "DOCUMENTS", 20)
    monkeypatch.setattr(corpus_files, "GROUP_BYTES", 2_000)


def digests(directory):
    names = ("train.parquet", "held_out.parquet", "dropped.parquet", "counts.json", "unreadable.json", "card.md")
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


def test_a_build_that_breaks_off_anywhere_goes_on_to_the_same_bytes(folder, tmp_path, monkeypatch):
    run(CorpusSettings(folder=folder, **CHOSEN, workers=1), tmp_path / "whole")
    write, made = clean.write_part, []

    def write_some(path, rows):
        if len(made) % 4 == 3:
            made.append("killed")
            raise KeyboardInterrupt
        made.append(path.name)
        write(path, rows)

    monkeypatch.setattr(clean, "write_part", write_some)
    for _ in range(20):
        try:
            run(CorpusSettings(folder=folder, **CHOSEN, workers=1), tmp_path / "broken")
            break
        except KeyboardInterrupt:
            continue
    names = [name for name in made if name != "killed"]
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")
    assert len(names) == len(set(names)) > 20


def test_two_workers_that_were_killed_leave_the_same_bytes(folder, tmp_path):
    settings = {"folder": str(folder), **CHOSEN}
    run(CorpusSettings(**settings, workers=1), tmp_path / "whole")
    make = random.Random(2)
    (tmp_path / "build.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "build.py", json.dumps(settings), tmp_path / "killed", "2"]
    for _ in range(2):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while not list((tmp_path / "killed" / WORK).glob("*.arrow")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(make.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_a_ray_cluster_leaves_the_same_bytes(folder, tmp_path):
    pytest.importorskip("ray")
    run(CorpusSettings(folder=folder, **CHOSEN, workers=1), tmp_path / "here")
    run(CorpusSettings(folder=folder, **CHOSEN, engine="ray"), tmp_path / "there")
    assert [document.text for document in read_documents(tmp_path / "there", "train")] == [
        document.text for document in read_documents(tmp_path / "here", "train")
    ]


def test_a_cluster_without_ray_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'malmoi\[ray\]'"):
        run(CorpusSettings(folder=folder, engine="ray"), tmp_path / "out")


def test_settings_that_change_what_parts_hold_begin_anew(folder, tmp_path):
    run(CorpusSettings(folder=folder, workers=1), tmp_path / "out")
    counts = run(CorpusSettings(folder=folder, minimum_characters=100, workers=1), tmp_path / "out")
    assert counts["dropped"]["too short"] > 100


def test_a_mistake_found_by_a_worker_is_told_in_its_words():
    with pytest.raises(UserError, match=r"There is no file (nowhere|there)\. Check the path\."):
        list(run_tasks(read_json, [Path("nowhere"), Path("there")], 2))
