"""What holds for every service, whatever the user writes."""

from __future__ import annotations

import copy
import re

from hypothesis import given
from hypothesis import strategies as st

from fusioninfer.api import names, types
from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.reconcile.plan import Plan, plan_changes, signed
from tests import make
from tests.properties.templates import pod_templates

LABEL = re.compile(types.DNS_LABEL)

service_names = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
role_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@st.composite
def services(draw: st.DrawFn) -> Manifest:
    role = make.a_role(name=draw(role_names), template=draw(pod_templates()))
    if draw(st.booleans()):
        del role["replicas"]
    return make.raw_service(role, name=draw(service_names))


@given(services())
def test_what_is_built_is_named_owned_and_labelled(raw: Manifest) -> None:
    service = parse(raw)
    manifests = desired_objects(service, make.ENGINES, make.STRATEGIES).manifests

    assert len({(m["kind"], m["metadata"]["name"]) for m in manifests}) == len(manifests)
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert LABEL.match(metadata["name"])
        assert len(metadata["name"]) <= types.MAX_CHILD_NAME
        assert metadata["namespace"] == service.namespace
        assert metadata["labels"][names.SERVICE_LABEL] == service.name
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == [service.uid]


@given(services())
def test_every_selector_matches_the_pods_that_it_is_meant_for(raw: Manifest) -> None:
    entry, workload = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES).manifests
    labels = workload["spec"]["template"]["metadata"]["labels"].items()

    assert entry["spec"]["selector"].items() <= labels
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels


@given(services())
def test_the_users_own_words_are_all_there(raw: Manifest) -> None:
    before = copy.deepcopy(raw)
    (role,) = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES).roles
    written = raw["spec"]["roles"][0]["template"]["spec"]
    built = role.workload["spec"]["template"]["spec"]

    assert raw == before
    assert {key: built[key] for key in written if key not in ("containers", "initContainers")} == {
        key: value for key, value in written.items() if key not in ("containers", "initContainers")
    }
    for one, other in zip(written["containers"], built["containers"], strict=True):
        assert one["name"] == other["name"]
        assert one.get("args") == other.get("args")
        assert one.get("command") == other.get("command")
        assert other.get("env", [])[: len(one.get("env", []))] == one.get("env", [])


@given(services())
def test_building_twice_gives_the_same(raw: Manifest) -> None:
    first = [signed(m) for m in desired_objects(parse(raw), make.ENGINES, make.STRATEGIES).manifests]
    second = [signed(m) for m in desired_objects(parse(copy.deepcopy(raw)), make.ENGINES, make.STRATEGIES).manifests]

    assert first == second


@given(services())
def test_a_second_plan_is_empty(raw: Manifest) -> None:
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
    live = tuple(make.applied(manifest) for manifest in desired.manifests)

    assert plan_changes(desired, make.a_snapshot(raw, children=live)) == Plan()
