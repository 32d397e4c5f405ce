import pytest
from test_layouts import numbered
from test_listing import touch

from gnl_jax.data.listing import list_images
from gnl_jax.data.pacs import pacs_domain, pacs_domains, pacs_layout


def test_pacs(tmp_path):
    touch(tmp_path, *numbered("photo/dog", 21), *numbered("photo/horse", 11), "photo/extra.png")
    touch(tmp_path, *numbered("sketch/dog", 12), *numbered("sketch/horse", 3))
    root = str(tmp_path)
    paths = list_images(root)
    assert pacs_domains(paths) == ["photo", "sketch"]
    train, test = pacs_layout(root, paths, "dog")
    assert train.names == tuple(f"photo/dog/{i:02d}.png" for i in range(21) if i % 10)
    tenths = [f"photo/dog/{i}0.png" for i in range(3)] + [f"photo/horse/{i}0.png" for i in range(2)]
    assert test.names == tuple(tenths)
    assert test.defects == ("", "", "", "horse", "horse")
    assert len(pacs_domain(root, paths, "dog", "sketch").names) == 15
    tenth = pacs_domain(root, paths, "horse", "sketch", keep="tenth")
    assert tenth.names == ("sketch/dog/00.png", "sketch/dog/10.png", "sketch/horse/00.png")
    assert tenth.defects == ("dog", "dog", "")


def test_pacs_names_what_is_missing(tmp_path):
    touch(tmp_path, "photo/dog/1.png")
    root, paths = str(tmp_path), ["photo/dog/1.png"]
    with pytest.raises(ValueError, match=r"no domain 'art', found \['photo'\]"):
        pacs_domain(root, paths, "dog", "art")
    with pytest.raises(ValueError, match=r"no class 'cow' in '.*photo', expected one of \['dog'\]"):
        pacs_layout(root, paths, "cow")
    with pytest.raises(ValueError, match="ood: got 'half'"):
        pacs_domain(root, paths, "dog", "photo", keep="half")
