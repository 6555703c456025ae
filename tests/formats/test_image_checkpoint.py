"""Networks of images come back as they were saved, and EfficientNet-Lite0's published file gives what its code gives."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.formats.families.efficientnet import lines
from malmoi.formats.image_checkpoint import (
    is_of_images,
    load_generator,
    load_image_classifier,
    save_images_checkpoint,
)
from malmoi.models.efficientnet import STAGES, EfficientNetConfig
from malmoi.models.generator import GeneratorConfig
from malmoi.models.image_classifier import new_image_classifier
from malmoi.models.image_cnn import CNNConfig
from malmoi.models.image_registry import build_image_model


@pytest.fixture
def saved(tmp_path):
    """A small classifier with two Korean classes, and where it was saved."""
    classifier = new_image_classifier(build_image_model(CNNConfig(size=8, filters=(2, 3), width=4), 0), ["개", "새"], 0)
    save_images_checkpoint(tmp_path / "model", classifier.eval(), "# 카드\n")
    return classifier, tmp_path


def test_a_classifier_comes_back_with_its_classes(saved):
    classifier, directory = saved
    loaded = load_image_classifier(directory)
    images = torch.rand(2, 1, 8, 8)
    assert loaded.classes == ["개", "새"]
    assert not loaded.training
    torch.testing.assert_close(loaded(images), classifier(images), rtol=0, atol=0)
    assert is_of_images(directory)
    assert is_of_images(directory / "model")
    assert (directory / "model/card.md").read_text(encoding="utf-8") == "# 카드\n"


def test_a_generator_comes_back_with_the_statistics_of_its_norms(tmp_path):
    generator = build_image_model(GeneratorConfig(size=8, noise=4, width=6), 0)
    generator(torch.randn(9, 4) * 3)
    save_images_checkpoint(tmp_path, generator, "")
    noise = torch.randn(2, 4)
    torch.testing.assert_close(load_generator(tmp_path)(noise), generator.eval()(noise), rtol=0, atol=0)
    with pytest.raises(UserError, match="makes images and names no classes"):
        load_image_classifier(tmp_path)


@pytest.mark.parametrize("content", ["[]", '{"model_type": "malmoi", "family": ["cnn"]}', '{"model_type": "llama"}'])
def test_a_configuration_of_something_else_is_not_of_images(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert not is_of_images(tmp_path)


def test_a_classifier_makes_no_images_and_an_empty_folder_is_neither(saved, tmp_path):
    with pytest.raises(UserError, match="is a classifier and makes no images"):
        load_generator(saved[1])
    (tmp_path / "empty").mkdir()
    assert not is_of_images(tmp_path / "empty")
    with pytest.raises(UserError, match="There is no model of images"):
        load_image_classifier(tmp_path / "empty")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 10**15}, "of another shape|no model has"),
        ({"width": 5}, "of another shape"),
        ({"size": 4}, "6 x 6 pixels or more"),
        ({"channels": 2}, "'channels'"),
        ({"id2label": {"1": "a"}}, "id2label from 0"),
        ({"id2label": None}, "id2label from 0"),
    ],
)
def test_a_wrong_configuration_is_refused(saved, changes, words):
    path = saved[1] / "model/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=words):
        load_image_classifier(saved[1])


def test_numbers_that_are_not_finite_are_refused(saved):
    path = saved[1] / "model/model.safetensors"
    tensors = load_file(path)
    tensors["score.bias"][0] = torch.nan
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"score\.bias holds numbers that are not finite"):
        load_image_classifier(saved[1])


@pytest.fixture(scope="module")
def published():
    """A random state dict with the names and shapes of the published one."""
    classifier = new_image_classifier(build_image_model(EfficientNetConfig(), 0), [str(n) for n in range(1000)], 0)
    ours, generator = classifier.state_dict(), torch.Generator().manual_seed(0)
    tensors = {}
    for line in lines():
        value = ours[line.ours[0]]
        noise = torch.rand(value.shape, generator=generator)
        tensors[line.theirs] = 0.5 + noise if value.ndim == 1 else (noise - 0.5) * (12 / value[0].numel()) ** 0.5
        if line.theirs.endswith("running_var"):
            tensors[line.theirs.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    return tensors


def unit(tensors, images, convolution, norm, stride=1, activated=True):
    """A convolution as TensorFlow pads it, and batch norm, written out."""
    weight = tensors[f"{convolution}.weight"]
    kernel = weight.shape[-1]
    less = max(0, kernel - stride) if images.shape[-1] % stride == 0 else max(0, kernel - images.shape[-1] % stride)
    images = F.pad(images, (less // 2, less - less // 2) * 2)
    groups = images.shape[1] // weight.shape[1]
    hidden = F.conv2d(images, weight, stride=stride, groups=groups)
    scale, shift, mean, variance = (
        tensors[f"{norm}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
    )
    hidden = (hidden - mean) / (variance + 1e-3).sqrt() * scale + shift
    return hidden.clamp(0, 6) if activated else hidden


def written_out(tensors, images):
    """The network by the names of the published file."""
    hidden = unit(tensors, images, "_conv_stem", "_bn0", 2)
    number = 0
    for blocks, _, stride, expansion, filters in STAGES:
        for place in range(blocks):
            block, wide = f"_blocks.{number}.", hidden
            if expansion > 1:
                wide = unit(tensors, wide, f"{block}_expand_conv", f"{block}_bn0")
            wide = unit(tensors, wide, f"{block}_depthwise_conv", f"{block}_bn1", stride if place == 0 else 1)
            narrow = unit(tensors, wide, f"{block}_project_conv", f"{block}_bn2", activated=False)
            same = narrow.shape == hidden.shape and (place or stride == 1) and hidden.shape[1] == filters
            hidden = hidden + narrow if same else narrow
            number += 1
    hidden = unit(tensors, hidden, "_conv_head", "_bn1")
    return F.linear(hidden.mean((2, 3)), tensors["_fc.weight"], tensors["_fc.bias"])


@pytest.mark.parametrize("size", [64, 50])
@torch.no_grad()
def test_the_published_file_gives_the_same_scores(published, tmp_path, size):
    torch.save(published, tmp_path / "lite0.pth", _use_new_zipfile_serialization=False)
    classifier = load_image_classifier(tmp_path / "lite0.pth")
    classifier.body.resize(size)
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        classifier(pixels), written_out(published, (pixels * 255 - 127) / 128), atol=1e-4, rtol=1e-4
    )


def test_another_file_is_refused(published, tmp_path):
    torch.save({name: value for name, value in published.items() if name != "_fc.bias"}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"missing:\n    _fc\.bias"):
        load_image_classifier(tmp_path / "a.pth")
    torch.save({"a": print}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="more than tensors"):
        load_image_classifier(tmp_path / "b.pth")
