"""`make demo CONTEXT=my-cluster`: the operator into a cluster of one's own, a service, and a chat request.

By kubectl and helm as they are on the PATH. The cluster must get at the image: kind is given it, another one pulls it
from where `IMAGE=` says that it was pushed to.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tools import in_cluster
from tools.demo import QUESTION, SERVICE, say
from tools.in_cluster import NAMESPACE, Helm

EXAMPLE = Path("examples/cpu.yaml")
KIND = "kind-"
"""How the contexts begin that kind makes."""
FUSIONINFER = str(Path(sys.executable).with_name("fusioninfer"))


def up(context: str, image: str = "") -> None:
    """Install and serve in the cluster of `context`; `image` is what it can pull, and may be empty for kind."""
    kubectl, helm = needed("kubectl"), needed("helm")
    say(f"the operator's image, where {context} gets at it")
    settings = image_settings(image) if image else given_to_kind(context)
    print(*settings, sep="\n")
    say(f"the operator: its chart, into namespace {NAMESPACE}")
    print(Helm(Path(helm), ("--kube-context", context)).install(*settings))
    say(f"one InferenceService, from {EXAMPLE}")
    print(EXAMPLE.read_text())
    run(kubectl, "--context", context, "apply", "-f", str(EXAMPLE))
    run(FUSIONINFER, "status", SERVICE, "--context", context, "--watch", "--until-ready", "--timeout", "180")
    say(f"a chat request: {QUESTION!r}")
    run(FUSIONINFER, "chat", SERVICE, "--context", context, "--message", QUESTION)
    say("to take it away again")
    print(
        f"kubectl --context {context} delete -f {EXAMPLE}\n"
        f"helm --kube-context {context} uninstall {in_cluster.RELEASE} --namespace {NAMESPACE}"
    )


def needed(program: str) -> str:
    """Where `program` is; ends with a sentence if it is not on the PATH."""
    found = shutil.which(program)
    if found is None:
        sys.exit(f"{program} is not on the PATH, and a cluster of your own is reached by your own {program}")
    return found


def image_settings(image: str) -> tuple[str, ...]:
    """How the chart is told of `image`, such as registry.example.com/fusioninfer:0.1.0 or ...@sha256:..."""
    repository, at, digest = image.partition("@")
    if at:
        return f"image.repository={repository}", f"image.digest={digest}"
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port
        sys.exit(f"IMAGE={image} names no version: end it with :tag or with @sha256:digest")
    return f"image.repository={repository}", f"image.tag={tag}"


def given_to_kind(context: str) -> tuple[str, ...]:
    """Have the image in every node of a kind cluster; how the chart is told of it."""
    kind = shutil.which("kind")
    if kind is None or not context.startswith(KIND):
        sys.exit(
            f"{context} must be able to pull the operator's image: push it to a registry of yours "
            "(make image, or docker build -f Containerfile), and say IMAGE=registry.example.com/fusioninfer:tag"
        )
    run(kind, "load", "image-archive", str(in_cluster.archive()), "--name", context.removeprefix(KIND))
    return image_settings(in_cluster.image_name())


def run(*command: str) -> None:
    """Run `command` in sight of the user; ends with its exit code if it fails."""
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    up(*sys.argv[1:])
