"""One backward pass gives each network the gradient of its own loss, as two passes of two optimizers would."""

import torch
from torch.nn import functional as F

from malmoi.data.images import ImageBatch
from malmoi.models.generator import GeneratorConfig
from malmoi.models.image_registry import build_adversaries
from malmoi.objectives.adversarial import REAL, Adversarial

CONFIG = GeneratorConfig(size=8, noise=4, width=6)


def batch(count=6):
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    return ImageBatch(images, torch.zeros(count, dtype=torch.int64))


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def entropy(odds, wanted):
    return -(wanted * F.logsigmoid(odds) + (1 - wanted) * F.logsigmoid(-odds)).sum()


def in_turns(adversaries, images, noise):
    """The slow and obvious way: each network is trained alone while the other one stands still."""
    generator, discriminator = adversaries.generator, adversaries.discriminator
    with torch.no_grad():
        made = generator(noise)
    judged = entropy(discriminator(images), REAL) + entropy(discriminator(made), 0.0)
    judged.backward()
    found = {f"discriminator.{name}": value for name, value in gradients(discriminator).items()}
    discriminator.requires_grad_(False)
    fooled = entropy(discriminator(generator(noise)), 1.0)
    fooled.backward()
    found |= {f"generator.{name}": value for name, value in gradients(generator).items()}
    return judged.detach(), fooled.detach(), found


def test_losses_and_gradients_are_those_of_training_in_turns():
    one, two, images = build_adversaries(CONFIG, seed=0), build_adversaries(CONFIG, seed=0), batch()
    torch.manual_seed(7)
    loss = Adversarial().loss(one, images)
    loss.total.backward()
    torch.manual_seed(7)
    judged, fooled, expected = in_turns(two, images.images, torch.randn(len(images.images), CONFIG.noise))
    torch.testing.assert_close(loss.total.detach(), judged + fooled)
    torch.testing.assert_close(loss.metrics["discriminator"], judged)
    torch.testing.assert_close(loss.metrics["generator"], fooled)
    for name, gradient in gradients(one).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


def test_a_discriminator_that_is_frozen_still_teaches():
    adversaries = build_adversaries(CONFIG, seed=0)
    adversaries.discriminator.requires_grad_(False)
    Adversarial().loss(adversaries, batch()).total.backward()
    assert all(parameter.grad is not None for parameter in adversaries.generator.parameters())
    assert all(parameter.grad is None for parameter in adversaries.discriminator.parameters())


def test_statistics_of_batch_norms_are_taken_once_a_step():
    adversaries = build_adversaries(CONFIG, seed=0)
    Adversarial().loss(adversaries, batch())
    assert int(adversaries.generator.layers[1].num_batches_tracked) == 1


def test_images_move_only_while_both_train():
    adversaries, losses = build_adversaries(CONFIG, seed=0).eval(), []
    for training, moved in ((False, 0.0), (False, 0.3), (True, 0.0), (True, 0.3)):
        torch.manual_seed(0)
        losses.append(Adversarial(moved).loss(adversaries.train(training), batch()).total)
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[2], losses[3])
