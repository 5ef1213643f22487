"""The command line of the local cluster."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from testbed import build, cluster, images, parts, programs
from testbed.refusal import Refusal


def main(words: list[str]) -> int:
    """The exit code: 2 for what cannot be done here, with the reason on stderr."""
    options = _parser().parse_args(words)
    try:
        options.run(options)
    except Refusal as refusal:
        print(f"testbed: {refusal}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed", description="A real one-node Kubernetes on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="have a cluster; add parts to one that runs")
    up.add_argument(
        "parts", nargs="*", metavar="PART", help="; ".join(f"{p.name}: {p.meaning}" for p in parts.PARTS.values())
    )
    up.add_argument("--gpu-nodes", type=_count, default=4, help="how many nodes kwok plays")
    up.add_argument("--gpus-per-node", type=_count, default=8)
    up.set_defaults(run=_up)
    commands.add_parser("down", help="leave nothing of it but the cache").set_defaults(run=lambda _: cluster.down())
    status = commands.add_parser("status", help="how it stands, and how to reach it")
    status.add_argument("--json", action="store_true")
    status.set_defaults(run=_status)
    building = commands.add_parser("build", help="build the programs that are not cached yet")
    building.add_argument("programs", nargs="*", help="all if none is named")
    building.set_defaults(run=lambda options: build.build(options.programs or programs.PROGRAMS))
    path = commands.add_parser("path", help="where a program is, such as kubectl")
    path.add_argument("program", choices=list(programs.PROGRAMS), metavar="PROGRAM")
    path.set_defaults(run=lambda options: print(programs.path(options.program)))
    load = commands.add_parser("load-image", help="make an image of files and load it")
    load.add_argument("name")
    load.add_argument(
        "files", nargs="+", metavar="PATH=FILE", help="a path inside the image, and the file to put there"
    )
    load.add_argument("--entry", nargs="+", required=True, help="the words that are executed")
    load.set_defaults(run=_load_image)
    return parser


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no number of things")
    return int(word)


def _up(options: argparse.Namespace) -> None:
    unknown = [name for name in options.parts if name not in parts.PARTS]
    if unknown:
        raise Refusal(f"there is no part {', '.join(unknown)}; there are {', '.join(parts.PARTS)}")
    _print(cluster.up(options.parts, parts.Wishes(options.gpu_nodes, options.gpus_per_node)))


def _status(options: argparse.Namespace) -> None:
    status = cluster.status()
    if options.json:
        print(json.dumps(status.as_dict(), indent=1))
    else:
        _print(status)


def _print(status: cluster.Status) -> None:
    print(f"state       {status.state}\nparts       {' '.join(status.parts) or 'the node alone'}")
    for name, pid in status.processes.items():
        print(f"  {name:<24}{pid}")
    print(f"kubectl     {status.kubectl}\naudit log   {status.audit_log}\nexport KUBECONFIG={status.kubeconfig}")


def _load_image(options: argparse.Namespace) -> None:
    files = tuple((path, Path(file)) for path, _, file in (word.partition("=") for word in options.files))
    for path, file in files:
        if not path or not file.is_file():
            raise Refusal(f"{path}={file}: write PATH=FILE, where FILE is a file of this machine")
    images.load(images.Image(options.name, files, tuple(options.entry)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
