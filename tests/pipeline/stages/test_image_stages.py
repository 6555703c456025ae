"""Images: what is frozen stays, what is skipped is counted, a kill changes nothing, mistakes are named."""

import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.data.image_files import read_image
from malmoi.evaluate.image_classes import image_probabilities
from malmoi.formats.image_checkpoint import load_generator, load_image_classifier, save_images_checkpoint
from malmoi.models.efficientnet import EfficientNetConfig
from malmoi.models.image_classifier import new_image_classifier
from malmoi.models.image_registry import build_image_model
from malmoi.pipeline.labelled_images import read_image_splits
from malmoi.pipeline.stages import classify_images, generate_images
from malmoi.pipeline.stages.classify_images import ClassifyImagesSettings
from malmoi.pipeline.stages.generate_images import GenerateImagesSettings, make_images
from malmoi.train import saving

SMALL = {"size": 8, "rows": 8, "epochs": 3}


def picture(generator, upright: bool) -> np.ndarray:
    """A bright stroke in some noise, upright or lying."""
    pixels = generator.integers(0, 60, (8, 8), dtype=np.uint8)
    place = generator.integers(2, 6)
    pixels[(slice(None), place) if upright else place] = 250
    return pixels


@pytest.fixture(scope="module")
def strokes(tmp_path_factory):
    """30 images of each of two classes, and one file that is none."""
    folder, generator = tmp_path_factory.mktemp("images") / "획", np.random.default_rng(0)
    for name in ("세로", "가로"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(picture(generator, name == "세로")).save(folder / name / f"{number:02}.png")
    (folder / "세로/note.txt").write_text("말모이")
    return folder


@pytest.fixture(scope="module")
def judge(strokes, tmp_path_factory):
    """A classifier of the strokes."""
    directory = tmp_path_factory.mktemp("judge")
    result = classify_images.run(ClassifyImagesSettings(images=strokes, **SMALL | {"epochs": 15}), directory)
    return directory, result


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """An EfficientNet of random weights, as a checkpoint."""
    directory = tmp_path_factory.mktemp("base") / "model"
    classifier = new_image_classifier(build_image_model(EfficientNetConfig(size=32), 0), ["a", "b"], 0)
    save_images_checkpoint(directory, classifier, "")
    return directory


def test_a_classifier_learns_beside_its_controls(judge):
    directory, result = judge
    assert result["accuracy"] == 1.0
    assert set(result["controls"]) == {"regression", "neighbour"}
    assert (result["train_images"], result["validation_images"], result["test_images"]) == (44, 4, 12)
    assert result["skipped_images"] == {"세로/note.txt": "it is no image of a known format"}
    assert "획" in (directory / "model/card.md").read_text(encoding="utf-8")


def test_what_was_saved_names_the_same_classes(judge, strokes):
    directory, _ = judge
    splits = read_image_splits(ClassifyImagesSettings(images=strokes), 8, 1)
    predicted = image_probabilities(load_image_classifier(directory), splits.test.pixels).argmax(-1).tolist()
    assert predicted == read_json(directory / "predictions.json")["predicted"]
    image = read_image(strokes / splits.test.names[0], 8, 1)
    assert torch.equal(image, splits.test.pixels[0])


def test_wrong_images_are_kept_to_be_looked_at(strokes, tmp_path):
    result = classify_images.run(ClassifyImagesSettings(images=strokes, **SMALL | {"learning_rate": 1e-9}), tmp_path)
    wrong = list(read_json_lines(tmp_path / "wrong.jsonl"))
    assert len(wrong) == round((1 - result["accuracy"]) * 12) > 0
    assert wrong[0]["picture"].startswith("data:image/png;base64,")
    assert {one["true"] for one in wrong} <= {"세로", "가로"}


@pytest.mark.parametrize("train", ["head", "last:1"])
def test_a_frozen_base_is_the_same_to_the_bit_afterwards(strokes, pretrained, tmp_path, train):
    settings = ClassifyImagesSettings(images=strokes, base=pretrained, train=train, rows=8, epochs=1, per_class=8)
    result = classify_images.run(settings, tmp_path)
    first = {"head": 18, "last:1": 17}[train]
    before, after = (load_image_classifier(path).body.blocks for path in (pretrained, tmp_path))
    for name, value in before[:first].state_dict().items():
        assert torch.equal(value, after[:first].state_dict()[name]), name
    assert result["frozen_unchanged"]
    assert result["train_images"] == 16
    assert torch.equal(before[17].norm.running_mean, after[17].norm.running_mean) == (train == "head")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": "head"}, "freezes a network that has learned nothing"),
        ({"size": 4}, "6 x 6 pixels or more"),
        ({"model": "efficientnet-lite0", "size": 16}, "'size'"),
        ({"per_class": 40}, "images to learn from, not 40"),
        ({"test": 0.01}, "1% of them are none or all"),
        ({"weights": "sms-spam"}, "is no network for images. Known: efficientnet-lite0"),
        ({"weights": "minilm-l6-v2", "base": "BASE"}, "two networks"),
        ({"base": "BASE", "train": "last:19"}, "18 layers, fewer than train=last:19 trains"),
        ({"base": "BASE", "train": "head", "moved": 0.1}, "moved changes what frozen blocks give"),
    ],
)
def test_mistakes_are_named_before_any_training(strokes, pretrained, tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(classify_images, "Trainer", None)
    changes = {name: pretrained if value == "BASE" else value for name, value in changes.items()}
    with pytest.raises(UserError, match=words):
        classify_images.run(ClassifyImagesSettings(**{"images": strokes} | SMALL | changes), tmp_path)


def test_the_estimate_counts_images_without_reading_them(strokes, pretrained):
    scratch = classify_images.STAGE.estimate(ClassifyImagesSettings(images=strokes, **SMALL))
    assert "about 44 images" in scratch.lines[0]
    frozen, learned = (
        classify_images.STAGE.estimate(ClassifyImagesSettings(images=strokes, base=pretrained, train=train))
        for train in ("head", "all")
    )
    assert 0 < frozen.seconds < learned.seconds
    assert classify_images.STAGE.estimate(ClassifyImagesSettings()).seconds is None


@pytest.fixture(scope="module")
def made(strokes, judge, tmp_path_factory):
    """A generator after a moment, whose state was saved after every step."""
    directory = tmp_path_factory.mktemp("made")
    settings = generator_settings(strokes, judge[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "SAVED_AFTER", 0.0)
        patch.setattr(saving, "SHARE", math.inf)
        return directory, settings, generate_images.run(settings, directory)


def generator_settings(strokes, judge):
    small = {"width": 8, "noise": 8, "rows": 16, "epochs": 8, "pictures": 3, "samples": 50}
    return GenerateImagesSettings(images=strokes, judge=judge, **small)


def test_what_a_generator_makes_is_judged_beside_controls(made):
    _, _, result = made
    assert set(result["scores"]) == {"made", "held_out", "gaussian", "means"}
    assert all(sum(score["shares"]) == pytest.approx(1) for score in result["scores"].values())
    assert result["scores"]["means"]["variety"] < result["scores"]["held_out"]["variety"]
    assert result["least_share"] == min(result["scores"]["made"]["shares"])


def test_pictures_are_drawn_while_it_learns(made):
    directory, _, _ = made
    names = sorted(path.name for path in (directory / "pictures").iterdir())
    assert names[-3:] == ["step-000000.png", "step-000011.png", "step-000022.png"]
    assert names[:-3] == ["gaussian.png", "held_out.png", "made.png", "means.png"]
    assert Image.open(directory / "pictures/made.png").size == (98, 48)


def test_a_generator_opens_again_and_makes_the_same(made):
    directory, _, _ = made
    noise = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    one, two = (make_images(load_generator(directory), noise) for _ in range(2))
    assert one.shape == (3, 1, 8, 8)
    assert torch.equal(one, two)


def test_a_killed_training_ends_with_the_same_bits(made, tmp_path):
    directory, settings, _ = made
    shutil.copytree(directory / "checkpoints/step-00000021", tmp_path / "checkpoints/step-00000021")
    generate_images.run(settings, tmp_path)
    for name in ("model/model.safetensors", "pictures/made.png"):
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes(), name


def test_a_judge_of_other_classes_is_refused(strokes, pretrained, tmp_path):
    with pytest.raises(UserError, match="The judge knows the classes a, b, and the images have 가로, 세로"):
        generate_images.run(generator_settings(strokes, pretrained), tmp_path)
