"""A classifier of images is asked by the same command as one of texts."""

import pytest
import torch
from PIL import Image

from malmoi.formats.image_checkpoint import save_images_checkpoint
from malmoi.models.image_classifier import new_image_classifier
from malmoi.models.image_cnn import CNNConfig
from malmoi.models.image_registry import build_image_model


@pytest.fixture
def classifier(tmp_path):
    """A classifier that names bright images bright, and an image of each kind."""
    model = new_image_classifier(
        build_image_model(CNNConfig(size=8, filters=(2, 2), width=2), 0), ["밝음", "어두움"], 0
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.1)
        model.score.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
        model.score.bias.copy_(torch.tensor([-1.0, 1.0]))
    save_images_checkpoint(tmp_path / "model", model, "")
    for name, brightness in (("밝은", 255), ("어두운", 0)):
        Image.new("RGB", (20, 30), (brightness,) * 3).save(tmp_path / f"{name}.png")
    return tmp_path


def test_predict_names_the_class_of_every_image(run, classifier):
    paths = [str(classifier / f"{name}.png") for name in ("밝은", "어두운")]
    code, out, _ = run("predict", classifier, *paths)
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["밝음", "어두움"]
    assert [line.split("\t")[2] for line in out.splitlines()] == paths
    assert run("predict", classifier, stdin="\n".join(paths))[1] == out


def test_a_file_that_is_no_image_is_named(run, classifier):
    code, _, error = run("predict", classifier, classifier / "model/config.json")
    assert code == 2
    assert "cannot be read as an image: it is no image of a known format" in error


@pytest.mark.parametrize(
    ("command", "words"), [(["generate", "MODEL", "x"], "no model of text"), (["export", "MODEL"], "no model of text")]
)
def test_commands_for_text_say_that_a_model_is_of_images(run, classifier, command, words):
    code, _, error = run(*[str(classifier) if word == "MODEL" else word for word in command])
    assert code == 2
    assert words in error
