import pytest
from test_listing import touch

from gnl_jax.data.layouts import find_layout

HEAD = "object,split,label,image,mask\n"
CANDLE = [
    *(
        "candle,train,normal,candle/Data/Images/Normal/0001.JPG,",
        "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
    ),
    "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
    "candle,test,normal,candle/Data/Images/Normal/0002.JPG,",
]
PCB = ["pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,"]


def write(root, rows=(*CANDLE, *PCB), head=HEAD):
    touch(root, *(path for row in rows for path in row.split(",")[3:] if path), "candle/Data/Images/Normal/9.JPG")
    (root / "split_csv").mkdir(exist_ok=True)
    (root / "split_csv" / "1cls.csv").write_text(head + "\n".join(rows) + "\n")
    return str(root)


def test_a_product_below_the_folder_of_all_or_alone(tmp_path):
    root = write(tmp_path)
    whole, alone = find_layout(root, normal="candle"), find_layout(f"{root}/candle")
    assert alone.train.names == ("Data/Images/Normal/0000.JPG", "Data/Images/Normal/0001.JPG")
    assert alone.test.names == ("Data/Images/Anomaly/000.JPG", "Data/Images/Normal/0002.JPG")
    assert alone.test.defects == ("anomaly", "")
    assert alone.test.masks == ((f"{root}/candle/Data/Masks/Anomaly/000.png",), ())
    for one, other in zip(whole, alone):
        assert (one.paths, one.defects, one.masks) == (other.paths, other.defects, other.masks)
        assert one.names == tuple(f"candle/{name}" for name in other.names)


def test_what_is_wrong_is_named(tmp_path):
    root = write(tmp_path)
    for folder, normal in ((root, ""), (root, "cup"), (f"{root}/candle", "pcb1")):
        with pytest.raises(ValueError, match=r"normal: no product .*, expected one of \['candle', 'pcb1'\]"):
            find_layout(folder, normal=normal)
    (tmp_path / "candle" / "Data" / "Masks" / "Anomaly" / "000.png").unlink()
    with pytest.raises(ValueError, match=r"1cls\.csv': 'Data/Masks/Anomaly/000\.png' is not among the images of"):
        find_layout(f"{root}/candle")
    write(tmp_path, head="object,split,image,mask,kind\n")
    with pytest.raises(ValueError, match=r"1cls\.csv': no column 'label' in \['object'"):
        find_layout(root, normal="candle")
    write(tmp_path, rows=["candle,test,odd,candle/1.png,"])
    with pytest.raises(ValueError, match=r"got the row .*'odd'.*, expected a split train or test, a label normal or"):
        find_layout(root, normal="candle")
