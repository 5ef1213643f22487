"""Any other server: what it says about itself in its template is all that we know.

A port that accepts connections counts as ready unless the user wrote a probe that knows better.
"""

from __future__ import annotations

from fusioninfer.api.service import Manifest, Role
from fusioninfer.build.engines import Additions, Engine, argv, declared_port, port_in

DEFAULT_PORT = 8000


class Custom:
    """An engine that we know nothing about."""

    name = "custom"

    def evidence(self, container: Manifest) -> str | None:
        return None

    def additions(self, container: Manifest, role: Role) -> Additions:
        port = declared_port(container) or port_in(argv(container), DEFAULT_PORT)
        return Additions(port=port, ready={"tcpSocket": {"port": port}})


ENGINE: Engine = Custom()
