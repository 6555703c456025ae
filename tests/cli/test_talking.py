"""chat, generate, serve and export as a user runs them."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from malmoi.cli import options
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.formats.gguf_file import GGUFFile
from malmoi.models.classifier import Classifier
from malmoi.models.lstm import LSTMConfig
from malmoi.models.registry import build_model

MALMOI = [sys.executable, "-m", "malmoi"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, make_model, tokenizer):
    directory = tmp_path_factory.mktemp("home") / "runs" / "quick" / "instruct" / "model"
    save_checkpoint(directory, make_model(context=4096), tokenizer, "")
    return directory


def test_generate_prints_the_text_and_keeps_the_speed_apart(run, checkpoint):
    options = ["--seed", "1", "--maximum-tokens", "5"]
    code, out, error = run("generate", str(checkpoint), "옛날에", *options)
    assert code == 0
    assert out.startswith("옛날에")
    assert "5 tokens" in error
    assert run("generate", str(checkpoint.parent), "-", *options, stdin="옛날에")[1] == out


def test_a_text_is_read_from_a_pipe_whatever_its_encoding(run, checkpoint):
    text = "옛날 옛적에 숲에 여우가 살았습니다. "
    options = ["--temperature", "0", "--maximum-tokens", "5"]
    expected = run("generate", str(checkpoint), text, *options)[1]
    assert run("generate", str(checkpoint), "-", *options, stdin=text.encode("cp949"))[1] == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01\x02\x03" * 30, "no text"),
        (b"\xff\xfe\x00\x01\x81", "line 1 is not utf-16"),
        ("옛날에\n".encode() * 100 + b"\xff\n", "line 101 is not utf-8"),
    ],
)
def test_what_is_no_text_is_not_read_from_a_pipe(run, checkpoint, data, reason):
    code, out, error = run("generate", str(checkpoint), "-", stdin=data)
    assert (code, out, reason in error) == (2, "", True)


def test_an_answer_is_written_whatever_the_surroundings_call_their_encoding(checkpoint):
    options = ["--temperature", "0", "--maximum-tokens", "5"]
    surroundings = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [*MALMOI, "generate", str(checkpoint), "안녕", *options]
    done = subprocess.run(command, env=surroundings, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith("안녕")


def test_generate_answers_like_the_examples_and_ends_with_the_line(run, checkpoint, tmp_path):
    examples = tmp_path / "examples.csv"
    examples.write_text("input,output\n여우,fox\n곰,bear\n")
    options = ["--examples", str(examples), "--seed", "1", "--maximum-tokens", "30"]
    code, out, _ = run("generate", str(checkpoint), "숲", *options)
    assert code == 0
    assert out.count("\n") == 1
    prompt = "Input: 여우\nOutput: fox\n\nInput: 숲\nOutput:"
    _, whole, _ = run("generate", str(checkpoint), "숲", *options, "--shots", "1", "--stop", "없는 말")
    _, expected, _ = run("generate", str(checkpoint), prompt, "--seed", "1", "--maximum-tokens", "30")
    assert expected.removeprefix(prompt).lstrip() == whole


def test_what_was_read_can_be_held_in_eight_bits(run, checkpoint, tokenizer, tmp_path):
    options = ["옛날에", "--int8-cache", "--seed", "1", "--maximum-tokens", "5"]
    assert run("generate", str(checkpoint), *options)[1].startswith("옛날에")
    lstm = build_model(LSTMConfig(vocabulary=tokenizer.size, width=16, layers=1), seed=0)
    save_checkpoint(tmp_path / "lstm", lstm, tokenizer, "")
    code, _, error = run("generate", str(tmp_path / "lstm"), *options)
    assert (code, "no keys and values" in error) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "CHECKPOINT", "x", "--top-p", "7"], "top_p"),
        (["generate", "nowhere", "x"], "nowhere"),
        (["generate", "CHECKPOINT", "x", "--shots", "2"], "Add --examples"),
        (["generate", "CHECKPOINT", "x", "--examples", "nowhere.tsv"], "no file nowhere.tsv"),
        (["predict", "CHECKPOINT", "x"], "not a classifier"),
        (["generate", "CHECKPOINT", "긴 이야기 " * 1000], "4,096"),
        (["serve", "CHECKPOINT", "--host", "0.0.0.0"], "--api-key"),
        (["export", "CHECKPOINT", "--to", "onx"], "no format 'onx'"),
        (["export", "CHECKPOINT", "--to", "onnx"], "goes to GGUF"),
        (["export", "CHECKPOINT", "--type", "q9_0"], "Did you mean 'q8_0'"),
        (["export", "CHECKPOINT", "--out", "."], "ends in .gguf"),
        (["export", "nowhere"], "nowhere"),
        (["chat"], "malmoi run quickstart"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(run, checkpoint, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*[argument.replace("CHECKPOINT", str(checkpoint)) for argument in arguments])
    assert code == 2
    assert words in error.replace("\n", " ")


def test_predict_names_the_class_of_every_line(run, make_model, tokenizer, tmp_path):
    save_checkpoint(tmp_path / "model", Classifier(make_model(), ["나쁨", "좋음"]), tokenizer, "")
    lines = "재미있다\n\n지루하다\n \n"
    code, out, _ = run("predict", str(tmp_path), stdin=lines)
    assert code == 0
    assert [line.split("\t")[0] in ("나쁨", "좋음") for line in out.splitlines()] == [True, False, True, False]
    assert run("predict", str(tmp_path), stdin=lines.replace("\n", "\r\n").encode("cp949"))[1] == out
    assert run("predict", str(tmp_path), "재미있다")[1] == out.splitlines(keepends=True)[0]


def test_export_writes_what_other_programs_open_and_says_how(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("export", str(checkpoint), "--to", "gguf", "--type", "q8_0")
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["instruct-q8_0.Modelfile", "instruct-q8_0.gguf"]
    assert "llama-server --model instruct-q8_0.gguf" in out
    assert "ollama create instruct-q8_0 --file instruct-q8_0.Modelfile" in out
    options = ["--seed", "1", "--maximum-tokens", "5"]
    assert run("generate", "instruct-q8_0.gguf", "옛날에", *options)[0] == 0
    assert run("export", "instruct-q8_0.gguf", "--out", "모델/말.gguf")[0] == 0
    assert (tmp_path / "모델/말.Modelfile").read_text(encoding="utf-8").startswith("FROM ./말.gguf\n")


def test_an_imported_model_is_exported_by_its_bare_name(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoint, "models/여우")
    assert run("export", "여우")[0] == 0
    assert (tmp_path / "여우-f16.gguf").is_file()


def test_a_modelfile_that_somebody_changed_is_left_alone(run, checkpoint, tmp_path):
    out = ["--out", tmp_path / "x.gguf"]
    assert run("export", checkpoint, *out)[0] == 0
    assert "are written" in run("export", checkpoint, *out)[1]
    with open(tmp_path / "x.Modelfile", "a") as file:
        file.write("PARAMETER temperature 0\n")
    assert "x.Modelfile, which differs, left as it is" in run("export", checkpoint, *out)[1]
    assert (tmp_path / "x.Modelfile").read_text().endswith("PARAMETER temperature 0\n")


@pytest.mark.parametrize("taken", ["x.gguf", "x.Modelfile"])
def test_what_cannot_be_written_is_said_before_the_weights_are_read(run, checkpoint, tmp_path, monkeypatch, taken):
    monkeypatch.setattr(options, "read_checkpoint", lambda path: pytest.fail("the weights were read"))
    (tmp_path / taken).mkdir()
    code, _, error = run("export", checkpoint, "--out", tmp_path / "x.gguf")
    assert (code, taken in error) == (2, True)
    assert list(tmp_path.iterdir()) == [tmp_path / taken]


@pytest.fixture
def classifier(tmp_path, make_model, tokenizer):
    save_checkpoint(tmp_path / "classifier", Classifier(make_model(), ["나쁨", "좋음"]), tokenizer, "")
    return tmp_path / "classifier"


@pytest.mark.parametrize("out", ["thesis", ".", "classifier", "config", "a file", "a file/x"])
def test_an_export_to_onnx_takes_nothing_away(run, classifier, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "read_checkpoint", lambda path: pytest.fail("the weights were read"))
    for name in ("thesis/chapter.txt", "config/config.json", "a file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    before = sorted(tmp_path.rglob("*"))
    code, _, error = run("export", "classifier", "--to", "onnx", "--out", out)
    assert (code, error.count("\n")) == (2, 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_to_onnx_replaces_an_earlier_one(run, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        assert run("export", "classifier", "--to", "onnx", "--out", "empty")[0] == 0
    assert (tmp_path / "empty/model.onnx").is_file()


def test_an_exported_model_states_its_licence(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoint, "licensed")
    (tmp_path / "licensed/card.md").write_text("---\nlicense: apache-2.0\n---\n\n# 여우\n")
    assert run("export", "licensed")[0] == run("export", str(checkpoint), "--out", "plain.gguf")[0] == 0
    assert GGUFFile(tmp_path / "licensed-f16.gguf").metadata["general.license"] == "apache-2.0"
    assert "general.license" not in GGUFFile(tmp_path / "plain.gguf").metadata


def test_a_classifier_is_not_exported(run, make_model, tokenizer, tmp_path):
    save_checkpoint(tmp_path / "model", Classifier(make_model(), ["나쁨", "좋음"]), tokenizer, "")
    code, _, error = run("export", str(tmp_path), "--out", str(tmp_path / "x.gguf"))
    assert code == 2
    assert "is a classifier" in error


def test_chat_reads_lines_until_the_end_of_the_input(run, checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parents[3])
    text = "안녕하세요\n/help\none \\\ntwo\n/again\n/reset\n/again\n\n"
    code, out, _ = run("chat", "--maximum-tokens", "4", stdin=text)
    assert code == 0
    assert out.count("first after") == 3
    assert "/exit" in out
    assert "There is no answer yet." in out


def test_a_base_model_continues_each_text_on_its_own(run, checkpoint, tmp_path):
    base = tmp_path / "model"
    shutil.copytree(checkpoint, base)
    (base / "chat_template.jinja").unlink()
    code, out, _ = run("chat", str(tmp_path), "--maximum-tokens", "4", "--temperature", "0", stdin="옛날\n옛날\n")
    assert code == 0
    assert "A base model" in out
    first, second = (part.split("\n\n")[0] for part in out.split("› ")[1:3])
    assert first.splitlines()[0] == second.splitlines()[0]


class Terminal:
    """`malmoi chat` behind a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.process, self._file = pty.fork()
        if self.process == 0:
            os.environ["TERM"] = "xterm"
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
            os.execv(sys.executable, [*MALMOI, *arguments])
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for_bytes(self, count: int) -> None:
        """Wait until an answer is on its way."""
        self._read_until(lambda: len(self.seen) >= count)

    def _read_until(self, enough: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not enough():
            assert time.monotonic() < end, self.seen
            if select.select([self._file], [], [], 0.1)[0]:
                self.seen += os.read(self._file, 4096)

    def wait_for(self, words: str) -> None:
        self._read_until(lambda: words.encode() in self.seen)
        self.seen = self.seen.split(words.encode(), 1)[1]


def test_control_c_stops_the_answer_and_not_the_program(checkpoint):
    terminal = Terminal("chat", str(checkpoint), "--temperature", "0", "--repetition-penalty", "1")
    terminal.wait_for("› ")
    terminal.type("여우야\r")
    terminal.wait_for("\n")
    terminal.wait_for_bytes(100)
    os.kill(terminal.process, signal.SIGINT)
    terminal.wait_for("stopped")
    terminal.wait_for("› ")
    terminal.type("/exit\r")
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.process, 0)[1]) == 0


def test_serve_says_where_and_ends_with_control_c(run, checkpoint):
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
        code, _, error = run("serve", str(checkpoint), "--port", url.rstrip("/").rpartition(":")[2])
        assert code == 2
        assert "is in use" in error
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
