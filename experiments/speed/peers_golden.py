"""Makes tests/golden/patchcore.npz again, or compares with it: what anomalib's PatchCore computes, in float64.

python -m experiments.speed.peers_golden WEIGHTS.safetensors FILE.npz

Runs where anomalib is installed. If FILE.npz exists, it is compared with and left as it is. tests/golden/README.md
says what each array is.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from experiments.speed.peers_anomalib import MEAN, STD

POSITIONS = [0, 5, 27, 36, 58, 63]  # corners, edge and middle of the 8x8 patches
SIZE, PATCHES, ROWS, CORESET, START = 64, 64, 64, 20, 137


def random_images() -> np.ndarray:
    """Four images uint8 [4 64 64 3] of noise at several scales, each of more contrast than the one before."""
    rng = np.random.default_rng(20261128)
    images = np.zeros((4, SIZE, SIZE, 3))
    for i in range(4):
        for side in (4, 8, 16, 64):
            small = torch.from_numpy(rng.uniform(-1, 1, (1, 3, side, side)))
            large = interpolate(small, size=(SIZE, SIZE), mode="bilinear")[0].permute(1, 2, 0).numpy()
            images[i] += large * (1 + i / 3) / 2
    return np.clip(128 + 80 * images, 0, 255).astype(np.uint8)


def make_model(weights: str) -> PatchcoreModel:
    model = PatchcoreModel(backbone="resnet18", layers=["layer2", "layer3"], pre_trained=False, num_neighbors=9)
    model.feature_extractor.feature_extractor.load_state_dict(load_file(weights), strict=False)
    return model.double()


def scored(model: PatchcoreModel, x: Tensor, bank: Tensor, neighbours: int):
    model.memory_bank, model.num_neighbors = bank, neighbours
    return model(x)


@torch.no_grad()
def patchcore(weights: str) -> dict[str, np.ndarray]:
    images, model = random_images(), make_model(weights)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (MEAN, STD))
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255 - mean) / std
    model.memory_bank = torch.empty(0, dtype=torch.float64)
    embedding = model.train()(x)
    model.eval()
    rows = np.sort(np.random.default_rng(1).choice(2 * PATCHES, ROWS, replace=False))
    bank = embedding[rows].float().double()  # as it is stored
    nine, one = (scored(model, x[2:], bank, neighbours) for neighbours in (9, 1))
    nine_of_5 = scored(model, x[2:], bank[:5], 9)
    model.memory_bank = bank
    distances, nearest = (a.reshape(2, PATCHES) for a in model.nearest_neighbors(embedding[2 * PATCHES :], 1))
    image, patch = torch.arange(2), distances.argmax(1)
    row = nearest[image, patch]
    support = model.nearest_neighbors(bank[row], 9)[1]
    worst = embedding.reshape(4, PATCHES, -1)[2 + image, patch]
    arrays = {
        "embedding": embedding.reshape(4, PATCHES, -1)[:, POSITIONS].float(),
        "bank": bank.float(),
        "distances": distances.float(),
        "nearest": nearest,
        "map": nine.anomaly_map[:, 0].float(),
        "blur_kernel": model.anomaly_map_generator.blur.kernel[0, 0].float(),
        "score_9": nine.pred_score,
        "score_1": one.pred_score,
        "score_9_of_5": nine_of_5.pred_score,
        "worst_patch": patch,
        "worst_row": row,
        "support_rows": support,
        "support_distances": model.euclidean_dist(worst.unsqueeze(1), bank[support]).squeeze(1),
    }
    known = {"images": images, "embedding_positions": np.array(POSITIONS), "bank_rows": rows}
    return known | {name: array.numpy() for name, array in arrays.items()}


class Unprojected(nn.Module):
    """In the place of the random projection: points as they are."""

    def fit(self, points: Tensor) -> None:
        pass

    def transform(self, points: Tensor) -> Tensor:
        return points


def coreset() -> dict[str, np.ndarray]:
    points = np.random.default_rng(2).normal(size=(200, 16)).astype(np.float32)
    points *= np.linspace(0.5, 2, 200, dtype=np.float32)[:, None]
    greedy = KCenterGreedy(torch.from_numpy(points), sampling_ratio=(CORESET + 0.5) / 200)
    greedy.model, draw = Unprojected(), torch.randint
    torch.randint = lambda **options: torch.tensor([START])  # the start is drawn, and that only
    try:
        chosen = np.array(greedy.select_coreset_idxs())
    finally:
        torch.randint = draw
    return {"coreset_points": points, "coreset_start": np.int64(START), "coreset": chosen}


def compare(found: dict[str, np.ndarray], path: Path) -> None:
    with np.load(path) as golden:
        for name in sorted({*golden.files, *found}):
            a, b = found[name].astype(np.float64), golden[name].astype(np.float64)
            print(f"{name}: {np.linalg.norm(a - b) / np.linalg.norm(b):.1e}")


if __name__ == "__main__":
    arrays, path = patchcore(sys.argv[1]) | coreset(), Path(sys.argv[2])
    if path.exists():
        compare(arrays, path)
    else:
        np.savez_compressed(path, **arrays)
