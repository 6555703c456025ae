"""Labelled images from a folder a class, from MNIST's idx files, or from a table of pixels; checked before trusted."""

from __future__ import annotations

import contextlib
import gzip
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from malmoi.core.console import progress
from malmoi.core.errors import MissingExtra, UserError
from malmoi.core.files import visible_files
from malmoi.data.images import ImageSet, check_room, scaled

LARGEST_TABLE = 1 << 30
"""Bytes of a table of pixels, unpacked."""

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What is opened; formats that other programs would be called for are not among them."""

_IDX_IMAGES = re.compile(r"(?P<part>.*)images(?P<mark>[-.]idx)3(?P<end>-ubyte(\.gz)?)")
_TEST_PARTS = ("t10k", "test")
_DEFLATE_GROWTH = 1032
"""No deflate stream is unpacked to more times its size (zlib's technical page)."""

_AT_ONCE = 1024
"""Images that are scaled together."""


def read_images(path: Path, size: int, channels: int) -> tuple[ImageSet, ImageSet | None]:
    """The images at a path, scaled, and those that come as a test set of their own.

    Args:
        path: a folder with a folder of images a class; a folder with MNIST's idx files, or one of images with its
            labels beside it; or a table (.csv, .csv.gz) with the pixels of a square image and its label in each row.

    Raises:
        UserError: there are none; a class has none; a header, a row or a label is wrong.
    """
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if _IDX_IMAGES.fullmatch(one.name))
        return _read_idx_files(found, path, size, channels) if found else (_read_folder(path, size, channels), None)
    if _IDX_IMAGES.fullmatch(path.name):
        return _read_idx_files([path], path, size, channels)
    if path.name.endswith((".csv", ".csv.gz")):
        return _read_table(path, size, channels), None
    raise UserError(f"{path} holds no labelled images.", "Give a folder a class, idx files, or a table of pixels.")


def count_images(path: Path) -> int:
    """About how many images there are at a path, without reading them; takes what `read_images` takes."""
    if path.is_dir() and not any(_IDX_IMAGES.fullmatch(one.name) for one in path.iterdir()):
        return len(visible_files(path))
    if path.name.endswith((".csv", ".csv.gz")):
        with _opened(path) as file, _damage(path):
            return file.read(LARGEST_TABLE).count(b"\n")
    files = [one for one in path.iterdir() if _IDX_IMAGES.fullmatch(one.name)] if path.is_dir() else [path]
    with _opened(max(files)) as file, _damage(path):
        return int.from_bytes(file.read(8)[4:], "big")


def read_image(path: Path, size: int, channels: int) -> torch.Tensor:
    """(channels, size, size) uint8, of an image file.

    Raises:
        UserError: it cannot be read, or memory does not hold `size`.
        MissingExtra: Pillow is not installed.
    """
    pixels, why = _pixels(path)
    if pixels is None:
        raise UserError(f"{path} cannot be read as an image: {why}.", f"Give one of {', '.join(_FORMATS)}.")
    check_room(1, size, channels)
    return scaled(pixels, size, channels)[0]


def _read_folder(path: Path, size: int, channels: int) -> ImageSet:
    folders = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    files = {folder: visible_files(folder) for folder in folders}
    if len(folders) < 2:
        raise UserError(f"{path} has {len(folders)} folders with images.", "Make a folder a class, two at least.")
    total = sum(map(len, files.values()))
    check_room(total, size, channels)
    rows, labels, names, skipped = [], [], [], {}
    with progress("reading images", total) as advance:
        for label, folder in enumerate(folders):
            for file in files[folder]:
                pixels, why = _pixels(file)
                if pixels is None:
                    skipped[str(file.relative_to(path))] = why
                else:
                    rows.append(scaled(pixels, size, channels))
                    labels.append(label)
                    names.append(str(file.relative_to(path)))
                advance()
    for label, folder in enumerate(folders):
        if label not in labels:
            bad = sum(name.startswith(f"{folder.name}/") for name in skipped)
            what = f"and {bad} files that cannot be read" if bad else "and no other file"
            raise UserError(f"The class folder {folder} has no image, {what}.", "Add images to it, or remove it.")
    return ImageSet(torch.cat(rows), torch.tensor(labels), [folder.name for folder in folders], names, skipped)


