"""The layout of VisA: a table says which images of each product train and test, and which mask is whose."""

import os
from collections.abc import Sequence

from gnl_jax.data.files import Layout, files_of, normal_files
from gnl_jax.data.tables import read_table

TABLE = "split_csv/1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
KINDS = {"normal": "", "anomaly": "anomaly"}


def split_table(root: str) -> str | None:
    """The published table of a folder that holds the products, or of one of the products; None elsewhere."""
    places = (root, os.path.dirname(os.path.abspath(root)))
    return next((file for place in places if os.path.isfile(file := os.path.join(place, TABLE))), None)


def visa_layout(root: str, paths: Sequence[str], *, normal: str = "") -> Layout:
    """One product of VisA as its table split_csv/1cls.csv divides it.

    Args:
        root: the folder that holds the products and the table, or that of one product.
        paths: `list_images(root)`.
        normal: the product; "" where `root` is that of one.

    Raises:
        ValueError: no such product, a table that cannot be used, an image or a mask of it that is not there.
    """
    table = split_table(root)
    if table is None:
        raise ValueError(f"{root!r}: no table {TABLE} there or beside it")
    whole = os.path.dirname(os.path.dirname(table))
    inside = "" if os.path.abspath(whole) == os.path.abspath(root) else os.path.basename(os.path.abspath(root))
    rows = _rows(table)
    product, products = normal or inside, sorted({row["object"] for row in rows})
    if product not in products or inside not in ("", product):
        raise ValueError(f"normal: no product {product!r} in {root!r}, expected one of {products}")
    prefix, there = f"{inside}/" if inside else "", set(paths)
    train, test, masks = list[str](), dict[str, str](), dict[str, tuple[str, ...]]()
    for row in rows:
        if row["object"] != product:
            continue
        name, mask = (row[column].replace("\\", "/").removeprefix(prefix) for column in ("image", "mask"))
        if missing := [path for path in (name, mask) if path and path not in there]:
            raise ValueError(f"{table!r}: {missing[0]!r} is not among the images of {root!r}")
        if row["split"] == "train" and row["label"] == "normal":
            train.append(name)
        elif row["split"] == "test":
            test[name] = KINDS[row["label"]]
            masks |= {name: (mask,)} if mask and KINDS[row["label"]] else {}
    names = sorted(test, key=os.fsencode)
    return Layout(
        normal_files(root, sorted(train, key=os.fsencode)),
        files_of(root, names, [test[name] for name in names], masks or None),
    )


def _rows(table: str) -> list[dict[str, str]]:
    head, *rows = read_table(table) or [[]]
    if missing := [column for column in COLUMNS if column not in head]:
        raise ValueError(f"{table!r}: no column {missing[0]!r} in {head}, expected {', '.join(COLUMNS)}")
    found = [dict(zip(head, [*row, *[""] * len(head)])) for row in rows]
    for row in found:
        if row["label"] not in KINDS or row["split"] not in ("train", "test"):
            raise ValueError(f"{table!r}: got the row {row}, expected a split train or test, a label normal or anomaly")
    return found
