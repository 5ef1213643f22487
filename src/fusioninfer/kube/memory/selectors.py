"""Label selectors, as a query gives them (apimachinery pkg/labels/selector.go)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

_KEY = r"(?P<key>[\w./-]+)"
_FORMS = re.compile(
    rf"""\s*(?:
        !\s*{_KEY.replace("key", "absent")}
      | {_KEY} \s+ (?P<operator>in|notin) \s* \((?P<values>[^()]*)\)
      | {_KEY.replace("key", "compared")} \s* (?P<sign>==?|!=) \s* (?P<value>[\w.-]*)
      | {_KEY.replace("key", "present")}
    )\s*(?:,|$)""",
    re.VERBOSE,
)


def parse(text: str) -> Selector:
    """The selector that `text` says; the empty one selects everything. Raises ValueError."""
    requirements: list[Selector] = []
    position = 0
    while position < len(text):
        form = _FORMS.match(text, position)
        if form is None:
            raise ValueError(f"unable to parse requirement: {text[position:]!r}")
        requirements.append(_requirement(form))
        position = form.end()
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _requirement(form: re.Match[str]) -> Selector:
    if key := form["absent"]:
        return lambda labels: key not in labels
    if key := form["present"]:
        return lambda labels: key in labels
    if key := form["compared"]:
        return _among(key, frozenset((form["value"],)), wanted=form["sign"] != "!=")
    values = frozenset(value.strip() for value in form["values"].split(","))
    return _among(form["key"], values, wanted=form["operator"] == "in")


def _among(key: str, values: frozenset[str], *, wanted: bool) -> Selector:
    """Who lacks the label is not among any values."""
    return lambda labels: (labels.get(key) in values) is wanted