def _pixels(path: Path) -> tuple[torch.Tensor | None, str]:
    """(1, 1 or 3, height, width) uint8 of an image file; or None, and why it cannot be read."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtra("pillow", "images", "Reading image files") from None
    try:
        bombs = warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)
        with bombs, Image.open(path, formats=_FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                return None, "it has more than 8 bits a colour"
            upright: Any = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                paper = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(paper, upright.convert("RGBA"))
            grey = upright.mode in ("1", "L")
            array = np.array(upright.convert("L" if grey else "RGB"))
    except FileNotFoundError:
        return None, "there is no such file"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None, f"it states more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    except UnidentifiedImageError:
        return None, "it is no image of a known format"
    except Exception as error:  # a damaged image raises anything
        return None, f"it is damaged ({type(error).__name__})"
    return torch.from_numpy(array.reshape(1, *array.shape[:2], -1)).permute(0, 3, 1, 2), ""


def _read_idx_files(files: list[Path], path: Path, size: int, channels: int) -> tuple[ImageSet, ImageSet | None]:
    tests = [file for file in files if any(part in file.name for part in _TEST_PARTS)]
    trains = [file for file in files if file not in tests] or tests
    if len(trains) != 1 or len(tests) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{path} has more than one set of images: {names}.", "Name the file of one.")
    train = _read_idx_pair(trains[0], size, channels)
    if not tests or tests == trains:
        return train, None
    test = _read_idx_pair(tests[0], size, channels)
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise UserError(f"{tests[0]} has the label {unknown[0]}, which {trains[0].name} has not.", "Check the labels.")
    places = torch.tensor([train.classes.index(name) for name in test.classes])
    return train, ImageSet(test.pixels, places[test.labels], train.classes, test.names)


def _read_idx_pair(path: Path, size: int, channels: int) -> ImageSet:
    match = _IDX_IMAGES.fullmatch(path.name)
    assert match is not None
    beside = path.with_name(f"{match['part']}labels{match['mark']}1{match['end']}")
    if not beside.is_file():
        raise UserError(f"{path.name} has no {beside.name} beside it.", "Put the labels beside the images.")
    images, labels = _read_idx(path, 3), _read_idx(beside, 1)
    if len(images) != len(labels):
        counts = f"{len(images):,} images and {beside.name} {len(labels):,} labels"
        raise UserError(f"{path} has {counts}.", "Get both again.")
    return _of_arrays(images, labels, path, size, channels)


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file of bytes (LeCun and others, the MNIST page), its header checked against its size.

    Raises:
        UserError: it is none, or states more or less than it holds.
    """
    way_out = "Get the file again."
    with _opened(path) as file, _damage(path):
        header = file.read(4 + 4 * dimensions)
        if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
            raise UserError(f"{path} is no idx file of bytes in {dimensions} dimensions.", way_out)
        shape = struct.unpack(f">{dimensions}I", header[4:])
        wanted, held = math.prod(shape), path.stat().st_size
        most = held * _DEFLATE_GROWTH if path.suffix == ".gz" else held
        if not wanted or wanted > most:
            raise UserError(f"{path} states {' x '.join(map(str, shape))} bytes, which {held:,} cannot hold.", way_out)
        content = file.read(wanted + 1)
    if len(content) != wanted:
        more = "more" if len(content) > wanted else f"{len(content):,}"
        raise UserError(f"{path} states {wanted:,} bytes and holds {more}.", way_out)
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read_table(path: Path, size: int, channels: int) -> ImageSet:
    """A table as scikit-learn's digits: pixels of a square, then the label, all whole numbers; the largest is white."""
    with _opened(path) as file, _damage(path):
        content = file.read(LARGEST_TABLE + 1)
    if len(content) > LARGEST_TABLE:
        raise UserError(f"{path} is larger than {LARGEST_TABLE:,} bytes unpacked.", "Give a folder a class.")
    if not content.strip():
        raise UserError(f"{path} is empty.", "There must be the pixels of a square, 8 x 8 say, and the label.")
    try:
        values = np.loadtxt(content.decode().splitlines(), delimiter=",", dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise UserError(f"{path} is no table of whole numbers: {error}.", "Check the line.") from None
    side = math.isqrt(max(0, values.shape[1] - 1))
    if side * side != values.shape[1] - 1 or not side:
        raise UserError(
            f"{path} has {values.shape[1]} columns.", "There must be the pixels of a square, 8 x 8 say, and the label."
        )
    wrong = np.flatnonzero((values < 0).any(axis=1) | (values[:, -1] > 255))
    if len(wrong):
        raise UserError(
            f"{path}, line {wrong[0] + 1}: a pixel or label is out of range, negative or a label above 255.",
            "Check the line.",
        )
    pixels, labels = values[:, :-1], values[:, -1]
    bright = (pixels * 255 / max(1, pixels.max())).round().astype(np.uint8)
    return _of_arrays(bright.reshape(-1, side, side), labels.astype(np.uint8), path, size, channels)


def _of_arrays(images: NDArray[np.uint8], labels: NDArray[np.uint8], path: Path, size: int, channels: int) -> ImageSet:
    """(images, height, width) bytes and (images,) labels as a set of the classes that occur."""
    check_room(len(images), size, channels)
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"All images of {path} have the label {classes[0]}.", "Give images of two classes at least.")
    grey = torch.from_numpy(images.copy()).unsqueeze(1)
    pixels = torch.cat([scaled(part, size, channels) for part in torch.split(grey, _AT_ONCE)])
    names = [f"{path.name}#{number}" for number in range(len(images))]
    return ImageSet(pixels, torch.from_numpy(places.astype(np.int64)), [str(name) for name in classes], names)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is cut short or damaged: {error}.", "Get the file again.") from None
