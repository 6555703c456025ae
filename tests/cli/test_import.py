"""`malmoi import` as a user runs it: from a folder, a file, a package, a card."""

import os
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata
from safetensors.torch import load_file, save_file

from malmoi.core.hashing import hash_file
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.formats.gguf_export import export_gguf
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.sources.card import Card, CardFile, find_card
from malmoi.sources.origin import find_origin


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """The same in a folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MALMOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return run


@pytest.fixture
def published(tmp_path, model, tokenizer):
    """A model's folder, as somebody published it."""
    save_checkpoint(tmp_path / "fox-1b", model, tokenizer, "---\nlicense: mit\n---\n# 여우\n\n숲에 산다.\n")
    return tmp_path / "fox-1b"


def test_a_folder_becomes_a_checkpoint_that_says_where_it_came_from(run, published, model):
    code, out, _ = run("import", published)
    made = load_checkpoint(published.parent / "here" / "models" / "fox-1b")
    assert code == 0
    assert all(torch.equal(value, made.model.state_dict()[name]) for name, value in model.state_dict().items())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = {line.partition(":")[0]: line.partition(":")[2].strip() for line in out.splitlines()}
    assert lines["Parameters"] == f"{parameters:,}"
    assert lines | {"Size": "", "Parameters": ""} == {
        "Model": "models/fox-1b", "Family": "qwen3", "Parameters": "", "Size": "", "Licence": "mit",
        "Next": "malmoi chat models/fox-1b",
    }  # fmt: skip
    assert made.card.startswith(f"---\nlicense: mit\nsource: {published}\nrevision: sha256:")
    assert "숲에 산다." in made.card


def test_what_was_imported_is_opened_by_its_bare_name(run, published):
    run("import", published, "--as", "말모이")
    code, out, _ = run("generate", "말모이", "옛날", "--maximum-tokens", "3")
    assert code == 0
    assert out.startswith("옛날")


def test_the_number_format_stays(run, published, model, tokenizer):
    save_checkpoint(published, type(model)(model.config).bfloat16(), tokenizer, "")
    run("import", published)
    assert {value.dtype for value in load_file("models/fox-1b/model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["other.safetensors", "checkpoint-7.pt"])
def test_a_file_of_weights_with_its_configuration_beside_it(run, published, name):
    tensors = {key: value * 2 for key, value in load_file(published / "model.safetensors").items()}
    (save_file if name.endswith(".safetensors") else torch.save)(tensors, published / name)
    run("import", published / name)
    made = load_file(f"models/{name.rpartition('.')[0]}/model.safetensors")
    assert all(torch.equal(made[key], tensors[key]) for key in tensors)


def test_a_file_of_the_usual_name_is_called_as_its_folder(run, published):
    assert "models/fox-1b" in run("import", published / "model.safetensors")[1]


T5 = {"norm": "rms", "norm_first": True, "positions": "relative", "bias": False}
T5 |= {"scaled_attention": False, "scaled_embedding": False}
SHAPE = {"context": 48, "width": 32, "layers": 1, "heads": 4}


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("base", "malmoi generate 'models/my fox' 'Once upon a time'"),
        ("classifier", "malmoi predict 'models/my fox' 'A text to classify.'"),
        ("encoder", "malmoi export 'models/my fox' --to onnx"),
        ("t5", "malmoi translate 'models/my fox' --prefix 'translate English to German: ' 'Good morning.'"),
        ("marian", "malmoi translate 'models/my fox' 'Good morning.'"),
    ],
)
def test_the_next_command_is_one_for_this_model(run, published, model, tokenizer, kind, command):
    sizes = SHAPE | {"vocabulary": tokenizer.size}
    made = {
        "base": model,
        "classifier": Classifier(model, ["나쁨", "좋음"]),
        "encoder": build_model(EncoderConfig(**sizes), seed=0),
        "marian": build_model(EncoderDecoderConfig(**sizes, start=0), seed=0),
        "t5": build_model(EncoderDecoderConfig(**sizes, **T5, start=0), seed=0),
    }
    save_checkpoint(published, made[kind], tokenizer, "")
    (published / "chat_template.jinja").unlink()
    _, out, error = run("import", published, "--as", "my fox")
    assert out.endswith(f"Next:       {command}\n"), error
    if kind != "encoder":  # an export takes its time, and has its own tests
        assert run(*shlex.split(command)[1:])[0] == 0


def test_the_same_model_again_is_already_there(run, published):
    run("import", published)
    before = os.stat("models/fox-1b").st_mtime_ns
    code, out, _ = run("import", published)
    assert code == 0
    assert "Already there:\nModel:      models/fox-1b" in out
    assert os.stat("models/fox-1b").st_mtime_ns == before


def test_a_translator_in_the_files_it_is_published_in(run, published_translator):
    code, out, _ = run("import", published_translator)
    assert code == 0
    assert "Family:     marian" in out
    assert out.endswith("Next:       malmoi translate models/opus-mt-en-mul --into deu 'Good morning.'\n")
    assert {"source.spm", "target.spm", "vocab.json"} < set(os.listdir("models/opus-mt-en-mul"))
    assert "Already there" in run("import", published_translator)[1]


