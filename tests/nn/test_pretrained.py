import hashlib
import socket
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save, save_file

from gnl_jax.nn import pretrained
from gnl_jax.nn.blocks import ARCHITECTURES
from gnl_jax.nn.pretrained import load_state_dict, load_teacher, resolve_source
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.nn.teachers import TEACHERS
from gnl_jax.nn.torch_keys import torch_shapes
from gnl_jax.nn.vgg import init_source


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """A ResNet-18 state dict as torchvision's files have it: counters, layer4 and classifier included."""
    rng = np.random.default_rng(3)
    expected = jax.eval_shape(lambda: init_teacher(jax.random.key(0), "resnet18"))
    state_dict = {key: rng.standard_normal(shape, np.float32) for key, shape in torch_shapes(expected).items()}
    extra = {
        "layer4.0.conv1.weight": np.zeros((512, 256, 3, 3), np.float32),
        "fc.bias": np.zeros(1000, np.float32),
    }
    return state_dict | extra | {"bn1.num_batches_tracked": np.array(7)}


@pytest.fixture(scope="module")
def vgg_weights() -> dict[str, np.ndarray]:
    """A VGG-16 state dict: torchvision's features, every array of one number of its own."""
    shapes = torch_shapes(jax.eval_shape(init_source, jax.random.key(0)))
    return {key: np.full(shape, number, np.float32) for number, (key, shape) in enumerate(shapes.items())}


@pytest.fixture(autouse=True)
def no_default(monkeypatch):
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a socket was asked for")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_file(weights, tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    np.savez(path, **weights) if suffix == ".npz" else save_file(weights, path)
    variables = load_teacher("resnet18", str(path))
    assert len(jax.tree.leaves(variables)) == 75  # 15 convolutions, each with a norm of four vectors
    kernel = variables["params"]["layer2_0"]["downsample_0"]["kernel"]
    np.testing.assert_array_equal(kernel, weights["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0))
    for ours, theirs in (("mean", "running_mean"), ("var", "running_var")):
        vector = variables["batch_stats"]["layer3_1"]["bn2"][ours]
        np.testing.assert_array_equal(vector, weights[f"layer3.1.bn2.{theirs}"])


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float64])
def test_other_precisions_become_float32(weights, tmp_path, dtype):
    narrow = {key: value.astype(dtype) if value.dtype == np.float32 else value for key, value in weights.items()}
    save_file(narrow, tmp_path / "w.safetensors")
    variables = load_teacher("resnet18", str(tmp_path / "w.safetensors"))
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel, narrow["conv1.weight"].astype(np.float32).transpose(2, 3, 1, 0))


def test_random_is_the_initialisation_from_the_seed(monkeypatch):
    monkeypatch.setitem(TEACHERS, "resnet50", TEACHERS["resnet50"]._replace(init=lambda key: {"key": key}))
    assert load_teacher("resnet50", "random", seed=5) == {"key": jax.random.key(5)}


@pytest.mark.parametrize("classifier", [("classifier.0", "classifier.6"), ("pre_logits.fc1", "head.fc")])
def test_vgg_without_its_classifier(classifier, vgg_weights, tmp_path):
    """As in torchvision's file, and as in the published one."""
    unused = {f"{name}.weight": np.zeros((2, 3), np.float32) for name in classifier}
    first = np.random.default_rng(0).standard_normal((64, 3, 3, 3), np.float32)
    save_file(vgg_weights | unused | {"features.0.weight": first}, tmp_path / "w.safetensors")
    variables = load_teacher("vgg16", str(tmp_path / "w.safetensors"))
    assert variables.keys() == {"params"}
    assert len(variables["params"]) == 13
    np.testing.assert_array_equal(variables["params"]["features_0"]["kernel"], first.transpose(2, 3, 1, 0))
    last = variables["params"]["features_28"]
    assert np.all(last["kernel"] == vgg_weights["features.28.weight"].flat[0])
    np.testing.assert_array_equal(last["bias"], vgg_weights["features.28.bias"])


def test_random_vgg_is_its_initialisation_from_the_seed(monkeypatch):
    monkeypatch.setitem(TEACHERS, "vgg16", TEACHERS["vgg16"]._replace(init=lambda key: {"key": key}))
    assert load_teacher("vgg16", "random", seed=5) == {"key": jax.random.key(5)}


