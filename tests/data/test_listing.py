import os

import pytest
from absl import logging

from gnl_jax.data.listing import list_images, scan


def touch(root, *names):
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass


def test_images_of_all_subfolders_sorted_by_bytes(tmp_path):
    names = ["b.png", "a/z.JPG", "a.b/y.tiff", "a/é.webp", "B.bmp", "a/zz/x.jpeg", "w.tif", "v.gif"]
    touch(tmp_path, *names)
    assert list_images(tmp_path) == tuple(sorted(names, key=os.fsencode))
    assert list_images(str(tmp_path)) == list_images(os.fsencode(tmp_path))


def test_any_file_name_comes_back_and_opens(tmp_path):
    names = [b"two words.png", b"line\nbreak.png", b"\xff\xfe.png", "日本.png".encode(), b"'\"$(x).png"]
    touch(tmp_path, *names)
    listed = list_images(tmp_path)
    assert {os.fsencode(name) for name in listed} == set(names)
    assert all((tmp_path / name).read_bytes() == b"" for name in listed)


def test_everything_else_is_counted(tmp_path, caplog):
    touch(tmp_path, "a.png", ".DS_Store", "Thumbs.db", "__MACOSX/a.png", ".git/b.png", "desktop.ini", "x/._c.png")
    touch(tmp_path, "notes.txt", "more.TXT", "README")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    paths, skipped = scan(tmp_path)
    assert paths == ("a.png",)
    assert skipped == {
        "hidden or system": 6,
        "'.txt' file": 2,
        "file without a suffix": 1,
        "not a regular file": 1,
        "broken link": 1,
    }
    with caplog.at_level("WARNING", logger=logging.get_absl_logger().name):
        list_images(tmp_path)
    assert "1 images; skipped: 2 '.txt' file, 1 broken link" in caplog.text


def test_links_are_followed_once_and_loops_end(tmp_path):
    touch(tmp_path, "root/z/1.png", "root/m/2.png", "outside/3.png")
    root = tmp_path / "root"
    (root / "a").symlink_to(root / "z")  # before the folder itself, in the order of names
    (root / "m" / "up").symlink_to(root)
    (root / "m" / "self").symlink_to(".")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out2").symlink_to(tmp_path / "outside")
    (root / "link.png").symlink_to(tmp_path / "outside" / "3.png")
    paths, skipped = scan(root)
    assert paths == ("link.png", "m/2.png", "out/3.png", "z/1.png")
    assert skipped == {"link to a folder listed already": 4}


def test_a_link_to_a_folder_above_ends(tmp_path):
    touch(tmp_path, "root/1.png", "other/2.png")
    (tmp_path / "root" / "up").symlink_to(tmp_path)
    assert scan(tmp_path / "root").paths == ("1.png", "up/other/2.png")


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"no images in '{tmp_path}', expected names ending in .*png"):
        list_images(tmp_path)
    touch(tmp_path, "a.heic")
    with pytest.raises(ValueError, match=r"found: 1 '\.heic' file"):
        list_images(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"cannot list the folder '.*nowhere/?': No such file"):
        list_images(tmp_path / "nowhere")
    touch(tmp_path, "a.png")
    with pytest.raises(ValueError, match="Not a directory"):
        list_images(tmp_path / "a.png")

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", denied)  # root lists any folder, whatever its mode
    with pytest.raises(ValueError, match="Permission denied"):
        list_images(tmp_path)
