"""Weights of DINOv2: the keys, and what is wrong with a file, by name."""

import hashlib
import socket
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_dinov2 import weight
from safetensors.numpy import save, save_file

from gnl_jax.nn import pretrained, teachers
from gnl_jax.nn.dinov2 import VARIANTS, DinoV2, Variant
from gnl_jax.nn.pretrained import is_cached, load_teacher, named_source, resolve_source
from gnl_jax.nn.teachers import TEACHERS, Published, dinov2_teacher
from gnl_jax.nn.torch_keys import torch_shapes

TINY = {"small": Variant(8, 2, 2), "small_reg": Variant(8, 2, 2, registers=2), "deep": Variant(8, 3, 2)}
ATTENTION = "encoder.layer.1.attention"


def state_dict(name: str) -> dict[str, np.ndarray]:
    """As transformers writes it, the mask token included."""
    expected = jax.eval_shape(lambda: DinoV2(TINY[name]).init(jax.random.key(0), jnp.zeros((1, 14, 14, 3))))
    shapes = torch_shapes(expected) | {"embeddings.mask_token": (1, 8)}
    return {key: weight(key, shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return state_dict("small")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Tiny networks in place of the real ones; the product's own table stays as it is."""
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)
    table = {name: dinov2_teacher(sizes) for name, sizes in TINY.items()} | {"resnet18": TEACHERS["resnet18"]}
    for module in (teachers, pretrained):
        monkeypatch.setattr(module, "TEACHERS", table)


def assert_holds(variables, weights) -> None:
    params = variables["params"]
    query = params["encoder"]["layer_1"]["attention"]["attention"]["query"]
    np.testing.assert_array_equal(query["kernel"], weights[f"{ATTENTION}.attention.query.weight"].T)
    out = params["encoder"]["layer_1"]["attention"]["output"]["dense"]
    np.testing.assert_array_equal(out["bias"], weights[f"{ATTENTION}.output.dense.bias"])
    scale = params["encoder"]["layer_0"]["layer_scale2"]["lambda1"]
    np.testing.assert_array_equal(scale, weights["encoder.layer.0.layer_scale2.lambda1"])
    patches = params["embeddings"]["patch_embeddings"]["projection"]["kernel"]
    theirs = weights["embeddings.patch_embeddings.projection.weight"]
    np.testing.assert_array_equal(patches, theirs.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["embeddings"]["cls_token"], weights["embeddings.cls_token"])
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(np.float32)}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_file(weights, tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    np.savez(path, **weights) if suffix == ".npz" else save_file(weights, path)
    assert_holds(load_teacher("small", str(path)), weights)


def test_file_of_a_classifier(weights, tmp_path):
    prefixed = {f"dinov2.{key}": array for key, array in weights.items()}
    save_file(prefixed | {"classifier.weight": np.zeros((3, 16), np.float32)}, tmp_path / "w.safetensors")
    assert_holds(load_teacher("small", str(tmp_path / "w.safetensors")), weights)
    del prefixed["dinov2.layernorm.bias"]
    save_file(prefixed, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors: layernorm\.bias: missing, expected shape \(8,\)"):
        load_teacher("small", str(tmp_path / "w.safetensors"))


def test_names_in_memory(weights, tmp_path):
    """The state dict of transformers 5, which names attention otherwise than its files."""
    names = {"attention.query": "q_proj", "attention.key": "k_proj", "attention.value": "v_proj"}
    names["output.dense"] = "o_proj"
    renamed = {}
    for key, array in weights.items():
        for file, memory in names.items():
            key = key.replace(f".attention.{file}.", f".attention.{memory}.")
        renamed[key] = array
    assert sum("_proj." in key for key in renamed) == 2 * 4 * 2
    np.savez(tmp_path / "w.npz", **renamed)
    assert_holds(load_teacher("small", str(tmp_path / "w.npz")), weights)


@pytest.mark.slow
def test_random_is_the_initialisation_from_the_seed():
    first, again, other = (load_teacher("small", "random", seed=seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernels = [v["params"]["encoder"]["layer_0"]["mlp"]["fc1"]["kernel"] for v in (first, other)]
    assert kernels[0].dtype == jnp.float32
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3
    draws = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(first) if leaf.ndim > 1])
    assert np.std(draws) == pytest.approx(0.02 * 0.8796, rel=0.03)  # cut at two deviations
    shapes = jax.eval_shape(lambda: DinoV2(TINY["small"]).init(jax.random.key(0), jnp.zeros((1, 14, 14, 3))))
    jax.tree.map(lambda ours, module: np.testing.assert_equal(ours.shape, module.shape), first, shapes)
    block = first["params"]["encoder"]["layer_1"]
    for leaf, value in (
        (block["layer_scale1"]["lambda1"], 1),
        (block["norm1"]["scale"], 1),
        (block["norm1"]["bias"], 0),
    ):
        assert np.all(leaf == value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layernorm.weight": None}, r"layernorm\.weight: missing, expected shape \(8,\)"),
        ({"layernorm.weight": np.ones((9,))}, r"layernorm\.weight: got shape \(9,\), expected \(8,\)"),
        (
            {f"{ATTENTION}.attention.key.weight": np.full((8, 8), np.nan)},
            r"encoder\.layer\.1\.attention\.attention\.key\.weight: holds a NaN",
        ),
        ({"layernorm.bias": np.ones(8, np.int64)}, r"layernorm\.bias: got type int64, expected floats"),
        ({"encoder.layer.1.mlp.weights_in.weight": np.ones(1)}, r"layer\.1\.mlp\.weights_in\.weight: unexpected"),
        (
            {"embeddings.position_embeddings": np.ones((1, 257, 8))},
            r"embeddings\.position_embeddings: got shape \(1, 257, 8\), expected \(1, 1370, 8\)",
        ),
    ],
)
def test_key_that_does_not_fit(weights, tmp_path, change, message):
    changed = {key: array for key, array in (weights | change).items() if array is not None}
    save_file(changed, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=rf"w\.safetensors: {'.*' if 'mlp' in message else ''}{message}"):
        load_teacher("small", str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(("found", "asked"), [("small", "small_reg"), ("small_reg", "small"), ("deep", "small")])
def test_another_variant_is_named(tmp_path, found, asked):
    save_file(state_dict(found), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=rf"w\.safetensors: got the weights of {found}, expected {asked}$"):
        load_teacher(asked, str(tmp_path / "w.safetensors"))


def test_sources_that_are_no_weights(weights, tmp_path):
    save_file(weights, tmp_path / "cut.safetensors")
    data = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-1])
    for source, message in (
        ("imagenet", r"teacher\.weights: got 'imagenet' for small, expected it for one of resnet18$"),
        ("weights", r"teacher weights 'weights': expected 'random', or a path to a \.safetensors, \.npz or \.pth file"),
        ("", r"teacher\.weights: got nothing for small, expected 'random', or a path"),
        (str(tmp_path / "absent.npz"), r"absent\.npz: No such file or directory"),
        (str(tmp_path / "cut.safetensors"), r"cut\.safetensors: got a damaged or cut safetensors file"),
        ("pretrained", r"teacher\.weights: got 'pretrained' for small, expected it for one of"),
        ("bundled", r"teacher\.weights: got 'bundled' for small, expected it for resnet18 alone"),
    ):
        with pytest.raises(ValueError, match=message):
            load_teacher("small", source)


