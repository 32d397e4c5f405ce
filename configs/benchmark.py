"""A grid of runs: the paper's methods on all classes of one of its data sets, three seeds each.

    python experiments/benchmark.py --config=configs/benchmark.py:mnist --out=runs/benchmark \
        --config.set="('teacher.weights=imagenet','dataset.root=DATA','dataset.mnist_m=DATA/mnist_m')"
    python experiments/tables.py --table=3 --results=runs/benchmark

The argument is the data: mnist, mnist_even (even digits are normal), cifar10, pacs, mvtec or digits (embedded, nothing
to download). Any part of the grid may be chosen: --config.normals="('0','2','8')" --config.methods="('rd4ad','gnl')"
--config.seeds="(0,)". Interrupted, the same command goes on.
"""

from ml_collections import ConfigDict

DIGITS = tuple("0123456789")
# Argument -> (file in configs/, normal classes).
DATA = {
    "digits": ("digits", DIGITS),
    "mnist": ("mnist", DIGITS),
    "mnist_even": ("mnist", ("even",)),
    "cifar10": (
        "cifar10",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "pacs": ("pacs", ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")),
    "mvtec": (
        "mvtec",
        (
            *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw"),
            *("tile", "toothbrush", "transistor", "wood", "zipper"),
        ),
    ),
}
# In the order of the paper's tables; "rd4ad" and "gnl" are evaluated with and without matching.
METHODS = (
    *("deep_svdd", "f_anogan", "kdad", "rd4ad", "augmix", "mixstyle", "efdm", "augmix_mixstyle", "augmix_efdm"),
    *("jigsaw", "gnl"),
)
ABLATIONS = ("abs_only", "lowf_only", "lambda_95", "lambda_85", "lambda_80")  # Tables 5 and 6, on PACS


def get_config(argument=None):
    name = argument or "digits"
    if name not in DATA:
        raise ValueError(f"benchmark: got {name!r}, expected one of {', '.join(DATA)}")
    grid = ConfigDict()
    grid.data, grid.normals = DATA[name]
    grid.methods = METHODS + (ABLATIONS if name == "pacs" else ())
    grid.seeds = (0, 1, 2)
    grid.jobs = 0  # runs trained as one program; 0: on a CPU one, elsewhere as many as fit into the device's memory
    grid.set = ()  # fields of every run's configuration, each "group.field=value" (values in JSON, text as it is)
    return grid
