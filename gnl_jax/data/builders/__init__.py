"""TFDS builders of the benchmark data sets.

They hand TFDS the content of files, so that neither building (in the format `array_record`) nor reading the result
needs TensorFlow. Nothing else in `gnl_jax` imports this package, which imports TFDS.
"""

from gnl_jax.data.builders.mnist_m import MnistM
from gnl_jax.data.builders.mvtec_ad import MvtecAd
from gnl_jax.data.builders.mvtec_ad_2 import MvtecAd2
from gnl_jax.data.builders.mvtec_loco import MvtecLoco
from gnl_jax.data.builders.pacs import Pacs
from gnl_jax.data.builders.visa import Visa

BUILDERS = (MvtecAd, MvtecLoco, MvtecAd2, Visa, Pacs, MnistM)
__all__ = ["BUILDERS", "MnistM", "MvtecAd", "MvtecAd2", "MvtecLoco", "Pacs", "Visa"]