def test_catalogue():
    """The product's table has every variant; of one the published file is known, by revision and hash."""
    assert {name for name in TEACHERS if name.startswith("dinov2")} == set(VARIANTS)
    known = [name for name, teacher in TEACHERS.items() if teacher.published and teacher.source == "pretrained"]
    assert known == ["dinov2_vits14"]
    published = TEACHERS["dinov2_vits14"].published
    assert published.repository == "facebook/dinov2-small"
    assert (len(bytes.fromhex(published.sha256)), len(bytes.fromhex(published.revision))) == (32, 20)


@pytest.fixture
def hub_cache(weights, tmp_path, monkeypatch) -> Path:
    """The cache as the hub client keeps it, holding a small file in place of the published one; no network."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the package huggingface_hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data, published = save(weights), TEACHERS["dinov2_vits14"].published
    small = Published(published.repository, published.revision, hashlib.sha256(data).hexdigest())
    absent = Published("facebook/dinov2-absent", published.revision, published.sha256)
    for name, file in (("small", small), ("deep", absent)):
        monkeypatch.setitem(pretrained.TEACHERS, name, dinov2_teacher(TINY[name], file))
    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, lambda *_, **__: pytest.fail("a socket was asked for"))
    path = tmp_path / "models--facebook--dinov2-small" / "snapshots" / published.revision / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def test_pretrained_is_checked_on_every_load(hub_cache: Path, weights):
    assert_holds(load_teacher("small", "pretrained"), weights)
    data = bytearray(hub_cache.read_bytes())
    data[-1] ^= 1
    hub_cache.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors: got SHA-256 \w{64}, expected \w{64} for small; delete"):
        load_teacher("small", "pretrained")


def test_pretrained_is_downloaded_at_the_pinned_revision(hub_cache: Path, monkeypatch, weights):
    asked, published = [], pretrained.TEACHERS["small"].published
    assert is_cached("small")
    elsewhere = hub_cache.rename(hub_cache.with_name("downloaded.safetensors"))
    assert not is_cached("small")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: asked.append((*a, k)) or str(elsewhere))
    assert_holds(load_teacher("small", "pretrained"), weights)
    assert asked == [(published.repository, "model.safetensors", {"revision": published.revision})]


def test_a_teacher_asked_for_by_name_alone(hub_cache: Path, monkeypatch):
    """Its published file; nothing else stands in for one that is not known."""
    assert named_source("small") == "pretrained"
    assert named_source("resnet18") == "bundled"
    with pytest.raises(ValueError, match=r"teacher\.weights: got nothing for small_reg, expected 'random', or a path"):
        named_source("small_reg")
    with pytest.raises(ValueError, match=r"got nothing for small, expected 'pretrained', 'random', or a path"):
        resolve_source("", "small")
    monkeypatch.setenv("GNL_JAX_TEACHER", "random")
    assert [named_source(name) for name in ("small", "resnet18")] == ["pretrained", "bundled"]
    with pytest.raises(ValueError, match=r"got nothing for small_reg, expected 'random', or a path"):
        named_source("small_reg")
    assert not is_cached("small_reg")


def test_pretrained_that_cannot_be_had(hub_cache: Path, monkeypatch):
    message = r"weights=pretrained: facebook/dinov2-absent is not in the cache .*\(HF_HUB_OFFLINE is set\)"
    with pytest.raises(ValueError, match=message):
        load_teacher("deep", "pretrained")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"teacher\.weights=pretrained needs the hub client, expected `pip install"):
        load_teacher("small", "pretrained")
