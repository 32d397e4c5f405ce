"""Your own images: learn from good ones, be tested on bad ones and on what lighting, optics and motion may do to them.

    python experiments/train.py --config=configs/folder.py:PARTS --workdir=runs/parts --config.teacher.weights=imagenet
    python experiments/evaluate.py --workdir=runs/parts

The argument is the folder, then the method ("PARTS,rd4ad"). PARTS is laid out as

    train/good/, test/good/, test/KIND_OF_DEFECT/, and if there are masks ground_truth/KIND_OF_DEFECT/ (MVTec AD, MVTec
        LOCO, BTAD; ok for good, mask or masks for ground_truth), or test_public/ for test/ (MVTec AD 2);
    or good/ and a folder for each kind of defect, and if there are masks mask/ (anomalib's Folder); good/ may be called
        ok/ or normal/, and --config.dataset.normal names any other;
    or is a product of VisA, with split_csv/1cls.csv beside it;
    or holds good images alone, with --config.dataset.bad=FOLDER for the others.

Without a folder to test on, every tenth good image is kept for the test. A mask is named as its image (x_mask.png,
x_gt.png or x.png for x.png). Several masks of an image are in a folder of its name (x/0.png), and are joined. Where
some defects have no mask, pixel metrics are over the other images. docs/coming-from.md says more.
--config.dataset.shifted="('night=FOLDER',)" adds images that you took under other conditions. Measured: see
docs/results.md.
"""

from gnl_jax.config import METHODS, default_config, set_method


def get_config(argument=None):
    config = default_config()
    path, comma, method = (argument or "").rpartition(",")
    if not comma or method not in METHODS:  # all of it is the folder, a comma in its name included
        path, method = argument or "", "gnl"
    config.dataset.update(name="folder", root=path, normal="", size=256)
    config.dataset.shifts = ("gain_up", "gain_down", "white_balance", "defocus_blur", "motion_blur", "gaussian_noise")
    config.teacher.arch = "wide_resnet50_2"
    config.method.augmix.operations = "pacs"  # with brightness and contrast: lighting is what changes most often
    set_method(config, method, like="mvtec")
    return config
