"""Show what a detector is, how it decides and where it came from."""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from gnl_jax.cli.arguments import DONE
from gnl_jax.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax info`."""
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("--verify", action="store_true", help="score the stored probe image on this device and compare")
    parser.add_argument("--json", action="store_true", help="the whole manifest")


def run(args: argparse.Namespace) -> int:
    """Prints what the detector's file says, and with --verify whether its probe image scores the same here."""
    from gnl_jax.detection.artifact import check_probe, read_detector
    from gnl_jax.detection.container import read_container

    container = read_container(args.detector)
    if args.json:
        print(json.dumps(container.manifest, indent=2))
    else:
        print(printable("\n".join(describe(container.manifest)), keep="\n"))
        print(f"sha256 {hashlib.sha256(Path(args.detector).read_bytes()).hexdigest()}")
    if args.verify:
        detector = read_detector(container, name=args.detector, verify=False)
        differences = check_probe(detector, name=args.detector)
        found = ", ".join(f"{name} differs by {value:.2g} (relative)" for name, value in sorted(differences.items()))
        print(f"verified on this device: {found}", file=sys.stderr)
    return DONE


def describe(manifest: dict) -> list[str]:
    """Lines for a reader."""
    from gnl_jax.detection.record import describe_parent, read_rule
    from gnl_jax.detection.windows import read_grid

    config, data, made = manifest["config"], manifest["data"], manifest["made"]
    lines = [
        f"{manifest['kind']}: {config['method']['name']}, {config['teacher']['arch']} at {config['dataset']['size']}x"
        f"{config['dataset']['size']}, matching {manifest['matching']}",
        f"made {made['date']} on {made['device']} with gnl_jax {made['versions']['gnl_jax']}, jax "
        f"{made['versions']['jax']}; teacher weights {config['teacher']['weights']}; {made.get('steps')} steps",
        f"learned from {len(data['fit'])} images, calibrated with {len(data['calibration'])}",
    ]
    for name in ("ng", "review", "drift"):
        rule = read_rule(manifest["rules"][name])
        lines.append(f"{name.upper()}: " + (f"false alarms {rule.describe()}" if rule else "never"))
    if windows := manifest["image"].get("windows"):
        lines.append(f"inspected in {read_grid(windows).describe()}")
    if region := data.get("region"):
        lines.append(f"inspected: {region['roi'] or region['mask']}")
    if data.get("excluded"):
        lines.append(f"excluded: {', '.join(data['excluded'])}")
    parent = manifest["parent"]
    while parent:
        lines.append(
            f"{describe_parent(parent)} ({parent['reason'] or 'no reason given'}) from "
            f"the detector {parent['sha256'][:12]}"
        )
        parent = parent["parent"]
    return lines
