import numpy as np
import PIL
import pytest
from image_files import png16
from PIL import Image

from gnl_jax.data.decode import ImageError, UnusableFiles
from gnl_jax.data.reading import Transform, load_images
from gnl_jax.images.resize import Geometry, resize

RNG = np.random.default_rng(0)
INVERT = Transform(lambda image, name: 255 - image, "invert")


def write_images(folder, n=12):
    """Images of all sizes and two formats; returns their paths."""
    paths = []
    for i in range(n):
        h, w = RNG.integers(5, 60, 2)
        path = folder / f"{i:02d}.{'jpg' if i % 3 else 'png'}"
        Image.fromarray(RNG.integers(0, 256, (h, w, 3), np.uint8)).save(path)
        paths.append(str(path))
    return paths


def by_pillow(path, size=32):
    image = Image.open(path).convert("RGB")
    image = image.resize((size, image.height), Image.Resampling.BILINEAR)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("workers", [1, 4])
def test_against_pillow_without_and_with_the_cache(workers, tmp_path):
    paths = write_images(tmp_path)
    expected = [by_pillow(path) for path in paths]
    for cache_dir, decoded in (("", 12), ("", 12), (tmp_path / "cache", 12), (tmp_path / "cache", 0)):
        images, kept, report = load_images(paths, 32, cache_dir=cache_dir, workers=workers)
        np.testing.assert_array_equal(images, expected)
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(kept, np.arange(12))
        assert report[:3] == (decoded, 12 - decoded, ())


def test_the_default_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    paths = write_images(tmp_path, 2)
    load_images(paths, 32)
    assert load_images(paths, 32).report.cached == 2
    assert (tmp_path / "home" / "gnl_jax").is_dir()


