import pytest

from gnl_jax.data.tables import read_table

ROWS = [["file", "part", "gain"], ["good/a,1.png", "7", "1,5"], ["good/b.png", "8", "2"]]


def written(rows, mark):
    quote = {",": '"{}"'}.get(mark, "{}")
    return "\r\n".join(mark.join(quote.format(cell) for cell in row) for row in rows) + "\r\n\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_any_separator_and_encoding(tmp_path, mark, encoding):
    path = tmp_path / "table.csv"
    path.write_bytes(written(ROWS, mark).encode(encoding))
    assert read_table(path) == ROWS


def test_what_excel_adds(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("sep=;\r\nprüfling.png ; 7\r\n;;\r\n".encode("cp1252"))
    assert read_table(path) == [["prüfling.png", "7"]]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"'.*none\.csv' cannot be read \(.*No such file"):
        read_table(tmp_path / "none.csv")
