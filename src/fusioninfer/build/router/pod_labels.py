"""What a plug-in that looks at pods' labels would find on ours.

A filter for a label that no pod carries lets nothing through, or everything, and each request tells so too late.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from fusioninfer.api.service import Manifest
from fusioninfer.build.router.lines import Node
from fusioninfer.build.router.releases import Labels

PodLabels = Mapping[str, frozenset[str]]
"""The labels that pods of the service carry: keys, and values of each; no value at all stands for any."""

OF_THEIR_MAKERS = (
    "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
    "leaderworkerset.sigs.k8s.io/group-index",
    "leaderworkerset.sigs.k8s.io/name",
    "leaderworkerset.sigs.k8s.io/worker-index",
)
"""Labels whose values only StatefulSet and LeaderWorkerSet know."""

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def labels_of(templates: Iterable[Manifest]) -> PodLabels:
    """What pods of these templates are labelled with: by us and by the user, and by those who make them."""
    labels: dict[str, set[str]] = {}
    for template in templates:
        for key, value in template["metadata"]["labels"].items():
            labels.setdefault(key, set()).add(value)
    made: dict[str, frozenset[str]] = dict.fromkeys(OF_THEIR_MAKERS, frozenset())
    return {**made, **{key: frozenset(values) for key, values in labels.items()}}


def key_problem(key: str, labels: PodLabels) -> str | None:
    """What is wrong with looking for the label `key`."""
    if key in labels:
        return None
    return f"no pod of this service has the label {key}{meant(key, labels)}; they have {_listed(labels)}"


def value_problem(key: str, value: str, labels: PodLabels) -> str | None:
    """What is wrong with looking for `value` under `key`."""
    known = labels.get(key, frozenset())
    if not known or value in known:
        return None
    return f"no pod of this service has the label {key}={value}; its values are {_listed(known)}"


def fixed_problem(wanted: Labels, labels: PodLabels) -> str | None:
    """What is wrong with a plug-in that looks for `wanted`, whatever is written."""
    known = labels.get(wanted.key)
    if wanted.is_unlabelled_taken or known == frozenset() or (known and known & set(wanted.values)):
        return None
    return f"no pod of this service has the label {wanted.key} with one of {', '.join(wanted.values)}"


def by_label_problem(keys: Iterable[Node], values: Iterable[Node], labels: PodLabels) -> tuple[Node, str] | None:
    """The first problem of a key and its values, which stand beside each other."""
    for key in keys:
        if isinstance(key.value, str) and key.value:
            if problem := key_problem(key.value, labels):
                return key, problem
            for value in values:
                if isinstance(value.value, str) and (problem := value_problem(key.value, value.value, labels)):
                    return value, problem
    return None


def selector_problem(selector: Node, labels: PodLabels) -> tuple[Node, str] | None:
    """The first problem of a LabelSelector whose fields have the right types."""
    written = selector.value if isinstance(selector.value, dict) else {}
    match_labels = written.get("matchLabels", Node(selector.line, None)).value
    for key, value in match_labels.items() if isinstance(match_labels, dict) else ():
        if found := by_label_problem([Node(value.line, key)], [value], labels):
            return found
    expressions = written.get("matchExpressions", Node(selector.line, None)).value
    for expression in expressions if isinstance(expressions, list) else ():
        if found := _expression_problem(expression, labels):
            return found
    return None


def _expression_problem(expression: Node, labels: PodLabels) -> tuple[Node, str] | None:
    fields = expression.value if isinstance(expression.value, dict) else {}
    nothing = Node(expression.line, None)
    key, operator, values = (fields.get(name, nothing) for name in ("key", "operator", "values"))
    listed = values.value if isinstance(values.value, list) else []
    if not key.value:
        return expression, "a matchExpression without a key"
    if operator.value not in OPERATORS:
        return operator, f"operator {operator.value!r} is none of {', '.join(OPERATORS)}"
    if bool(listed) != (operator.value in ("In", "NotIn")):
        return expression, f"operator {operator.value} {'takes no values' if listed else 'needs values'}"
    return by_label_problem([key], listed, labels)


def _listed(words: Iterable[str]) -> str:
    known = sorted(words)
    return ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "") if known else "none"


def meant(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, as an aside."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