def test_where_weights_come_from(weights, tmp_path, monkeypatch):
    """The flag, else the environment, else those in the package; never the random ones."""
    with pytest.raises(
        ValueError, match=r"teacher.weights: got nothing for resnet50, expected 'imagenet', 'random', or "
    ):
        load_teacher("resnet50", "")
    assert [resolve_source("", arch) for arch, teacher in TEACHERS.items() if teacher.bundled] == ["bundled"]
    np.savez(tmp_path / "w.npz", **weights)
    monkeypatch.setenv("GNL_JAX_TEACHER", str(tmp_path / "w.npz"))
    kernel = load_teacher("resnet18", "")["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, weights["conv1.weight"].transpose(2, 3, 1, 0))
    assert resolve_source("bundled", "resnet18") == "bundled"
    assert resolve_source("random", "resnet18") == "random"
    assert resolve_source("", "resnet50") == str(tmp_path / "w.npz")


def test_bundled_weights_are_torchvisions_with_every_norm_folded():
    """The first values of `conv1.weight` in torchvision's file, up to the scale of the norm behind it."""
    variables = load_teacher("resnet18", "bundled")
    state_dict, name = load_state_dict("resnet18", "bundled")
    assert Path(name).is_relative_to(Path(pretrained.__file__).parent)
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel, state_dict["conv1.weight"].transpose(2, 3, 1, 0))
    assert len(jax.tree.leaves(variables)) == 75
    first = np.asarray(kernel[0, :3, 0, 0], np.float64)
    np.testing.assert_allclose(first / first[0], np.array([-1.0419e-2, -6.1356e-3, -1.8098e-3]) / -1.0419e-2, rtol=1e-4)
    norm = variables["params"]["layer3_1"]["bn2"], variables["batch_stats"]["layer3_1"]["bn2"]
    np.testing.assert_array_equal(norm[0]["scale"], 1)
    np.testing.assert_array_equal(norm[1]["mean"], 0)


def test_bundled_weights_are_of_one_network():
    for arch in ("resnet50", "wide_resnet50_2", "vgg16"):
        with pytest.raises(ValueError, match=rf"teacher\.weights: got 'bundled' for {arch}, expected it for resnet18"):
            load_teacher(arch, "bundled")


def test_damaged_bundled_weights_are_refused(tmp_path, monkeypatch):
    """One bit of them, read where the package lies."""
    name, _ = TEACHERS["resnet18"].bundled
    data = bytearray((Path(pretrained.__file__).parent / "weights" / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).write_bytes(data)
    monkeypatch.setattr(pretrained, "__file__", str(tmp_path / "pretrained.py"))
    with pytest.raises(ValueError, match=rf"{name}: got SHA-256 [0-9a-f]{{64}}, expected [0-9a-f]{{64}} for the bu"):
        load_teacher("resnet18", "")


def test_another_architecture_is_named(weights, tmp_path):
    np.savez(tmp_path / "w.npz", **weights)
    with pytest.raises(ValueError, match=r"w\.npz: got the weights of resnet18, expected resnet50"):
        load_teacher("resnet50", str(tmp_path / "w.npz"))
    with pytest.raises(ValueError, match=r"w\.npz: got the weights of resnet18, expected vgg16"):
        load_teacher("vgg16", str(tmp_path / "w.npz"))
    with pytest.raises(ValueError, match=r"arch: got 'resnet34', expected one of resnet18, .*, vgg16"):
        load_teacher("resnet34", "random")


@pytest.mark.slow
def test_vgg_in_place_of_a_resnet_is_named(vgg_weights, tmp_path):
    save_file(vgg_weights, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors: got the weights of vgg16, expected wide_resnet50_2"):
        load_teacher("wide_resnet50_2", str(tmp_path / "w.safetensors"))
    # VGG-16 with BatchNorm is another network.
    with_norm = vgg_weights | {"features.1.running_mean": np.zeros(64, np.float32)}
    save_file(with_norm, tmp_path / "bn.safetensors")
    with pytest.raises(ValueError, match=r"features\.1\.running_mean: unexpected \(expected the weights of vgg16\)"):
        load_teacher("vgg16", str(tmp_path / "bn.safetensors"))


def test_file_that_lacks_an_array(weights, tmp_path):
    short = {key: value for key, value in weights.items() if key != "layer3.1.bn2.running_var"}
    np.savez(tmp_path / "w.npz", **short)
    with pytest.raises(ValueError, match=r"w\.npz: layer3\.1\.bn2\.running_var: missing, expected shape \(256,\)"):
        load_teacher("resnet18", str(tmp_path / "w.npz"))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("kept", [0, 1, 7, 100, 0.5, -1])
def test_file_cut_short(weights, tmp_path, suffix, kept):
    path = tmp_path / f"w{suffix}"
    np.savez(path, **weights) if suffix == ".npz" else save_file(weights, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=rf"w\{suffix}: got an? (empty file|damaged)"):
        load_state_dict("resnet18", str(path))


def test_npz_with_a_flipped_byte(weights, tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, **weights)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"w\.npz: got a damaged npz"):
        load_state_dict("resnet18", str(path))


@pytest.mark.parametrize("data", [save({"a": np.zeros(1, np.uint8)}), b"\xff" * 64])
def test_safetensors_of_something_else(tmp_path, data):
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"w\.safetensors: (a has type U8|got a damaged)"):
        load_teacher("resnet18", str(path))


