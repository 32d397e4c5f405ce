"""A run that is resumed has the images that it was begun with; otherwise it says what differs."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gnl_jax.batches import ShapedSource
from gnl_jax.config_io import load_config
from gnl_jax.data.pixels import pixel_hash
from gnl_jax.data.sources import one_by_one
from gnl_jax.files import write_atomic

READING = ("size", "resize", "filter", "white", "alpha")  # what changes every image
SHOWN = 3  # names in a message


def check_same_run(
    folder: Path,
    images: ShapedSource,
    names: Sequence[str],
    config: ConfigDict,
    region: Mapping[str, Any] | None,
) -> None:
    """Writes what a run is made from into its folder, or compares it with what is there.

    Args:
        folder: of the run; created if it is not there.
        images: those that train, uint8 [n s s 3], with the region applied.
        names: of the images.
        config: the configuration.
        region: as the manifest has it.

    Raises:
        ValueError: a run that was begun with other images, another size, region or seed, which is named with both
            values; or a folder of something else.
    """
    path = folder / "images.json"
    now = {
        "hashes": [pixel_hash(image) for image in one_by_one(images)],
        "names": list(names),
        "region": dict(region) if region else None,
    }
    if (folder / "config.json").exists():
        saved = json.loads(path.read_text()) if path.exists() else []
        saved = saved if isinstance(saved, dict) else {"hashes": saved}
        if saved["hashes"] != now["hashes"]:
            differences = _differences(saved, now, load_config(folder), config)
            raise ValueError(
                f"{folder}: training was begun there with {differences}; expected the same; delete it to begin anew"
            )
    elif folder.exists() and any(folder.iterdir()) and not path.exists():
        raise ValueError(f"{folder}: got a folder of something else, expected a new or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(now))


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any], begun: ConfigDict, config: ConfigDict) -> str:
    """What differs, in words."""
    found = [
        f"{field} {begun.dataset[field]} and now has {config.dataset[field]}"
        for field in READING
        if begun.dataset[field] != config.dataset[field]
    ]
    if "region" in saved and saved["region"] != now["region"]:
        found.append(f"{_region(saved['region'])} and now has {_region(now['region'])}")
    if begun.seed != config.seed:
        found.append(f"seed {begun.seed} and now has {config.seed}; the seed decides which images train")
    if found:
        return "; with ".join(found)
    before = dict(zip(saved.get("names", ()), saved["hashes"]))
    after = dict(zip(now["names"], now["hashes"]))
    if not before:
        return f"other images ({len(saved['hashes'])}, now {len(now['hashes'])}) or another region"
    said = {
        "not among the training images any more": [name for name in before if name not in after],
        "new among them": [name for name in after if name not in before],
        "changed": [name for name in after if before.get(name, after[name]) != after[name]],
    }
    parts = [f"{_named(files)} {what}" for what, files in said.items() if files]
    counts = f"{len(before)} images and now has {len(after)}"
    return f"other images ({counts}: {'; '.join(parts) or 'in another order'})"


def _region(region: Mapping[str, Any] | None) -> str:
    if region is None:
        return "no region"
    return f"roi {region['roi']}" if region["roi"] else f"mask {os.path.basename(region['mask'])}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more
