"""Whatever the status can give as a reason has its paragraph among the symptoms."""

from __future__ import annotations

import ast
import re

import pytest

from fusioninfer.api.service import InvalidSpec
from fusioninfer.reconcile import conditions, hops, trouble
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
PARAGRAPHS = frozenset(re.findall(r"^### (\w+)\n\n\S", PAGE, re.MULTILINE))
FILES = ("conditions", "phases", "trouble", "hops", "plan", "facts", "status")
WORD = re.compile(r"[A-Z][a-z]+([A-Z][A-Za-z]*)*|[A-Z]+[a-z]\w*")

NO_REASONS = {
    "True", "False", "Unknown",
    *conditions.CONDITIONS, "Stalled",
    "Pending", "Deploying", "Failed", "Succeeded",
    "Gateway", "Route", "Pool", "Programmed", "ResolvedRefs", "NotAccepted", "NotProgrammed", "NotResolved",
    "InvalidKind", "NotAllowedByListeners",
    "OOMKilled", "Completed", "PodScheduled", "Status", "Service", "Pod",
    "Foreground", "Background", "Inqueue",
}  # fmt: skip
"""Words of the same form in these files that are another thing: answers, types of conditions, phases, hops, kinds."""
BOTH = {"Ready", "Accepted", "Scheduled", "Running"}
"""Reasons as well."""


def written() -> set[str]:
    """Every literal in the files that look for reasons that has the form of one."""
    found: set[str] = set()
    for name in FILES:
        tree = ast.parse((ROOT / f"src/fusioninfer/reconcile/{name}.py").read_text())
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value)
        }
    return found


def of_hops() -> set[str]:
    """Those that are put together of a hop and what is the matter with it."""
    closed = {f"{hop}{hops._CLOSED[kind]}" for hop, kinds in hops._NEEDED.items() for kind in kinds}
    return closed | {f"{hop}Pending" for hop in hops._NEEDED}


REASONS = (
    (written() - NO_REASONS) | BOTH | of_hops() | trouble.IMAGE_REASONS | trouble.CONFIG_REASONS
    | {"PodFailed", "PodSucceeded", "Unschedulable", "ContainerCreating", "PodInitializing", InvalidSpec.reason}
)  # fmt: skip
"""The last: of the kubelet's and the scheduler's own, those that one meets."""


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_has_its_paragraph(reason: str) -> None:
    assert reason in PARAGRAPHS


def test_no_paragraph_is_about_what_nobody_says() -> None:
    assert PARAGRAPHS <= REASONS


def test_reasons_are_found_in_the_code() -> None:
    assert {"NameConflict", "GangOverridden", "WebhookDown", "CrashLoopBackOff", "RouteNotResolved"} <= REASONS
    assert NO_REASONS - written() - {"Ready", "Stalled"} == set(), "no longer in the files"
