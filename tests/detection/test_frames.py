"""Any form of an image gives the pixels that its file gives, and what is no image is named."""

import io

import numpy as np
import pytest
from PIL import Image

from gnl_jax.data.decode import ImageError
from gnl_jax.data.pixels import read_image
from gnl_jax.detection.frames import Reading, frames_of, is_one_image, read_frame, snapshot

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
GREY = RGB[..., 0]


def encoded(image: Image.Image, kind="PNG") -> bytes:
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()


def read(item, **reading):
    return read_frame(item, name="it", reading=Reading(**reading).check())


def test_an_array_has_the_pixels_of_its_file():
    np.testing.assert_array_equal(read(RGB), read_image(encoded(Image.fromarray(RGB))))
    np.testing.assert_array_equal(read(GREY), read_image(encoded(Image.fromarray(GREY))))
    np.testing.assert_array_equal(read(GREY[..., None]), read(GREY))


def test_16_bits_are_scaled_as_those_of_a_file():
    deep = RNG.integers(0, 65536, (20, 30), np.uint16)
    data = encoded(Image.fromarray(deep))
    np.testing.assert_array_equal(read(deep), read_image(data))
    np.testing.assert_array_equal(read(Image.open(io.BytesIO(data))), read_image(data))
    low = deep >> 4
    np.testing.assert_array_equal(read(low, white=4095.0), read_image(encoded(Image.fromarray(low)), white=4095))
    np.testing.assert_array_equal(read(low, array_white=4095), read(low, white=4095))


def test_floats_need_their_white():
    np.testing.assert_array_equal(read(RGB / 255, array_white=1.0), RGB)
    np.testing.assert_array_equal(read((RGB / 255).astype(np.float32), array_white=1.0), RGB)
    with pytest.raises(ImageError, match=r"it: got an array of float64; set `white`"):
        read(RGB / 255)
    for wrong in (RGB.astype(np.float32), RGB / 255 - 0.5, np.full((4, 4), np.nan)):
        with pytest.raises(ImageError, match=r"got values from .* expected 0 to 1"):
            read(wrong, array_white=1.0)


def test_bgr_is_turned_and_opacity_stays():
    np.testing.assert_array_equal(read(RGB[..., ::-1], channels="bgr"), RGB)
    opaque = np.dstack([RGB, np.full((20, 30), 255, np.uint8)])
    np.testing.assert_array_equal(read(opaque), RGB)
    clear = opaque.copy()
    clear[0, 0, 3] = 0
    with pytest.raises(ImageError, match="transparent pixels"):
        read(clear)
    for alpha in ("drop", (10, 20, 30)):
        np.testing.assert_array_equal(
            read(clear, alpha=alpha), read_image(encoded(Image.fromarray(clear)), alpha=alpha)
        )
    turned = clear[..., [2, 1, 0, 3]]
    np.testing.assert_array_equal(read(turned, alpha=(9, 9, 9), channels="bgr"), read(clear, alpha=(9, 9, 9)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "RGBA"])
def test_a_pil_image_has_the_pixels_of_its_file(mode):
    image = Image.fromarray(RGB).convert(mode)
    data = encoded(image, "PNG" if mode in ("1", "L", "P", "RGB", "LA", "RGBA") else "TIFF")
    np.testing.assert_array_equal(read(Image.open(io.BytesIO(data))), read_image(data))
    np.testing.assert_array_equal(read(snapshot(Image.open(io.BytesIO(data)))), read_image(data))
    np.testing.assert_array_equal(read(bytearray(data)), read_image(data))


def test_a_pil_image_is_turned_as_its_file():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.fromarray(RGB).save(data, "PNG", exif=exif)
    image = Image.open(io.BytesIO(data.getvalue()))
    assert read(image).shape == (30, 20, 3)
    np.testing.assert_array_equal(read(image), read_image(data.getvalue()))
    assert image.size == (30, 20)  # the user's own image stays as it was


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, "got NoneType, expected a path"),
        (3, "got int"),
        ([1, 2], "got list"),
        (np.zeros((2, 3, 4, 3), np.uint8), r"got uint8 \[2, 3, 4, 3\]"),
        (np.zeros((7, 20, 30), np.uint8), r"got uint8 \[7, 20, 30\].*stack of grey images"),
        (np.zeros((0, 3, 3), np.uint8), "got uint8"),
        (np.zeros((4, 4), bool), "array of bool"),
        (np.zeros((4, 4), complex), "array of complex"),
        (b"", "the file is empty"),
        (b"text", "not a PNG"),
        ("", "No such file"),
        ("a\0b.png", "no name of a file"),
        ("/no/such.png", "No such file"),
        ("/", "s a directory"),
        ("/dev/zero", "not a regular file"),
    ],
)
def test_what_is_no_image_is_named(item, message):
    with pytest.raises(ImageError, match=message):
        read(item)


def test_one_image_or_several(tmp_path):
    one = ["a.png", tmp_path, b"", bytearray(), RGB, GREY, Image.new("L", (3, 3)), None, 3]
    several = [[], (), iter(()), {"a.png"}, RGB[None], np.array(["a.png"]), tmp_path.glob("*")]
    assert all(is_one_image(item) for item in one)
    assert not any(is_one_image(item) for item in several)
    assert len(list(frames_of(RGB[None]))) == 1


def test_options_without_a_meaning():
    with pytest.raises(ValueError, match="channels: got 'grb'"):
        Reading(channels="grb").check()
    with pytest.raises(ValueError, match="white: got -1"):
        Reading(array_white=-1).check()