def test_pickles_are_not_read(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([object()]))
    with pytest.raises(ValueError, match=r"w\.npz: got a damaged npz file \(Object arrays cannot be loaded"):
        load_state_dict("resnet18", str(tmp_path / "w.npz"))


def test_paths_that_are_no_weights(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path, message in (
        (tmp_path / "absent.npz", r"absent\.npz: No such file or directory, expected a file of weights"),
        (tmp_path / "folder.npz", r"folder\.npz: Is a directory, expected a file of weights"),
        (tmp_path / "w.onnx", r"w\.onnx': expected 'bundled', 'imagenet', 'random', or a path to a \.safetensors"),
        ("imagnet", "teacher weights 'imagnet': expected 'bundled', 'imagenet'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_teacher("resnet18", str(path))


def fake_torch(content) -> types.ModuleType:
    """As much of torch as reading a file takes; torch itself is too large to be required by the tests."""

    class Tensor:
        def __init__(self, array):
            self.array = array

        def is_floating_point(self):
            return self.array.dtype.kind == "f"

        def float(self):
            return Tensor(self.array.astype(np.float32))

        def detach(self):
            return self

        def numpy(self):
            return self.array

    def load(file, *, map_location, weights_only):
        assert (map_location, weights_only) == ("cpu", True)
        if file.read() != b"pickle":
            raise RuntimeError("PytorchStreamReader failed")
        return content(Tensor)

    module = types.ModuleType("torch")
    module.Tensor, module.load = Tensor, load
    return module


def test_pth(weights, tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(b"pickle")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"w\.pth: needs PyTorch, expected `pip install gnl-jax\[torch\]`"):
        load_teacher("resnet18", str(path))

    wrap = {"flat": lambda tensor: {key: tensor(value) for key, value in weights.items()}}
    monkeypatch.setitem(sys.modules, "torch", fake_torch(wrap["flat"]))
    kernel = load_teacher("resnet18", str(path))["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, weights["conv1.weight"].transpose(2, 3, 1, 0))

    monkeypatch.setitem(sys.modules, "torch", fake_torch(lambda tensor: {"state_dict": wrap["flat"](tensor)}))
    with pytest.raises(ValueError, match=r"w\.pth: expected a flat state dict of tensors"):
        load_teacher("resnet18", str(path))
    path.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"w\.pth: got no file of plain weights \(RuntimeError\), expected a state"):
        load_teacher("resnet18", str(path))


def test_catalogue():
    by_source = {name: teacher.published for name, teacher in TEACHERS.items() if teacher.source == "imagenet"}
    assert {*ARCHITECTURES, "vgg16"} == set(by_source)
    for published in by_source.values():
        assert len(bytes.fromhex(published.sha256)) == 32
        assert published.revision == "main" or len(bytes.fromhex(published.revision)) == 20


def test_without_the_hub_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"expected `pip install gnl-jax\[hub\]` or a path"):
        load_teacher("resnet18", "imagenet")


@pytest.fixture
def hub_cache(weights, tmp_path, monkeypatch):
    """The cache as the hub client keeps it, holding a small file in place of the published one."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the package huggingface_hub")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    data = save(weights)
    published = TEACHERS["resnet18"].published
    monkeypatch.setitem(
        TEACHERS,
        "resnet18",
        TEACHERS["resnet18"]._replace(published=published._replace(sha256=hashlib.sha256(data).hexdigest())),
    )
    folder = f"models--{published.repository.replace('/', '--')}"
    path = tmp_path / folder / "snapshots" / published.revision / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def test_imagenet_from_the_cache_needs_no_network(hub_cache: Path, weights, no_network):
    kernel = load_teacher("resnet18", "imagenet")["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, weights["conv1.weight"].transpose(2, 3, 1, 0))


def test_imagenet_is_checked_on_every_load(hub_cache: Path, no_network):
    load_teacher("resnet18", "imagenet")
    data = bytearray(hub_cache.read_bytes())
    data[-1] ^= 1
    hub_cache.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors: got SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"):
        load_teacher("resnet18", "imagenet")


def test_imagenet_not_in_the_cache_and_offline(hub_cache: Path, no_network, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"resnet50\.tv_in1k is not in the cache .*\(HF_HUB_OFFLINE is set\)"):
        load_teacher("resnet50", "imagenet")


def test_imagenet_is_downloaded_at_the_pinned_revision(hub_cache: Path, monkeypatch):
    published, asked = TEACHERS["resnet18"].published, []
    elsewhere = hub_cache.rename(hub_cache.with_name("downloaded.safetensors"))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: asked.append((*a, k)) or str(elsewhere))
    load_teacher("resnet18", "imagenet")
    assert asked == [(published.repository, "model.safetensors", {"revision": published.revision})]


def test_imagenet_download_that_fails(hub_cache: Path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("401 Client Error\nlong story")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(ValueError, match=r"cannot be downloaded \(401 Client Error\); expected a connection"):
        load_teacher("resnet50", "imagenet")
