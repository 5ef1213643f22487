"""llm-d-inference-sim as an engine: speaks vLLM's HTTP API without a model or a GPU.

Everything that an engine must say is here: how to recognise it, where it answers, and by which probes it is watched.
Source: llm-d-inference-sim v0.10: `--port` (8000); `/health` is 200 at once, `/health/ready` after
`--startup-duration`.
"""

from __future__ import annotations

import posixpath

from fusioninfer.api.service import Manifest, Role
from fusioninfer.build.engines import Additions, Engine, argv, port_in

PROGRAM = "llm-d-inference-sim"
DEFAULT_PORT = 8000


class Simulator:
    """The simulator, known by its program or its image."""

    name = "sim"

    def evidence(self, container: Manifest) -> str | None:
        if any(posixpath.basename(word) == PROGRAM for word in container.get("command") or ()):
            return f"the command is {PROGRAM}"
        repository = str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
        return f"the image is called {PROGRAM}" if repository == PROGRAM else None

    def additions(self, container: Manifest, role: Role) -> Additions:
        port = port_in(argv(container), DEFAULT_PORT)
        return Additions(
            port=port,
            alive={"httpGet": {"path": "/health", "port": port}},
            ready={"httpGet": {"path": "/health/ready", "port": port}},
        )


ENGINE: Engine = Simulator()
