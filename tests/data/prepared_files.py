"""Small folders in the format in which TFDS prepares data; written without TFDS, which needs TensorFlow for it."""

import io
import json

import pytest
from PIL import Image


def write_prepared(folder, splits, *, features):
    """Writes `folder`, "NAME/VERSION" or "NAME/CONFIG/VERSION" below a root.

    `splits` is split name to a list of examples, dicts of bytes and integers; `features` the name of a feature to its
    description in TFDS's features.json.
    """
    array_record = pytest.importorskip("array_record.python.array_record_module", reason="Linux only")
    from tensorflow_datasets.proto import tf_example_pb2

    folder.mkdir(parents=True)
    name = folder.parent.name
    for split, rows in splits.items():
        writer = array_record.ArrayRecordWriter(
            str(folder / f"{name}-{split}.array_record-00000-of-00001"), "group_size:1"
        )
        for row in rows:
            example = tf_example_pb2.Example()
            for feature, value in row.items():
                kind = "bytes_list" if isinstance(value, bytes) else "int64_list"
                getattr(example.features.feature[feature], kind).value.append(value)
            writer.write(example.SerializeToString())
        writer.close()
    info = {
        "name": name,
        "version": folder.name,
        "moduleName": f"tensorflow_datasets.image_classification.{name}",
        "fileFormat": "array_record",
        "splits": [
            {
                "name": split,
                "shardLengths": [str(len(rows))],
                "numBytes": "1",
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split, rows in splits.items()
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    description = {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    (folder / "features.json").write_text(json.dumps(description))


def image_feature(*shape):
    return {
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
        "image": {"shape": {"dimensions": [str(n) for n in shape]}, "dtype": "uint8"},
    }


def label_feature(classes):
    return {
        "pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
        "classLabel": {"numClasses": str(classes)},
    }


def text_feature():
    return {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()
