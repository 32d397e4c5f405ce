import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import png16, png_header, tiff
from PIL import Image, ImageOps

from gnl_jax.data.decode import ImageError, decode

RNG = np.random.default_rng(0)
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def photo(h=24, w=32):
    """Smooth enough for JPEG, with no symmetry."""
    y, x = np.mgrid[:h, :w]
    return Image.fromarray(np.stack([x * 7, y * 9, 255 - x * 3 - y * 2], axis=2).astype(np.uint8))


@pytest.mark.parametrize("format", FORMATS)
def test_eight_bits_as_pillow_has_them(format):
    data = encoded(photo(), format)
    samples = decode(data)
    np.testing.assert_array_equal(samples.colour, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert samples.colour.dtype == np.uint8
    assert samples.opacity is None
    assert samples.white == 255


@pytest.mark.parametrize(
    ("mode", "formats"),
    [
        ("1", ("PNG", "BMP", "TIFF")),
        ("L", ("PNG", "JPEG", "BMP", "TIFF", "GIF")),
        ("P", ("PNG", "BMP", "TIFF", "GIF")),
        ("CMYK", ("JPEG", "TIFF")),
        ("YCbCr", ("TIFF",)),
    ],
)
def test_other_colour_kinds_become_rgb_by_pillow(mode, formats):
    for format in formats:
        data = encoded(photo().convert(mode), format)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode(data).colour, expected)
        assert expected.std() > 20


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_apart_from_the_colour_as_stored(mode, format):
    image = photo().convert(mode)
    image.putalpha(Image.fromarray(RNG.integers(1, 256, (24, 32), np.uint8)))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    samples = decode(encoded(image, format, **options))
    np.testing.assert_array_equal(samples.opacity, np.asarray(image)[..., -1])
    np.testing.assert_array_equal(samples.colour, np.asarray(image.convert("RGBA"))[..., :3])


def test_palette_with_transparency():
    image = photo().convert("P")
    for transparency in (5, bytes([0, 100, 255] + [255] * 253)):
        samples = decode(encoded(image, "PNG", transparency=transparency))
        table = np.full(256, 255)
        if isinstance(transparency, int):
            table[transparency] = 0
        else:
            table[:2] = 0, 100
        np.testing.assert_array_equal(samples.opacity, table[np.asarray(image)])
        np.testing.assert_array_equal(samples.colour, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_grey_written_by_pillow(mode, format):
    values = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
    stored = values.astype(">u2" if mode == "I;16B" else "<u2")
    image = Image.frombytes(mode, (7, 5), stored.tobytes())
    samples = decode(encoded(image, format))
    np.testing.assert_array_equal(samples.colour, values)
    assert samples.white == 65535


@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_is_exact(channels, filters):
    values = RNG.integers(0, 65536, (9, 5, channels))
    samples = decode(png16(values, filters=filters))
    colour = values[..., : channels - 1 + channels % 2]
    np.testing.assert_array_equal(samples.colour, colour if colour.shape[2] == 3 else colour[..., 0])
    if channels in (2, 4):
        np.testing.assert_array_equal(samples.opacity, values[..., -1])
    else:
        assert samples.opacity is None
    assert samples.white == 65535


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_png_with_a_transparent_colour(channels):
    values = RNG.integers(0, 65536, (4, 4, channels))
    values[1, 2] = values[0, 0]
    values[3, 3] = values[0, 0] ^ 1  # another colour, though equal to 8 bits
    if channels == 3:
        values[2, 2] = values[0, 0] + np.array([0, 0, 1])  # equal in two channels
    opacity = decode(png16(values, key=values[0, 0])).opacity
    np.testing.assert_array_equal(np.argwhere(opacity == 0), [[0, 0], [1, 2]])
    assert opacity.max() == 65535


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(("channels", "extra"), [(3, None), (4, None), (4, 0), (4, 2)])
def test_sixteen_bit_colour_tiff_is_exact(channels, extra, deflate, order):
    values = RNG.integers(0, 65536, (6, 5, channels)).astype(np.uint16)
    samples = decode(tiff(values, order=order, deflate=deflate, extra=extra))
    np.testing.assert_array_equal(samples.colour, values[..., :3])
    if channels == 4 and extra != 0:  # 0: a fourth sample that is not opacity
        np.testing.assert_array_equal(samples.opacity, values[..., 3])
    else:
        assert samples.opacity is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint32, np.float32])
