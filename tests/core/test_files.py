"""Files are whole or absent, whatever happens while they are written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import (
    append_json_line,
    atomic_directory,
    atomic_file,
    by_name,
    read_json,
    read_json_lines,
    write_json,
)

FULL = Path("/dev/full")


def write_directory(path, content):
    with atomic_directory(path) as directory:
        (directory / "weights").write_text(content)


def test_an_error_while_writing_keeps_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_while_writing_a_directory_keeps_what_was_there(tmp_path):
    write_directory(tmp_path / "model", "earlier")
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "model") as directory:
        (directory / "weights").write_text("half")
        raise RuntimeError
    assert (tmp_path / "model/weights").read_text() == "earlier"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_directory_that_cannot_be_put_in_its_place_leaves_the_one_before(tmp_path, monkeypatch, failure):
    write_directory(tmp_path / "model", "earlier")
    replace = os.replace

    def fails(source, target):
        if not str(source).endswith(".tmp") or not os.path.isdir(source):
            return replace(source, target)
        raise failure

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises((failure, UserError)):
        write_directory(tmp_path / "model", "later")
    assert (tmp_path / "model/weights").read_text() == "earlier"
    assert os.listdir(tmp_path) == ["model"]


def test_the_next_writer_brings_back_what_a_killed_one_had_moved_aside(tmp_path):
    write_directory(tmp_path / "model", "earlier")
    killed = (
        "import os, sys; from pathlib import Path; from malmoi.core.files import atomic_directory\n"
        "replace = os.replace\n"
        "os.replace = lambda *paths: (replace(*paths), os._exit(9))\n"
        "with atomic_directory(Path(sys.argv[1])): pass"
    )
    subprocess.run([sys.executable, "-c", killed, tmp_path / "model"], check=False)
    assert not (tmp_path / "model").exists()
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "model"):
        raise RuntimeError
    assert (tmp_path / "model/weights").read_text() == "earlier"
    write_directory(tmp_path / "model", "later")
    assert (tmp_path / "model/weights").read_text() == "later"
    assert ".model.old" not in os.listdir(tmp_path)


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(UserError, match=r"disk is full.*a\.txt"), atomic_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "earlier"


@pytest.mark.parametrize("make", [atomic_file, atomic_directory])
@pytest.mark.parametrize(
    ("place", "words"),
    [("a file/x", "Not a directory"), ("/proc/x", "cannot be written"), (".", "no name"), ("a" * 300, "too long")],
)
def test_a_place_where_nothing_can_be_written_is_a_sentence(tmp_path, monkeypatch, make, place, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    with pytest.raises(UserError, match=words), make(Path(place)):
        pass


def test_what_stands_in_the_way_is_a_sentence_and_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("earlier")
    with pytest.raises(UserError, match="Is a directory"), atomic_file(tmp_path / "folder"):
        pass
    with pytest.raises(UserError, match="Not a directory"), atomic_directory(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_json_keeps_hangul_as_itself(tmp_path):
    write_json(tmp_path / "a.json", {"말": "모이"})
    assert "모이" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"말": "모이"}


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_json_line(path, {"step": 1})
    with open(path, "a") as file:
        file.write('{"step": 2, "lo')
    assert list(read_json_lines(path)) == [{"step": 1}]


def test_a_torn_line_is_dropped_before_the_next_one_is_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    append_json_line(path, {"step": 3})
    assert list(read_json_lines(path)) == [{"step": 1}, {"step": 3}]


def test_separators_that_only_unicode_knows_stay_in_the_text(tmp_path):
    path = tmp_path / "samples.jsonl"
    append_json_line(path, {"text": "말\u2028을 \x85 모\x0c은"})
    append_json_line(path, {"text": "책"})
    assert [record["text"] for record in read_json_lines(path)] == ["말\u2028을 \x85 모\x0c은", "책"]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        list(read_json_lines(path))


@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 10_000], ids=["nested", "long number"])
def test_json_beyond_all_reason_is_named(content, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match="beyond all reason"):
        read_json(tmp_path / "a.json")


def test_paths_of_one_name_are_told_apart_by_what_stands_before_it():
    names = ["말/모이/pretrain", "글/모이/pretrain", "classify"]
    assert list(by_name(Path("/runs") / name for name in [*names, *names])) == names


def test_a_full_disk_is_a_sentence_where_a_record_is_written():
    if not FULL.exists():
        pytest.skip("this system has no device that is always full")
    with pytest.raises(UserError, match=r"The disk is full: /dev/full.*everything finished before is kept"):
        append_json_line(FULL, {"step": 1})
