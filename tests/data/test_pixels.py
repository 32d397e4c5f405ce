import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import png16, png_header, tiff
from PIL import Image

from gnl_jax.data.decode import ImageError
from gnl_jax.data.pixels import check_array, range_warning, read_file, read_image, to_uint8


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def test_a_path_and_its_content_are_read_alike(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    path = tmp_path / "two words\n.png"
    path.write_bytes(png(values))
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(read_image(source), values)


@given(st.integers(0, 65535))
def test_sixteen_bits_are_divided_by_257_and_rounded(value):
    assert to_uint8(np.array([value], np.uint16), 65535)[0] == round(value / 257)  # 257 is odd: no ties


@pytest.mark.parametrize("white", [65535, 4095, 1023, 1, 300.5])
def test_to_uint8_against_exact_integers(white):
    values = np.arange(65536, dtype=np.uint16)
    exact = [min((510 * int(v) * 2 + int(2 * white)) // (2 * int(2 * white)), 255) for v in values]
    np.testing.assert_array_equal(to_uint8(values, white), exact)
    np.testing.assert_array_equal(to_uint8(values.astype(np.float32), white), exact)


def test_values_outside_the_range_are_limited():
    np.testing.assert_array_equal(to_uint8(np.array([-9.0, 0, 0.5, 1, 99]), 1), [0, 0, 128, 255, 255])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_white_level_of_deep_files(channels):
    values = np.random.default_rng(1).integers(0, 4096, (4, 5, channels)).astype(np.uint16)
    for data in (png16(values), tiff(values[..., 0] if channels == 1 else values)):
        for white in (None, 4095):
            expected = np.broadcast_to(to_uint8(values, white or 65535), (4, 5, 3))
            np.testing.assert_array_equal(read_image(data, white=white), expected)
    assert read_image(png16(values), white=4095).max() > 200


def test_the_white_level_leaves_eight_bit_files_alone():
    values = np.full((2, 2, 3), 9, np.uint8)
    np.testing.assert_array_equal(read_image(png(values), white=9), values)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.int32, np.uint32])
def test_values_without_a_known_white_need_one(dtype):
    data = tiff(np.array([[0, 50, 100]], dtype))
    with pytest.raises(ImageError, match=r"'a\.tif': .* values, whose white level is not known"):
        read_image(data, name="a.tif")
    np.testing.assert_array_equal(read_image(data, white=100)[0, :, 0], [0, 128, 255])


def with_alpha(opacity):
    colour = np.random.default_rng(2).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return png(np.dstack([colour, np.full((4, 5), opacity, np.uint8)])), colour


def test_an_opaque_alpha_channel_is_ignored():
    data, colour = with_alpha(255)
    for alpha in ("error", "drop", (1, 2, 3)):
        np.testing.assert_array_equal(read_image(data, alpha=alpha), colour)


def test_transparency_is_an_error_without_a_choice():
    with pytest.raises(ImageError, match=r"'b\.png': has transparent pixels"):
        read_image(with_alpha(254)[0], name="b.png")


@pytest.mark.parametrize("opacity", [0, 1, 77, 128, 254])
def test_transparency_dropped_or_on_a_background(opacity):
    data, colour = with_alpha(opacity)
    np.testing.assert_array_equal(read_image(data, alpha="drop"), colour)
    exact = (colour * float(opacity) + np.array([10.0, 0, 255]) * (255 - opacity)) / 255
    np.testing.assert_array_equal(read_image(data, alpha=(10, 0, 255)), np.rint(exact))


def test_transparency_of_sixteen_bits():
    values = np.full((1, 2, 4), 65535)
    values[0, :, 3] = 65535, 0
    np.testing.assert_array_equal(read_image(png16(values), alpha=(0, 9, 7))[0], [[255, 255, 255], [0, 9, 7]])
    with pytest.raises(ImageError, match="transparent"):
        read_image(png16(values))


@pytest.mark.parametrize(
    "options",
    [{"white": 0}, {"white": np.nan}, {"alpha": "ignore"}, {"alpha": (1, 2)}, {"alpha": (1, 2, 256)}],
)
def test_options_without_a_meaning(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        read_image(png(np.zeros((2, 2, 3), np.uint8)), **options)


def test_an_unusable_file_is_named_with_the_reason(tmp_path):
    for name, content, reason in [
        ("empty.png", b"", "the file is empty"),
        ("text.jpg", b"hello", "not a PNG"),
        ("large.png", png_header(20_000, 10_000), "20000x10000 pixels, more than 100 megapixels"),
        (
            "cut.png",
            png(np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8))[:99],
            "broken",
        ),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=f"{tmp_path}/{name}.*{reason}"):
            read_image(tmp_path / name)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match=r"gone\.png.*No such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="directory"):
        read_file(tmp_path)

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "secret.png").touch()
    monkeypatch.setattr(Path, "read_bytes", denied)  # root reads any file, whatever its mode
    with pytest.raises(ImageError, match=r"secret\.png': Permission denied"):
        read_file(tmp_path / "secret.png")


def test_a_dark_folder_is_told():
    assert range_warning(32, name="parts") is None
    assert "parts: no value above 31 of 255" in range_warning(31, name="parts")


@pytest.mark.parametrize("shape", [(2, 2, 3), (5, 2, 2, 3), (0, 2, 2, 3)])
def test_good_arrays(shape):
    check_array(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((3, 2, 2), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        [[[0, 0, 0]]],
    ],
)
def test_bad_arrays_are_named(images):
    with pytest.raises(ValueError, match=r"parts: got .*, expected .*uint8 \[h w 3\]"):
        check_array(images, name="parts")