def test_grey_tiff_is_exact_or_refused(dtype, deflate, order):
    scale = 2.0**32 if dtype == np.uint32 else 2.0**15
    values = ((RNG.random((5, 4)) - (np.dtype(dtype).kind != "u") / 2) * scale).astype(dtype)
    data = tiff(values, order=order, deflate=deflate)
    wide_and_big = order == ">" and (dtype == np.uint32 or (deflate and dtype != np.uint16))
    if wide_and_big:  # Pillow has no mode for the first, and swaps the bytes of the second
        with pytest.raises(ImageError, match=r"not supported|unsupported"):
            decode(data)
        return
    samples = decode(data)
    np.testing.assert_array_equal(samples.colour, values)
    assert samples.white == (65535 if dtype == np.uint16 else None)


def test_twelve_bit_tiff():
    values = RNG.integers(0, 4096, (3, 4)).astype(np.uint16)
    pairs = values.reshape(-1, 2).astype(np.int64)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    samples = decode(tiff(values, bits=12, data=packed.astype(np.uint8).tobytes()))
    np.testing.assert_array_equal(samples.colour, values)
    assert samples.white == 4095


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"plain text", "not a PNG"),
        (tiff(np.zeros((4, 4), np.uint16), photometric=0), "white as zero"),
        (tiff(np.zeros((4, 4, 3), np.uint16), planes=True), "separate planes"),
        (tiff(np.zeros((4, 4, 4), np.uint16), photometric=5), "16-bit CMYK"),
        (tiff(np.zeros((4, 4, 4), np.uint16), extra=1), "16-bit RGBA"),  # premultiplied
        (tiff(np.zeros((4, 4), np.int8)), "signed 8-bit"),
        (tiff(np.zeros((4, 4), np.float64)), "unsupported"),
        (tiff(np.zeros((4, 4, 3), np.float32)), "unsupported"),
        (tiff(np.array([[0, np.nan]], np.float32)), "NaN"),
        (tiff(np.array([[0, np.inf]], np.float32)), "infinite"),
    ],
)
def test_refused_with_the_reason(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode(data)


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "WEBP"])
def test_several_frames_are_refused(format):
    data = encoded(photo(), format, save_all=True, append_images=[ImageOps.invert(photo())])
    with pytest.raises(ImageError, match="2 frames"):
        decode(data)


def test_the_first_picture_of_a_multi_picture_jpeg():
    data = encoded(photo(), "MPO", save_all=True, append_images=[ImageOps.invert(photo())])
    np.testing.assert_array_equal(decode(data).colour, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    upright = decode(encoded(photo(), format, **options)).colour
    stored = decode(encoded(photo(), format, exif=exif, **options)).colour
    # What each value means: where the stored first row and first column are on the upright image.
    turn = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: x.swapaxes(0, 1)[:, ::-1],
        7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
        8: lambda x: x.swapaxes(0, 1)[::-1],
    }[orientation]
    np.testing.assert_array_equal(stored, turn(upright))


def test_exif_orientation_of_deep_images():
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode, values in (("I;16", np.arange(12, dtype=np.uint16)), ("F", np.arange(12, dtype=np.float32))):
        data = encoded(Image.frombytes(mode, (4, 3), values.tobytes()), "TIFF", exif=exif)
        np.testing.assert_array_equal(decode(data).colour, values.reshape(3, 4).T[:, ::-1])


@pytest.mark.parametrize(("width", "megapixels"), [(9_500, 100), (11_000, 100), (20_000, 100), (100, 0.5)])
def test_too_many_megapixels_are_refused_by_the_header_without_a_warning(width, megapixels):
    reason = "truncated|broken" if width == 9_500 else f"{width}x10000 pixels, more than {megapixels} megapixels"
    with pytest.raises(ImageError, match=reason):
        decode(png_header(width, 10_000), max_megapixels=megapixels)


@pytest.mark.parametrize("format", FORMATS)
def test_no_warning_of_large_images_leaks(format, monkeypatch):
    data = encoded(photo(), format)  # 768 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(Image.DecompressionBombWarning):  # warnings are errors in this suite
        Image.open(io.BytesIO(data))
    filters = list(warnings.filters)
    assert decode(data).colour.shape == (24, 32, 3)
    assert warnings.filters == filters


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_short_is_an_error_or_still_whole(format):
    data = encoded(photo(), format)
    whole = decode(data).colour
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2])
    for length in range(len(data)):
        try:
            samples = decode(data[:length])
        except ImageError:
            continue
        np.testing.assert_array_equal(samples.colour, whole)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*FORMATS, "PNG16", "TIFF16"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_bytes_give_pixels_or_an_image_error(format, changes):
    deep = {"PNG16": png16, "TIFF16": lambda v: tiff(v, deflate=True)}
    if format in deep:
        data = deep[format](np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 999)
    else:
        data = encoded(photo(8, 9), format)
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(data))] = value
    try:
        samples = decode(bytes(damaged), max_megapixels=1)
    except ImageError:
        return
    assert samples.colour.dtype.kind in "uif"
