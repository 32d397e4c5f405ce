"""Which images show the same part: by names and by tables."""

import pytest

from gnl_jax.detection.grouping import part_names

NAMES = ("a_1.png", "a_2.png", "b_1.png")


def test_a_group_is_the_first_group_of_the_expression_or_all_of_it():
    assert part_names(NAMES, "") == NAMES
    assert part_names(NAMES, "^[a-z]") == ("a", "a", "b")
    assert part_names(NAMES, r"_(\d)") == ("1", "2", "1")


def table(tmp_path, text):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    return str(path)


def test_a_table_names_images_by_the_end_of_their_paths(tmp_path):
    path = table(tmp_path, "file,tile,exposure\ngood/a_1.png,7,1\nx/good/a_2.png,7,2\n\nb_1.png,8,1\n")
    assert part_names(NAMES, path, root="/data/x/good") == ("7", "7", "8")


def test_the_longest_path_decides(tmp_path):
    path = table(tmp_path, "a_1.png,1\ngood/a_1.png,2\nbad/a_1.png,3\n")
    assert part_names(("good/a_1.png", "bad/a_1.png", "a_1.png"), path, root="/data") == ("2", "3", "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a_1.png,1\na_2.png,1\n", "has no line for .*b_1.png"),
        ("a_1.png\n", "a line without two columns"),
        ("other/a_1.png,1\na_2.png,1\nb_1.png,1\n", "has no line for .*a_1.png"),
    ],
)
def test_what_a_table_lacks_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        part_names(NAMES, table(tmp_path, text), root="/data")


def test_no_part_is_ambiguous(tmp_path):
    with pytest.raises(ValueError, match=r"different parts for '/data/a_1\.png': 1, 2"):
        part_names(("a_1.png",), table(tmp_path, "a_1.png,1\na_1.png,2\n"), root="/data")
    with pytest.raises(ValueError, match=r"matches nothing in 'b_1\.png'"):
        part_names(("a_1.png", "b_1.png"), "(a)?_1")


def test_a_mark_of_a_spreadsheet_is_no_part_of_a_name(tmp_path):
    assert part_names(("a_1.png",), table(tmp_path, "\ufeffa_1.png,1\n"), root="/data") == ("1",)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_windows(tmp_path, mark):
    lines = [
        ("file", "tile", "gain"),
        (r"good\a_1.png", "7", "1"),
        (r".\good\a_2.png", "7 ", "1"),
        ("b_1.png", "8", "2"),
    ]
    path = table(tmp_path, "\r\n".join(mark.join(line) for line in lines) + "\r\n\r\n")
    assert part_names(NAMES, path, root="/data/x/good") == ("7", "7", "8")


def test_a_semicolon_table_may_have_decimal_commas(tmp_path):
    assert part_names(("a_1.png",), table(tmp_path, "a_1.png;1,5;2\n"), root="/data") == ("1,5",)


def test_a_backslash_may_be_part_of_a_name(tmp_path):
    assert part_names((r"a\1.png",), table(tmp_path, "a\\1.png,1\n"), root="/data") == ("1",)


def test_a_missing_table_is_named():
    with pytest.raises(ValueError, match=r"'/no/groups.csv' cannot be read"):
        part_names(NAMES, "/no/groups.csv")


@pytest.mark.parametrize(
    "text",
    [
        "good/a_1.png;7\ngood/a_2.png;7\ngood/b_1.png;8\n",
        "x\\good\\a_1.png,7\nx\\good\\a_2.png,7\nb_1.png,8\n",
        "x\\good\\a_1.png;7\r\ngood\\a_2.png;7\r\nb_1.png;8\r\n",
    ],
)
def test_a_table_of_windows_is_read(tmp_path, text):
    assert part_names(NAMES, table(tmp_path, text), root="/data/x/good") == ("7", "7", "8")


def test_a_semicolon_in_a_name_separates_nothing(tmp_path):
    assert part_names(("a;b.png",), table(tmp_path, "a;b.png,7\n"), root="/data") == ("7",)
