"""A generator and a discriminator learn from each other (Goodfellow and others 2014, arXiv:1406.2661)."""

from __future__ import annotations

import torch
from torch.func import functional_call
from torch.nn import functional as F

from malmoi.data.images import ImageBatch
from malmoi.models.generator import Adversaries
from malmoi.objectives.objective import Loss

REAL = 0.9
"""What the discriminator is told of real images; a little doubt keeps it from growing certain (Salimans and others
2016, arXiv:1606.03498, one-sided label smoothing)."""


class Adversarial:
    """The discriminator's loss on real and made images, plus the generator's, the non-saturating one.

    Both are summed and go backwards once, and still each network gets the gradient of its own loss alone: the
    discriminator judges images that are detached from the generator, and the generator is judged by a discriminator
    whose parameters are detached. So one optimizer and one trainer serve both.
    """

    def loss(self, model: Adversaries, batch: ImageBatch) -> Loss:
        """See `Objective.loss`; the count is that of the real images, and as many are made of new noise."""
        generator, discriminator = model.generator, model.discriminator
        noise = torch.randn(len(batch.images), generator.config.noise, device=batch.images.device)
        made = generator(noise)
        judged = discriminator(torch.cat([batch.images, made.detach()]))
        of_real, of_made = judged.float().chunk(2)
        fixed = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
        believed = functional_call(discriminator, fixed, (made,)).float()
        learned = _binary(of_real, REAL) + _binary(of_made, 0.0)
        fooled = _binary(believed, 1.0)
        return Loss(
            learned + fooled,
            torch.tensor(len(noise)),
            {"discriminator": learned.detach(), "generator": fooled.detach()},
        )


def _binary(odds: torch.Tensor, wanted: float) -> torch.Tensor:
    """Sum of the cross-entropies of (rows,) log-odds with one wanted probability."""
    return F.binary_cross_entropy_with_logits(odds, torch.full_like(odds, wanted), reduction="sum")
