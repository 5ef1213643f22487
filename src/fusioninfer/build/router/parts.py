"""The objects of a router beside its Deployment and its route. The table of contents."""

from __future__ import annotations

from collections.abc import Mapping

from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.router.disruption import disruption_budget
from fusioninfer.build.router.gateway import gateway
from fusioninfer.build.router.pool import inference_pool, picker_service
from fusioninfer.build.router.releases import Release
from fusioninfer.build.router.rights import role_binding, service_account


def router_parts(
    service: InferenceService, router: Router, release: Release, port: int, selector: Mapping[str, str]
) -> tuple[Manifest, ...]:
    """Who the picker is, what it may read, the pool if its release or a gateway needs one: of `selector`, at `port`;
    and a gateway that is to be made."""
    asked = (picker_service(service, router), inference_pool(service, router, port, selector))
    pool = asked if release.needs_pool or router.route is not None else ()
    budget = (disruption_budget(service, router),) if router.replicas is not None and router.replicas > 1 else ()
    gateways = () if router.gateway is None else (gateway(service, router, router.gateway),)
    return (service_account(service, router), role_binding(service, router), *pool, *budget, *gateways)
