"""anomalib's methods as programs for `peers.py`: its torch modules with its defaults, on a CPU.

Runs where anomalib is installed; imports nothing of this package but how programs take turns.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from experiments.speed.peers_program import Job, Score, System, main

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # anomalib's own, of optional packages
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
    from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel

LAYERS = ["layer1", "layer2", "layer3"]
BATCH = 32  # of anomalib's data modules
TRAIN_BATCH = 16  # of reverse distillation, as published
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(images: np.ndarray) -> Tensor:
    """uint8 [n s s 3] -> float32 [n 3 s s], normalised with ImageNet's mean and standard deviation."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255 - mean) / std


def load_teacher(extractor: nn.Module, path: str) -> None:
    """Gives anomalib's `TimmFeatureExtractor` the weights of an npz file with torchvision's keys.

    ValueError names keys that the file lacks; it may have more, such as those of a stage that is not used.
    """
    with np.load(path) as arrays:
        state = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    missing = extractor.feature_extractor.load_state_dict(state, strict=False).missing_keys
    if missing := [key for key in missing if not key.endswith("num_batches_tracked")]:
        raise ValueError(f"{path}: got no {', '.join(missing)}, expected the weights of every stage that is used")


def batches(images: np.ndarray, size: int) -> Iterator[Tensor]:
    for i in range(0, len(images), size):
        yield normalised(images[i : i + size])


def patchcore(job: Job) -> nn.Module:
    return PatchcoreModel(layers=["layer2", "layer3"], backbone=job["arch"], pre_trained=False, num_neighbors=9)


@torch.no_grad()
def fit_patchcore(model: nn.Module, images: np.ndarray, job: Job) -> None:
    load_teacher(model.feature_extractor, job["teacher"])
    model.train()
    for batch in batches(images, BATCH):
        model(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of an argument that is not given
        model.subsample_embedding(job["coreset"])


def padim(job: Job) -> nn.Module:
    return PadimModel(backbone=job["arch"], layers=LAYERS, pre_trained=False)


@torch.no_grad()
def fit_padim(model: nn.Module, images: np.ndarray, job: Job) -> None:
    load_teacher(model.feature_extractor, job["teacher"])
    model.train()
    for batch in batches(images, BATCH):
        model(batch)
    model.fit()


def reverse_distillation(job: Job) -> nn.Module:
    return ReverseDistillationModel(
        backbone=job["arch"],
        input_size=(job["size"], job["size"]),
        layers=LAYERS,
        anomaly_map_mode=AnomalyMapGenerationMode.ADD,
        pre_trained=False,
    )


def fit_reverse_distillation(model: nn.Module, images: np.ndarray, job: Job) -> None:
    """anomalib's loss and optimiser over `job["epochs"]` epochs in an order drawn from the seed."""
    load_teacher(model.encoder, job["teacher"])
    parameters = [*model.decoder.parameters(), *model.bottleneck.parameters()]
    optimiser, loss = torch.optim.Adam(parameters, lr=0.005, betas=(0.5, 0.99)), ReverseDistillationLoss()
    model.train()
    for epoch in range(job["epochs"]):
        order = np.random.default_rng([job["seed"], epoch]).permutation(len(images))
        for batch in batches(images[order], TRAIN_BATCH):
            optimiser.zero_grad()
            loss(*model(batch)).backward()
            optimiser.step()


def scorer(model: nn.Module) -> Score:
    """The model's image scores; it computes its anomaly maps as well."""
    model.eval()

    @torch.inference_mode()
    def score(images: np.ndarray) -> np.ndarray:
        return model(normalised(images)).pred_score.reshape(-1).numpy()

    return score


def system(make: Callable[[Job], nn.Module], train: Callable[[nn.Module, np.ndarray, Job], None]) -> System:
    def fit(job: Job) -> None:
        torch.set_num_threads(job["threads"])
        torch.manual_seed(job["seed"])
        np.random.seed(job["seed"])  # noqa: NPY002 - scikit-learn draws PatchCore's projection from it
        images, calibration = (np.load(job["images"][use]) for use in ("fit", "calibration"))
        model = make(job)
        train(model, images, job)
        score = scorer(model)
        for i in range(0, len(calibration), job["batch"]):  # what a threshold takes; ours is timed with it, too
            score(calibration[i : i + job["batch"]])
        with open(job["model"], "wb") as file:
            torch.save(model.state_dict(), file)

    def load(job: Job) -> Score:
        torch.set_num_threads(job["threads"])
        model = make(job)
        model.load_state_dict(torch.load(job["model"], weights_only=True))
        return scorer(model)

    return System(fit, load)


SYSTEMS = {
    "patchcore": system(patchcore, fit_patchcore),
    "padim": system(padim, fit_padim),
    "reverse_distillation": system(reverse_distillation, fit_reverse_distillation),
}

if __name__ == "__main__":
    main(SYSTEMS)