def test_whatever_changes_the_pixels_is_in_the_key(tmp_path, monkeypatch):
    deep, clear = tmp_path / "deep.png", tmp_path / "clear.png"
    deep.write_bytes(png16(RNG.integers(0, 4096, (9, 9, 1))))
    Image.fromarray(RNG.integers(0, 256, (9, 9, 4), np.uint8)).save(clear)
    scale = Transform(lambda image, name: image // (2 + len(name)), "scale")
    cases = [
        (deep, {}),
        (deep, {"size": 33}),
        (deep, {"size": Geometry(32, 36)}),
        (deep, {"size": Geometry(32, 40)}),
        (deep, {"size": Geometry(32, 40, "lanczos")}),
        (deep, {"white": 4095}),
        (deep, {"white": 1023}),
        (clear, {"alpha": "drop"}),
        (clear, {"alpha": (0, 0, 0)}),
        (clear, {"alpha": (9, 0, 0)}),
        (deep, {"white": 4095, "transform": INVERT, "names": ["a"]}),
        (deep, {"white": 4095, "transform": scale, "names": ["a"]}),
        (deep, {"white": 4095, "transform": scale, "names": ["bb"]}),
    ]
    for path, options in cases:
        options = {"size": 32} | options
        first = load_images([str(path)], cache_dir=tmp_path / "cache", **options)
        again = load_images([str(path)], cache_dir=tmp_path / "cache", **options)
        exact = load_images([str(path)], cache_dir="", **options)
        assert (first.report.decoded, again.report.cached) == (1, 1), options
        np.testing.assert_array_equal(first.images, exact.images)
        np.testing.assert_array_equal(again.images, exact.images)
    with pytest.raises(ImageError, match="transparent"):
        load_images([str(clear)], 32, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(PIL, "__version__", "99.0")
    assert load_images([str(deep)], 32, cache_dir=tmp_path / "cache").report.decoded == 1


@pytest.mark.parametrize("cache_dir", ["cache", ""])
def test_the_centre_of_images_in_memory_or_read_again(cache_dir, tmp_path):
    paths, geometry = write_images(tmp_path, 3), Geometry(20, 33, "lanczos")
    expected = [resize(np.asarray(Image.open(path)), geometry) for path in paths]
    for memory_mb in (1, 0):
        for _ in range(2):
            images = load_images(
                paths, geometry, memory_mb=memory_mb, cache_dir=cache_dir and tmp_path / cache_dir
            ).images
            np.testing.assert_array_equal(images[np.arange(3)], expected)
    assert not isinstance(images, np.ndarray)


def test_the_content_is_the_key_not_the_name(tmp_path):
    a, b = write_images(tmp_path, 2)
    load_images([a], 32, cache_dir=tmp_path / "cache")
    moved = tmp_path / "elsewhere.png"
    moved.write_bytes((tmp_path / "00.png").read_bytes())
    assert load_images([str(moved)], 32, cache_dir=tmp_path / "cache").report.cached == 1
    Image.open(b).save(a)
    images, _, report = load_images([a], 32, cache_dir=tmp_path / "cache")
    assert report.decoded == 1
    np.testing.assert_array_equal(images[0], by_pillow(a))


def test_a_transform_sees_each_image_at_its_own_size_with_its_name(tmp_path):
    paths = write_images(tmp_path, 5)
    seen = {}

    def note(image, name):
        seen[name] = image
        return 255 - image

    names = [f"image {i}" for i in range(5)]
    images = load_images(paths, 32, names=names, transform=Transform(note, "note"), cache_dir="").images
    for i, path in enumerate(paths):
        np.testing.assert_array_equal(seen[f"image {i}"], np.asarray(Image.open(path)))
    assert not np.array_equal(images, [by_pillow(path) for path in paths])


def test_an_unusable_file_stops_or_is_skipped(tmp_path, caplog):
    paths = write_images(tmp_path, 6)
    (tmp_path / "02.jpg").write_bytes(b"")
    (tmp_path / "04.jpg").unlink()
    for _ in range(2):
        with pytest.raises(UnusableFiles, match=r"02\.jpg': the file is empty") as raised:
            load_images(paths, 32, cache_dir=tmp_path / "cache", what="parts")
        first, *named = str(raised.value).splitlines()
        assert first.startswith("2 of 6 parts cannot be used (--skip-unreadable of gnl-jax fit")
        assert [line.split("'")[1] for line in named] == [paths[2], paths[4]]
        images, kept, report = load_images(paths, 32, cache_dir=tmp_path / "cache", skip_unreadable=True)
        np.testing.assert_array_equal(kept, [0, 1, 3, 5])
        np.testing.assert_array_equal(images, [by_pillow(paths[i]) for i in kept])
        assert [path for path, _ in report.skipped] == [paths[2], paths[4]]
        assert report.decoded + report.cached == 4
    assert "skipped: " in caplog.text
    assert "No such file" in report.skipped[1][1]
    with pytest.raises(ImageError, match=r"2 of 2 parts cannot be used:\n.*empty\n.*No such file"):
        load_images([paths[2], paths[4]], 32, cache_dir="", skip_unreadable=True, what="parts")


def test_all_of_many_unusable_files_are_named(tmp_path):
    with pytest.raises(UnusableFiles, match=r"(?s)25 of 25 images.*/19\.png': No such file") as raised:
        load_images([str(tmp_path / f"{i:02d}.png") for i in range(25)], 32, cache_dir="")
    assert len(raised.value.files) == str(raised.value).count(".png") == 25


def test_an_error_of_a_transform_is_not_an_unreadable_file(tmp_path):
    def fail(image, name):
        raise ValueError(f"no transform of {name}")

    with pytest.raises(ValueError, match="no transform of part 7"):
        load_images(
            write_images(tmp_path, 1),
            32,
            names=["part 7"],
            transform=Transform(fail, "fail"),
            cache_dir="",
            skip_unreadable=True,
        )


def test_a_broken_cache_costs_no_image(tmp_path, caplog):
    paths = write_images(tmp_path, 3)
    (tmp_path / "file").touch()
    images, _, report = load_images(paths, 32, cache_dir=tmp_path / "file")
    np.testing.assert_array_equal(images, [by_pillow(path) for path in paths])
    assert report[:3] == (3, 0, ())
    assert "cannot write to the cache" in caplog.text


@pytest.mark.parametrize(
    ("options", "named"),
    [({"size": 0}, "size: got 0"), ({"names": ["a"]}, "names: got 1 for 2 paths"), ({"white": -1}, "white")],
)
def test_options_without_a_meaning(options, named):
    with pytest.raises(ValueError, match=named):
        load_images(["a.png", "b.png"], **({"size": 32} | options))
