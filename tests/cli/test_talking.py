"""chat, generate and serve as a user runs them."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import httpx
import pytest

from malmoi.formats.checkpoint import save_checkpoint

MALMOI = [sys.executable, "-m", "malmoi"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, make_model, tokenizer):
    directory = tmp_path_factory.mktemp("home") / "runs" / "quick" / "instruct" / "model"
    save_checkpoint(directory, make_model(context=4096), tokenizer, "")
    return directory


def run(*arguments: str, cwd=None, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MALMOI, *arguments], input=text, capture_output=True, text=True, cwd=cwd, timeout=60)


def test_generate_prints_the_text_and_keeps_the_speed_apart(checkpoint):
    options = ["--seed", "1", "--maximum-tokens", "5"]
    first = run("generate", str(checkpoint), "옛날에", *options)
    assert first.returncode == 0
    assert first.stdout.startswith("옛날에")
    assert "5 tokens" in first.stderr
    assert run("generate", str(checkpoint.parent), "-", *options, text="옛날에").stdout == first.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "CHECKPOINT", "x", "--top-p", "7"], "top_p"),
        (["generate", "nowhere", "x"], "nowhere"),
        (["generate", "CHECKPOINT", "긴 이야기 " * 1000], "4,096"),
        (["serve", "CHECKPOINT", "--host", "0.0.0.0"], "--api-key"),
        (["chat"], "malmoi run quickstart"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(checkpoint, tmp_path, arguments, words):
    finished = run(*[argument.replace("CHECKPOINT", str(checkpoint)) for argument in arguments], cwd=tmp_path)
    assert finished.returncode == 2
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr


def test_chat_reads_lines_until_the_end_of_the_input(checkpoint):
    text = "안녕하세요\n/help\none \\\ntwo\n/again\n/reset\n/again\n\n"
    finished = run("chat", "--maximum-tokens", "4", cwd=checkpoint.parents[3], text=text)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("first after") == 3
    assert "/exit" in finished.stdout
    assert "There is no answer yet." in finished.stdout


class Terminal:
    """`malmoi chat` behind a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.process, self._file = pty.fork()
        if self.process == 0:
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [*MALMOI, *arguments])
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, words: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while words.encode() not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._file], [], [], 0.1)[0]:
                self.seen += os.read(self._file, 4096)
        self.seen = self.seen.split(words.encode(), 1)[1]


def test_control_c_stops_the_answer_and_not_the_program(checkpoint):
    terminal = Terminal("chat", str(checkpoint), "--temperature", "0", "--repetition-penalty", "1")
    terminal.wait_for("› ")
    terminal.type("여우야\r")
    terminal.wait_for("\n")
    time.sleep(0.5)
    os.kill(terminal.process, signal.SIGINT)
    terminal.wait_for("stopped")
    terminal.wait_for("› ")
    terminal.type("/exit\r")
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.process, 0)[1]) == 0


def test_serve_says_where_and_ends_with_control_c(checkpoint):
    process = subprocess.Popen([*MALMOI, "serve", str(checkpoint), "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    url = lines[1].split()[-1]
    try:
        for _ in range(100):
            try:
                assert httpx.get(f"{url}health").json() == {"status": "ok"}
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        taken = run("serve", str(checkpoint), "--port", url.rstrip("/").rpartition(":")[2])
        assert taken.returncode == 2
        assert "is in use" in taken.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
