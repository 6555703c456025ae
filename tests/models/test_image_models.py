"""Networks for images: the same first weights everywhere, frozen blocks that stay as they are, sizes that fit."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.models.efficientnet import EfficientNetConfig
from malmoi.models.generator import GeneratorConfig
from malmoi.models.image_classifier import UpperImageClassifier, freeze, new_image_classifier
from malmoi.models.image_cnn import CNNConfig
from malmoi.models.image_registry import build_adversaries, build_image_model

CONFIGS = {"cnn": CNNConfig(size=12, filters=(3, 4), width=8), "efficientnet": EfficientNetConfig(size=32)}
both = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def images_for(config, count=5):
    shape = (count, config.channels, config.size, config.size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@both
def test_first_weights_are_a_function_of_the_seed(config):
    one, two, other = (build_image_model(config, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@both
def test_each_image_gives_one_score_a_class(config):
    classifier = new_image_classifier(build_image_model(config, 0), ["개", "고양이", "새"], seed=0).eval()
    assert classifier(images_for(config)).shape == (5, 3)


@both
@pytest.mark.parametrize("train", ["head", "last:1", "last:2", "all"])
def test_stored_states_give_the_same_scores(config, train):
    classifier = new_image_classifier(build_image_model(config, 0), ["a", "b"], seed=0).eval()
    first = freeze(classifier.body, train)
    images = images_for(config)
    with torch.no_grad():
        stored = UpperImageClassifier(classifier, first)(classifier.lower(images, first))
        torch.testing.assert_close(stored, classifier(images))


@both
def test_frozen_blocks_and_their_statistics_stay_while_the_rest_learns(config):
    classifier = new_image_classifier(build_image_model(config, 0), ["a", "b"], seed=0)
    first = freeze(classifier.body, "last:1")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    with torch.no_grad():
        stored = classifier.eval().lower(images_for(config), first)
    upper = UpperImageClassifier(classifier, first).train()
    optimizer = torch.optim.SGD([one for one in upper.parameters() if one.requires_grad], 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        upper(stored).square().sum().backward()
        optimizer.step()
    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert "score.weight" in changed
    assert all(name.startswith(("score.", f"body.blocks.{first}.")) for name in changed)


def test_pixels_stand_around_zero():
    config = CONFIGS["efficientnet"]
    black, white = (torch.full((1, 3, 32, 32), value) for value in (0.0, 1.0))
    body = build_image_model(config, 0)
    assert body.embed(black).unique().tolist() == [-127 / 128]
    assert body.embed(white).unique().tolist() == [1.0]


@both
def test_images_of_another_size_are_refused(config):
    with pytest.raises(UserError, match=r"\(1, 9, 9\) came to a model that reads"):
        build_image_model(config, 0)(torch.zeros(2, 1, 9, 9))


def test_a_network_of_convolutions_reads_other_sizes_and_one_with_places_does_not():
    body = build_image_model(CONFIGS["efficientnet"], 0).eval()
    body.resize(64)
    assert body(images_for(body.config, 1)).shape == (1, 1280)
    with pytest.raises(UserError, match="reads images of 12 x 12 pixels, not of 28"):
        build_image_model(CONFIGS["cnn"], 0).resize(28)


@pytest.mark.parametrize(
    ("train", "words"),
    [("lora:2", "is for text"), ("last:9", "3 layers, fewer than train=last:9 trains"), ("most", "is not known")],
)
def test_what_cannot_learn_is_refused(train, words):
    with pytest.raises(UserError, match=words):
        freeze(build_image_model(CONFIGS["cnn"], 0), train)


@pytest.mark.parametrize(("kind", "size"), [(CNNConfig, 5), (EfficientNetConfig, 8), (GeneratorConfig, 0)])
def test_sizes_that_a_network_cannot_have_are_refused(kind, size):
    with pytest.raises(ValueError, match="size"):
        kind(size=size)


def test_a_generator_makes_pixels_and_a_discriminator_judges_each_image_alone():
    adversaries = build_adversaries(GeneratorConfig(size=8, channels=3, noise=4, width=6), seed=0).eval()
    made = adversaries.generator(torch.randn(6, 4))
    assert made.shape == (6, 3, 8, 8)
    assert 0 <= made.min() <= made.max() <= 1
    together = adversaries.discriminator(made)
    torch.testing.assert_close(together[2:3], adversaries.discriminator(made[2:3]))
