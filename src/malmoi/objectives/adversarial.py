"""A generator and a discriminator learn from each other (Goodfellow and others 2014, arXiv:1406.2661)."""

from __future__ import annotations

import torch
from torch.func import functional_call
from torch.nn import functional as F

from malmoi.data.images import ImageBatch
from malmoi.models.generator import Adversaries
from malmoi.objectives.image_class import moved_images
from malmoi.objectives.objective import Loss

REAL = 0.9
"""What the discriminator is told of real images; a little doubt keeps it from growing certain (Salimans and others
2016, arXiv:1606.03498, one-sided label smoothing)."""


class Adversarial:
    """The discriminator's loss on real and made images, plus the generator's, the non-saturating one.

    Both are summed and go backwards once, and still each network gets the gradient of its own loss alone: the
    discriminator judges images that are detached from the generator, and the generator is judged by a discriminator
    whose parameters are detached. So one optimizer and one trainer serve both.

    Args:
        moved: the discriminator sees every image, real or made, turned, shifted and stretched by so much at most, so
            that it cannot learn few real ones by heart (Zhao and others 2020, arXiv:2006.10738); see `ImageClass`.
    """

    def __init__(self, moved: float = 0.0) -> None:
        self.moved = moved

    def loss(self, model: Adversaries, batch: ImageBatch) -> Loss:
        """See `Objective.loss`; the count is that of the real images, and as many are made of new noise."""
        generator, discriminator = model.generator, model.discriminator
        noise = torch.randn(len(batch.images), generator.config.noise, device=batch.images.device)
        made = generator(noise)
        judged = discriminator(self._shown(torch.cat([batch.images, made.detach()]), model))
        of_real, of_made = judged.float().chunk(2)
        fixed = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
        believed = functional_call(discriminator, fixed, (self._shown(made, model),)).float()
        learned = _binary(of_real, REAL) + _binary(of_made, 0.0)
        fooled = _binary(believed, 1.0)
        return Loss(
            learned + fooled,
            torch.tensor(len(noise)),
            {"discriminator": learned.detach(), "generator": fooled.detach()},
        )

    def _shown(self, images: torch.Tensor, model: Adversaries) -> torch.Tensor:
        return moved_images(images, self.moved) if self.moved and model.training else images


def _binary(odds: torch.Tensor, wanted: float) -> torch.Tensor:
    """Sum of the cross-entropies of (rows,) log-odds with one wanted probability."""
    return F.binary_cross_entropy_with_logits(odds, torch.full_like(odds, wanted), reduction="sum")
