"""Any other server: what it says about itself in its template is all that we know.

A port that accepts connections counts as ready unless the user wrote a probe that knows better.
"""

from __future__ import annotations

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch, argv, declared_port, port_in

DEFAULT_PORT = 8000


class Custom:
    """An engine that we know nothing about."""

    name = "custom"

    def evidence(self, container: Manifest) -> Evidence | None:
        return None

    def leader(self, container: Manifest, role: Role) -> Launch:
        port = declared_port(container) or port_in(argv(container), DEFAULT_PORT)
        return Launch(port=port, args=tuple(container.get("args") or ()), ready={"tcpSocket": {"port": port}})

    def worker(self, container: Manifest, role: Role) -> Launch:
        raise InvalidSpec(f"{role.path}.multinode", "not yet")


ENGINE: Engine = Custom()
