"""The networks in PyTorch that ours are measured beside compute what the published ones do (needs the extra torch)."""

import golden_networks as golden
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from experiments.speed.published_torch import Networks, make_step  # noqa: E402


def published(case):
    """Networks with the golden weights and the golden views, in float64."""
    arch, size, batch = golden.CASES[case]
    networks = Networks(arch).double()
    state = networks.state_dict()
    for name, tensor in state.items():
        part, key = name.split(".", 1)
        if not key.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(golden.torch_weight(part, key, tuple(tensor.shape))))
    views = np.ascontiguousarray(np.moveaxis(golden.inputs(size, batch)[0], -1, -3))
    return networks, torch.from_numpy(views), golden.load(case)


@pytest.mark.parametrize("teacher_gradient", [True, False])
@pytest.mark.parametrize("case", golden.CASES)
def test_three_steps(case, teacher_gradient):
    networks, views, values = published(case)
    step = make_step(networks, views, teacher_gradient=teacher_gradient)
    for i in range(3):
        got = step()
        np.testing.assert_allclose(
            [got[n] for n in ("ori", "abs", "lowf", "loss")], values[f"train/step{i}/losses"], rtol=1e-8
        )
    state, compared = networks.state_dict(), 0
    for name, expected in values.items():
        if name.startswith("train/after_step2/"):
            array = state[name.removeprefix("train/after_step2/")].numpy()
            summary = np.concatenate([[np.linalg.norm(array)], array.flat[:8]])
            assert np.linalg.norm(summary - expected) <= 1e-8 * np.linalg.norm(expected), name
            compared += 1
    assert compared > 60
    taken = [p.grad is not None for p in networks.teacher.parameters()]
    assert all(taken) if teacher_gradient else not any(taken)


def test_an_architecture_there_is_not():
    with pytest.raises(ValueError, match="arch: got 'resnet50', expected resnet18 or wide_resnet50_2"):
        Networks("resnet50")