def another_model(published):
    tensors = load_file(published / "model.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, published / "model.safetensors")


def not_imported(published):
    shutil.copy(published / "card.md", "models/fox-1b/card.md")


def cut(published):
    path = Path("models/fox-1b/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])


def without_tokenizer(published):
    os.remove("models/fox-1b/tokenizer.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_model, "is there already and came from"),
        (not_imported, "is there already and was not imported"),
        (cut, "is there already, but not whole"),
        (without_tokenizer, "is there already, but not whole"),
    ],
)
def test_nothing_is_overwritten(run, published, change, words):
    run("import", published)
    change(published)
    before = os.stat("models/fox-1b/model.safetensors").st_mtime_ns
    code, _, error = run("import", published)
    assert code == 2
    assert f"models/fox-1b {words}" in error
    assert "--as NAME" in error
    assert os.stat("models/fox-1b/model.safetensors").st_mtime_ns == before
    assert run("import", published, "--as", "fox-2")[0] == 0


@pytest.fixture
def wheel(published, monkeypatch):
    """A package with the model in it, as the index would give it; a list of how often it was asked for."""
    path = published.parent / "fox.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in published.iterdir():
            archive.write(file, f"fox/weights/{file.name}")
        archive.writestr("fox/__init__.py", "raise SystemExit")
    asked = []
    monkeypatch.setattr("malmoi.sources.origin.fetch_package", lambda name: asked.append(name) or path)
    return asked


@pytest.mark.parametrize("member", ["fox/weights", "fox/weights/", "fox/weights/model.safetensors"])
def test_a_model_in_a_package(run, wheel, member):
    source = f"pypi:fox==1.2#{member}"
    assert "models/weights" in run("import", source)[1]
    assert "source: pypi:fox==1.2#fox/weights\nrevision: '1.2'" in Path("models/weights/card.md").read_text()
    assert run("import", source, "--as", "again")[0] == 0
    assert wheel == ["fox==1.2"]


def test_a_file_has_the_licence_of_the_card_that_knows_it(run, model, tokenizer, tmp_path, monkeypatch):
    export_gguf(model, tokenizer, tmp_path / "fox.gguf")
    assert "Licence:    not stated" in run("import", tmp_path / "fox.gguf", "--as", "unknown")[1]
    file = CardFile(name="a.gguf", sha256=hash_file(tmp_path / "fox.gguf"))
    card = Card(about="여우", licence="CC0-1.0", files=(file,))
    monkeypatch.setattr("malmoi.sources.origin.all_cards", lambda: {"fox": card})
    assert "Licence:    CC0-1.0" in run("import", tmp_path / "fox.gguf")[1]


def test_a_place_has_the_licence_of_the_card_that_names_it():
    (file,) = find_card("smollm2-135m-instruct").files
    assert find_origin(file.places[0]).licence == "Apache-2.0"


def test_a_file_states_its_licence_itself(run, model, tokenizer, tmp_path):
    export_gguf(model, tokenizer, tmp_path / "plain.gguf")
    writer = GGUFWriter(tmp_path / "fox.gguf", "qwen3")
    licence = MetadataDetails(GGUFValueType.STRING, "mit")
    copy_with_new_metadata(GGUFReader(tmp_path / "plain.gguf"), writer, {"general.license": licence}, [])
    assert "Licence:    mit" in run("import", tmp_path / "fox.gguf")[1]
    assert "license: mit" in Path("models/fox/card.md").read_text()


def test_a_card_of_weights_says_its_licence(run, published, monkeypatch):
    monkeypatch.setattr("malmoi.sources.origin.fetch_weights", lambda _: published)
    code, out, _ = run("import", "smollm2-135m-instruct")
    assert code == 0
    assert "Licence:    Apache-2.0" in out
    assert os.listdir("models") == ["smollm2-135m-instruct"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nsmc"], "'nsmc' is no model of text. Get it: malmoi fetch sources=[nsmc]"),
        (["smollm2"], "Did you mean 'smollm2-135m-instruct'?"),
        (["숲"], "There is no file, folder or source '숲'. Name a folder"),
        (["PUBLISHED", "--as", "../x"], "'../x' is no name for a model"),
        (["PUBLISHED", "--as", ".x"], "'.x' is no name for a model"),
        (["PUBLISHED/tokenizer.json"], "tokenizer.json is no file of weights"),
        (["PUBLISHED/empty"], "empty holds no model.safetensors"),
        (["PUBLISHED/ggufs"], "Name one of them: "),
        (["PUBLISHED/ggufs/a.gguf"], "a.gguf cannot be read"),
        (["PUBLISHED/alone/a.safetensors"], "There is no config.json beside"),
        (["pypi:fox#a.gguf"], "names no model in a package"),
        (["pypi:fox==1#../a.gguf"], "names no model in a package"),
        (["pypi:fox==1\n--index-url=x#a.gguf"], "names no package"),
        (["pypi:fox==1.2#fox"], "pypi:fox==1.2#fox holds no model.safetensors"),
        (["hf:org/name"], "HF_HUB_OFFLINE is set"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_left(run, published, wheel, words, expected):
    for name in ("empty/x", "ggufs/a.gguf", "alone/a.safetensors"):
        (published / name).parent.mkdir(exist_ok=True)
        (published / name).touch()
    code, _, error = run("import", *[word.replace("PUBLISHED", str(published)) for word in words])
    assert code == 2
    assert expected in error.replace("\n", " ") or expected in error
    assert not os.path.exists("models")


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_folder_with_code_in_its_weights(run, published):
    (published / "model.safetensors").unlink()
    torch.save({"a": Evil()}, published / "pytorch_model.bin")
    code, _, error = run("import", published)
    assert code == 2
    assert "holds more than tensors" in error
    assert os.listdir() == []
