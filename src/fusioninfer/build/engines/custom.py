"""Any other server: what it says about itself in its template is all that we know.

A port that accepts connections counts as ready unless the user wrote a probe that knows better. On several nodes the
user writes the workers' template as well; nothing is added to the words of either.
"""

from __future__ import annotations

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch
from fusioninfer.build.engines.argv import declared_port, port_in, words
from fusioninfer.build.engines.nodes import LEADER_ADDRESS, WORKER_INDEX, refuse_backend

DEFAULT_PORT = 8000


class Custom:
    """An engine that we know nothing about."""

    name = "custom"

    def evidence(self, container: Manifest) -> Evidence | None:
        return None

    def leader(self, container: Manifest, role: Role) -> Launch:
        refuse_backend(role, self.name)
        if role.nodes_per_replica > 1 and role.worker_template is None:
            raise _no_worker_template(role)
        port = declared_port(container) or port_in(words(container), DEFAULT_PORT)
        return Launch(port=port, args=tuple(container.get("args") or ()), ready={"tcpSocket": {"port": port}})

    def worker(self, container: Manifest, role: Role) -> Launch:
        """Never of use: the user's template is taken as it stands."""
        raise _no_worker_template(role)


def _no_worker_template(role: Role) -> InvalidSpec:
    return InvalidSpec(
        f"{role.path}.multinode.workerTemplate",
        f"needed for {role.nodes_per_replica} nodes of engine custom; it may use {LEADER_ADDRESS} and {WORKER_INDEX}. "
        "Or, if vllm or sglang runs here, write its command and args as lists without a shell, and name it in engine",
    )


ENGINE: Engine = Custom()
