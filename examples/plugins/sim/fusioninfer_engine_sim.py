"""llm-d-inference-sim as an engine: speaks vLLM's HTTP API without a model or a GPU.

Everything that an engine must say is here: how to recognise it, where it answers, and by which probes it is watched.
Source: llm-d-inference-sim v0.10: `--port` (8000); `/health` is 200 at once, `/health/ready` after
`--startup-duration`. It ends at flags that it does not know, so nothing is appended to what the user wrote, but for
`--port` behind a decoder's sidecar. It answers what a sidecar asks of vLLM with NixlConnector, and hands over nothing.
"""

from __future__ import annotations

import posixpath
from itertools import pairwise

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch, Transfer
from fusioninfer.build.engines.apart import handing_over, is_apart
from fusioninfer.build.engines.argv import image, is_left_to_image, port_in, words

PROGRAM = "llm-d-inference-sim"
DEFAULT_PORT = 8000


class Simulator:
    """The simulator, known by its program or its image."""

    name = "sim"

    def evidence(self, container: Manifest) -> Evidence | None:
        """Sure if its program is run; not sure if only the image is called so, and its entry point may be another."""
        if any(posixpath.basename(word) == PROGRAM for word in container.get("command") or ()):
            return Evidence(f"the command is {PROGRAM}")
        if image(container).name == PROGRAM and is_left_to_image(container):
            return Evidence(f"the image is called {PROGRAM}", is_sure=False)
        return None

    def leader(self, container: Manifest, role: Role) -> Launch:
        """One process that answers HTTP: alive from the start, ready when its pretended model is loaded."""
        self._check_one_node(role)
        port = port_in(words(container), DEFAULT_PORT)
        launch = Launch(
            port=port,
            args=tuple(container.get("args") or ()),
            alive={"httpGet": {"path": "/health", "port": port}},
            ready={"httpGet": {"path": "/health/ready", "port": port}},
        )
        return handing_over(launch, role, _transfer(container), "nixlv2") if is_apart(role) else launch

    def worker(self, container: Manifest, role: Role) -> Launch:
        """Asked for only on several nodes, which `leader` has refused before."""
        raise self._several_nodes(role)

    def _check_one_node(self, role: Role) -> None:
        if role.nodes_per_replica > 1:
            raise self._several_nodes(role)

    def _several_nodes(self, role: Role) -> InvalidSpec:
        return InvalidSpec(
            f"{role.path}.multinode.nodeCount",
            f"{role.nodes_per_replica}: the simulator is one process and has no workers; write 1, or more replicas",
        )


def _transfer(container: Manifest) -> Transfer:
    """As with vLLM, both sides need one size of blocks."""
    sizes = [size for flag, size in pairwise(words(container)) if flag == "--block-size"]
    return Transfer("nixl", shared={"--block-size": sizes[-1] if sizes else None})


ENGINE: Engine = Simulator()
