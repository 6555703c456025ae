"""Folders of images, idx files and tables are read as what they are, and whatever is wrong with them is named."""

import gzip
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from malmoi.core.errors import UserError
from malmoi.data.image_files import count_images, read_image, read_images


def write_idx(path, array, header=None):
    """An idx file as LeCun's page describes it."""
    shape = header or array.shape
    content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path):
    """MNIST's four files with 20 and 10 images, some of them compressed."""
    generator = np.random.default_rng(0)
    for part, count, end in (("train", 20, ".gz"), ("t10k", 10, "")):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{end}", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{end}", np.arange(count, dtype=np.uint8) % 5)
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    """Three images of each of two classes, in folders with Korean names."""
    for brightness, name in ((40, "어두움"), (200, "밝음")):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("L", (12, 10), brightness + number).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_mnist_comes_with_its_own_test_set(mnist):
    train, test = read_images(mnist, 28, 1)
    assert (len(train), len(test)) == (20, 10)
    assert train.classes == test.classes == ["0", "1", "2", "3", "4"]
    assert test.labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    content = (mnist / "t10k-images-idx3-ubyte").read_bytes()[16 : 16 + 784]
    assert bytes(test.pixels[0].flatten().tolist()) == content


def test_one_file_of_images_finds_its_labels(mnist):
    train, test = read_images(mnist / "train-images-idx3-ubyte.gz", 14, 3)
    assert train.pixels.shape == (20, 3, 14, 14)
    assert test is None


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ((2**31, 2**10, 2**10), "2147483648 x 1024 x 1024 bytes"),
        ((2**32 - 1,) * 3, "cannot hold"),
        ((20, 28, 27), "holds more"),
        ((21, 28, 28), "states 16,464 bytes and holds 15,680"),
        ((0, 28, 28), "cannot hold"),
        ((20, 784), "no idx file of bytes in 3 dimensions"),
    ],
)
def test_absurd_headers_are_refused_before_memory_is_taken(mnist, header, words):
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    write_idx(mnist / "train-images-idx3-ubyte.gz", noise, header)
    with pytest.raises(UserError, match=words):
        read_images(mnist, 28, 1)


def test_a_cut_file_is_named(mnist):
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="cut short or damaged"):
        read_images(mnist, 28, 1)


def test_fewer_labels_than_images_and_labels_only_in_the_test_are_refused(mnist):
    write_idx(mnist / "train-labels-idx1-ubyte.gz", np.arange(19, dtype=np.uint8) % 5)
    with pytest.raises(UserError, match="20 images and train-labels-idx1-ubyte.gz 19 labels"):
        read_images(mnist, 28, 1)
    write_idx(mnist / "train-labels-idx1-ubyte.gz", np.arange(20, dtype=np.uint8) % 4)
    with pytest.raises(UserError, match="has the label 4, which"):
        read_images(mnist, 28, 1)


def test_images_without_labels_are_refused(mnist):
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="Put the labels beside"):
        read_images(mnist, 28, 1)


def test_a_folder_a_class(folder):
    images, test = read_images(folder, 8, 1)
    assert images.classes == ["밝음", "어두움"]
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.pixels[:, 0, 0, 0].tolist() == [200, 201, 202, 40, 41, 42]
    assert images.names[3] == "어두움/0.png"
    assert test is None


def test_files_that_cannot_be_read_are_listed_and_left_out(folder):
    (folder / "밝음/note.txt").write_text("말모이")
    (folder / "밝음/.hidden").write_text("x")
    good = (folder / "밝음/0.png").read_bytes()
    (folder / "밝음/cut.png").write_bytes(good[:-30])
    Image.new("I;16", (4, 4)).save(folder / "어두움/deep.png")
    images, _ = read_images(folder, 8, 1)
    assert len(images) == 6
    assert images.skipped["밝음/note.txt"] == "it is no image of a known format"
    assert "damaged" in images.skipped["밝음/cut.png"]
    assert images.skipped["어두움/deep.png"] == "it has more than 8 bits a colour"
    assert len(images.skipped) == 3


def stating(png, side):
    """A PNG file whose header states so many pixels of a side."""
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.mark.parametrize("side", [10_000, 40_000])
def test_a_bomb_is_not_unpacked(folder, side):
    (folder / "밝음/bomb.png").write_bytes(stating((folder / "밝음/0.png").read_bytes(), side))
    images, _ = read_images(folder, 8, 1)
    assert images.skipped == {"밝음/bomb.png": "it states more than 89,478,485 pixels"}


def test_a_class_without_an_image_is_named(folder):
    (folder / "빈 폴더").mkdir()
    (folder / "빈 폴더/note.txt").write_text("x")
    with pytest.raises(UserError, match="빈 폴더 has no image, and 1 files that cannot be read"):
        read_images(folder, 8, 1)


def test_a_folder_without_classes_and_a_file_of_another_kind_are_refused(tmp_path):
    with pytest.raises(UserError, match="has 0 folders with images"):
        read_images(tmp_path, 8, 1)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match="holds no labelled images"):
        read_images(tmp_path / "a.txt", 8, 1)


def test_a_table_of_pixels(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"0,16,8,0,7\n16,0,0,16,3\n"))
    images, _ = read_images(tmp_path / "t.csv.gz", 2, 1)
    assert images.classes == ["3", "7"]
    assert images.labels.tolist() == [1, 0]
    assert images.pixels[0].flatten().tolist() == [0, 255, 128, 0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,2,3,4,0\n1,2,3,-4,1\n", "line 2: a pixel or label is out of range"),
        ("1,2,3,4,0\n1,2,3,4,256\n", "line 2: a pixel or label is out of range"),
        ("1,2,3,4,0\n1,2,3,x,1\n", "no table of whole numbers"),
        ("1,2,3,4,0\n1,2,3\n", "no table of whole numbers"),
        ("1,2,3,0\n", "has 4 columns"),
        ("1,2,3,4,0\n1,2,3,4,0\n", "have the label 0"),
        ("", "is empty"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, content, words):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=words):
        read_images(tmp_path / "t.csv", 2, 1)


def test_images_are_counted_without_being_read(mnist, folder, tmp_path):
    assert count_images(mnist / "train-images-idx3-ubyte.gz") == 20
    assert count_images(folder / "밝음") == 3
    (tmp_path / "t.csv").write_text("1,2,3,4,0\n1,2,3,4,1\n")
    assert count_images(tmp_path / "t.csv") == 2


def test_transparent_places_are_white_and_photographs_stand_upright(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", 4, 1).unique().tolist() == [255]
    turned = Image.new("L", (8, 8))
    turned.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the top of the picture is at the right
    turned.save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png", 8, 1)[0, 0].tolist() == [0, 0, 0, 0, 255, 255, 255, 255]


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png cannot be read as an image"):
        read_image(tmp_path / "a.png", 8, 1)
    with pytest.raises(UserError, match=r"no\.png cannot be read as an image: there is no such file"):
        read_image(tmp_path / "no.png", 8, 1)


def test_what_is_read_is_bytes_in_the_wanted_shape(folder):
    image = read_image(folder / "밝음/0.png", 9, 3)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 9, 9))
