"""vLLM's OpenAI server on one node.

Sources: vLLM 0.32 `vllm serve`: port 8000 unless --port says otherwise; /health is refused while the model loads,
200 once it serves, 503 after the engine died; VLLM_ENGINE_READY_TIMEOUT_S (600 s) ends a slow start by itself.
"""

from __future__ import annotations

import posixpath
from itertools import pairwise

from fusioninfer.api.service import Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch, argv, port_in

DEFAULT_PORT = 8000
MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.cli.main")
IMAGES = ("vllm-openai", "vllm-cpu", "vllm")


class VLLM:
    """vLLM, started by `vllm serve`, by its module, or by an image whose entry point is its server."""

    name = "vllm"

    def evidence(self, container: Manifest) -> Evidence | None:
        words = argv(container)
        for first, second in pairwise(words):
            if posixpath.basename(first) == "vllm" and second == "serve":
                return Evidence("the command is `vllm serve`")
            if first == "-m" and second in MODULES:
                return Evidence(f"the command runs the module {second}")
        if container.get("command"):
            return None
        repository = str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
        return Evidence(f"the image is called {repository}") if repository in IMAGES else None

    def leader(self, container: Manifest, role: Role) -> Launch:
        port = port_in(argv(container), DEFAULT_PORT)
        health = {"httpGet": {"path": "/health", "port": port}}
        timeout = {"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": str(role.progress_deadline_seconds)}
        return Launch(port=port, args=tuple(container.get("args") or ()), alive=health, ready=health, env=(timeout,))

    def worker(self, container: Manifest, role: Role) -> Launch:
        return Launch(port=None, args=(*(container.get("args") or ()), "--headless"))


ENGINE: Engine = VLLM()
