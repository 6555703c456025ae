"""How much of what has answers is learned from, watched while learning, and tested on."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from malmoi.core.config import Settings


class PartSettings(Settings):
    """Shares of the parts; what they leave is learned from.

    Attributes:
        validation, test: shares.
        split_seed: of whatever decides which part something belongs to.
    """

    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)
    split_seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation={self.validation} and test={self.test} leave nothing to learn from")
        return self
