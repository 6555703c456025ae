"""`malmoi translate` as a user runs it."""

import io

import pytest

from malmoi.formats.checkpoint import save_checkpoint
from malmoi.models.classifier import Classifier


@pytest.fixture(scope="module")
def checkpoint(learned_translator, tokenizer, tmp_path_factory):
    """One that wants no code of a language."""
    directory = tmp_path_factory.mktemp("translator")
    save_checkpoint(directory, learned_translator(), tokenizer, "")
    return directory


def test_texts_a_file_or_lines_that_come_in(run, checkpoint, translations, tmp_path):
    wanted = (0, "".join(f"{target}\n" for target in translations.values()), "")
    assert run("translate", checkpoint, *translations) == wanted
    (tmp_path / "글.txt").write_bytes("\n".join(translations).encode("cp949"))
    assert run("translate", checkpoint, "--file", tmp_path / "글.txt") == wanted
    assert run("translate", checkpoint, stdin="\n".join(translations)) == wanted


def test_a_line_for_every_line(run, checkpoint, translations):
    source, target = next(iter(translations.items()))
    lines = [source, "", f"  {source}\r", " "] * 9
    assert run("translate", checkpoint, stdin="\n".join(lines))[1].split("\n") == [
        target,
        "",
        target,
        "",
    ] * 9 + [""]


def test_a_line_is_translated_before_the_next_one_is_typed(run, checkpoint, translations, capsys):
    shown = []

    class Terminal(io.StringIO):
        def isatty(self):
            return True

        def __iter__(self):
            for line in self.getvalue().splitlines():
                yield line
                shown.append(capsys.readouterr().out)

    run("translate", checkpoint, stdin=Terminal("\n".join(translations)))
    assert shown == [f"{target}\n" for target in translations.values()]


@pytest.mark.parametrize("into", ["kor", "deu"])
def test_the_language_is_chosen(run, published_translator, translated, into):
    known = {source[8:]: target for source, target in translated.items() if source.startswith(f">>{into}<<")}
    wanted = "".join(f"{target}\n" for target in known.values())
    assert run("translate", published_translator, *known, "--into", into)[:2] == (0, wanted)


def test_a_prefix_stands_before_every_text(run, checkpoint, translations):
    source = next(text for text in translations if " " in text)
    first, _, rest = source.partition(" ")
    assert run("translate", checkpoint, rest, "--prefix", f"{first} ")[1] == f"{translations[source]}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["MANY", "the fox"], "writes several languages. Name one with --into: deu, kor."),
        (["MANY", "the fox", "--into", "kr"], "does not write 'kr'. Did you mean 'kor'?"),
        (["ONE", "숲", "--into", "kor"], "takes no code of a language. Leave --into out."),
        (["ONE", "여우가 " * 50], "do not fit into the context of 64. Shorten the text"),
        (["ONE", "숲", "--file", "x"], "Give one of them."),
        (["ONE", "--file", "없다"], "There is no file 없다."),
        (["ONE", "--file", "ONE/model.safetensors"], "is no text."),
        (["GPT", "숲"], "translates nothing. Use malmoi generate"),
        (["CLASSIFIER", "숲"], "translates nothing. Use malmoi predict"),
    ],
)
def test_mistakes_are_one_sentence(run, checkpoint, published_translator, model, tokenizer, tmp_path, arguments, words):
    save_checkpoint(tmp_path / "gpt", model, tokenizer, "")
    save_checkpoint(tmp_path / "classifier", Classifier(model, ["나쁨", "좋음"]), tokenizer, "")
    names = {"GPT": tmp_path / "gpt", "CLASSIFIER": tmp_path / "classifier"}
    names |= {"MANY": published_translator, "ONE": checkpoint}
    for name, path in names.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    code, out, error = run("translate", *arguments)
    assert (code, out) == (2, "")
    assert words in error.replace("\n", " ")


def test_generate_names_the_command_for_a_translator(run, checkpoint):
    code, _, error = run("generate", checkpoint, "숲")
    assert code == 2
    assert "Use malmoi translate." in error
