"""Images as PNG, alone and in grids, for people to look at."""

from __future__ import annotations

import base64
import io

import torch

from malmoi.core.errors import MissingExtra


def png(pixels: torch.Tensor) -> bytes:
    """A PNG file of (1 or 3, height, width) uint8.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "images", "Drawing images") from None
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    content = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(content, format="PNG", optimize=True)
    return content.getvalue()


def grid(pixels: torch.Tensor, columns: int, gap: int = 2) -> torch.Tensor:
    """(channels, height, width) uint8: (images, channels, size, size) in rows of so many, with grey between."""
    images, channels, size, _ = pixels.shape
    rows = -(-images // columns)
    sheet = torch.full((channels, rows * (size + gap) - gap, columns * (size + gap) - gap), 128, dtype=torch.uint8)
    for number, image in enumerate(pixels):
        top, left = (place * (size + gap) for place in divmod(number, columns))
        sheet[:, top : top + size, left : left + size] = image
    return sheet


def data_address(content: bytes) -> str:
    """A PNG file as an address that holds it, for a page that loads nothing."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
