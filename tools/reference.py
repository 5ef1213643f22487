"""Writes docs/reference/: the fields of `api/types.py`, the commands of `cli/main.py`, the metrics of the daemon.

The pages say what the code says and nothing else, so that there is one place to correct them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from prometheus_client.parser import text_string_to_metric_families

from fusioninfer.api import types
from fusioninfer.cli.main import app
from fusioninfer.daemon.metrics import Metrics, State

WRITTEN_TO = Path(__file__).resolve().parent.parent / "docs/reference"
COMMAND = "fusioninfer"

Schema = dict[str, Any]


def pages() -> dict[str, str]:
    """File name → text."""
    return {
        name: "\n".join(lines) + "\n"
        for name, lines in (("api.md", _api()), ("cli.md", _cli()), ("metrics.md", _metrics()))
    }


# --- the fields ---------------------------------------------------------------------------------------------------


def _api() -> Iterator[str]:
    (_,), components = msgspec.json.schema_components([types.InferenceService], ref_template="{name}")
    service = components[types.KIND]
    yield f"# {types.KIND}\n"
    yield f"`apiVersion: {types.API_VERSION}`, `kind: {types.KIND}`, short name `fi`. {service['description']}\n"
    yield "No field under `spec` has a default in the schema: what is absent stays absent in the stored object, and the"
    yield "text beside the field says what it then means. `kubectl explain inferenceservice.spec` says the same.\n"
    yield from _rules(types.SERVICE_RULES)
    for name in ("spec", "status"):
        yield from _section(name, service["properties"][name], components)


def _section(path: str, schema: Schema, components: Schema) -> Iterator[str]:
    """One object that has fields of its own, and after it those within it."""
    struct = components[_referred(schema)]
    yield f"## `{path}`\n"
    yield f"{struct['description']}\n"
    yield "| field | type | |"
    yield "| --- | --- | --- |"
    inner = []
    for name, field in struct["properties"].items():
        of_items, sub = _path(path, name, field)
        if _is_object(sub, components):
            inner.append((of_items, sub))
        needed = ", **required**" if path.startswith("spec") and name in struct.get("required", ()) else ""
        meaning = field.get("description") or components.get(_referred(field), {}).get("description", "")
        yield f"| `{name}` | {_type(field, of_items, components)}{needed} | {_cell(meaning)} |"
    yield ""
    yield from _rules(schema)
    for of_items, sub in inner:
        yield from _section(of_items, sub, components)


def _path(path: str, name: str, field: Schema) -> tuple[str, Schema]:
    """Where the objects in a field are, and their schema."""
    if "items" in field:
        return f"{path}.{name}[]", field["items"]
    if field.get("type") == "object" and "additionalProperties" in field:
        return f"{path}.{name}.<name>", field["additionalProperties"]
    return f"{path}.{name}", field


def _is_object(schema: Schema, components: Schema) -> bool:
    return "properties" in components.get(_referred(schema), {})


def _referred(schema: Schema) -> str:
    return str(schema.get("$ref", ""))


def _type(field: Schema, path: str, components: Schema) -> str:
    """The type in words; of an object that has a section of its own, a link there."""
    if "items" in field:
        inner = _type(field["items"], path, components)
        return f"list of {inner}{_bounds(field, 'minItems', 'maxItems', ' items')}"
    if "x-fusioninfer-embed" in field:
        return "PodTemplateSpec"
    if field.get("x-kubernetes-preserve-unknown-fields"):
        return "object"
    if field.get("x-kubernetes-int-or-string"):
        return "number or percentage"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map of name to {_type(field['additionalProperties'], path, components)}"
    if _is_object(field, components):
        return f"[object](#{_anchor(path)})"
    if "enum" in field:
        return " \\| ".join(f"`{word}`" for word in field["enum"])
    length = _bounds(field, "minLength", "maxLength", " characters")
    return f"{field['type']}{_bounds(field, 'minimum', 'maximum')}{length}"


def _bounds(field: Schema, least: str, most: str, unit: str = "") -> str:
    match field.get(least), field.get(most):
        case None, None:
            return ""
        case low, None:
            return f", {low} or more{unit}"
        case None, high:
            return f", at most {high}{unit}"
        case low, high:
            return f", {low} to {high}{unit}"
    return ""


def _anchor(path: str) -> str:
    """The id that the site gives to the heading of a path (Markdown's toc extension)."""
    return re.sub(r"[^\w\s-]", "", path).strip().lower()


def _rules(schema: Schema) -> Iterator[str]:
    """What the API server refuses on apply, beyond types and bounds."""
    rules = schema.get("x-kubernetes-validations", ())
    if rules:
        yield "The API server refuses what breaks one of these:\n"
        yield from (f"- {_blamed(rule)}{_cell(rule['message'])}" for rule in rules)
        yield ""


def _blamed(rule: Schema) -> str:
    """The field that a rule speaks of, where that is another than the one with the rule."""
    return f"`{rule['fieldPath'].lstrip('.')}`: " if "fieldPath" in rule else ""


# --- the commands -------------------------------------------------------------------------------------------------


def _cli() -> Iterator[str]:
    top = typer.main.get_command(app)
    yield "# Commands\n"
    yield f"`{COMMAND} COMMAND --help` says the same at a terminal.\n"
    context = top.make_context(COMMAND, [], resilient_parsing=True)
    for name in top.list_commands(context):  # type: ignore[attr-defined] # a group, since there are several commands
        command = top.get_command(context, name)  # type: ignore[attr-defined] # likewise
        if not command.hidden:
            yield from _command(f"{COMMAND} {name}", command, context)


def _command(name: str, command: Any, context: Any) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [
        parameter for parameter in command.params if parameter.param_type_name == "option" and not parameter.hidden
    ]
    words = " ".join([name, *(_metavar(argument) for argument in arguments), *(["[OPTIONS]"] if options else [])])
    yield f"## {name}\n"
    yield f"    {words}\n"
    yield f"{_paragraphs(command.help or '')}\n"
    if arguments or options:
        yield "| | |"
        yield "| --- | --- |"
        yield from (f"| `{_metavar(argument)}` | {_cell(argument.help or '')} |" for argument in arguments)
        yield from (
            f"| {_spelt(option, context)} | {_cell(option.help or '')}{_otherwise(option)} |" for option in options
        )
        yield ""


def _metavar(argument: Any) -> str:
    word = (argument.metavar or argument.name).upper().strip("[]")
    word += "..." if argument.nargs != 1 and not word.endswith("...") else ""
    return word if argument.required else f"[{word}]"


def _spelt(option: Any, context: Any) -> str:
    value = (
        ""
        if option.is_flag
        else f" {option.metavar or option.display_type(context)}".replace(" range>", ">").replace(
            "<list[str]>", "<str>"
        )
    )
    every = ", ".join(f"`{word}{value}`" for word in option.opts)
    return (every + "".join(f", `{word}`" for word in option.secondary_opts)).replace("|", "\\|")


def _otherwise(option: Any) -> str:
    """What counts where the option is not given."""
    default = getattr(option.default, "value", option.default)
    is_told = default not in (None, "", (), []) and not (option.is_flag and not default)
    said = f" Default: `{_plain(default)}`." if is_told else " Required." if option.required else ""
    variable = f" Environment: `{option.envvar}`." if option.envvar else ""
    return said + variable


def _plain(default: object) -> str:
    return "yes" if default is True else str(default)


def _paragraphs(text: str) -> str:
    """Help as Markdown: what typer leaves as it stands after \\b keeps its lines."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", text.strip()))


def _paragraph(text: str) -> str:
    if text.lstrip().startswith("\b"):
        return "\n".join(f"    {line}" for line in text.replace("\b", "").strip("\n").splitlines())
    return " ".join(text.split())


def _cell(text: str) -> str:
    """Prose in a table's cell; what looks like HTML is text."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# --- the metrics --------------------------------------------------------------------------------------------------


def _metrics() -> Iterator[str]:
    yield "# Metrics\n"
    yield "What the operator tells at `/metrics`, beside the figures of its process (`process_*`).\n"
    yield "| metric | type | |"
    yield "| --- | --- | --- |"
    for family in text_string_to_metric_families(Metrics().text(State()).decode()):
        if family.name.startswith(COMMAND):
            name = family.name + ("_total" if family.type == "counter" else "")
            yield f"| `{name}` | {family.type} | {_cell(family.documentation)} |"


def write(texts: Iterable[tuple[str, str]]) -> None:
    WRITTEN_TO.mkdir(parents=True, exist_ok=True)
    for name, text in texts:
        (WRITTEN_TO / name).write_text(text)


if __name__ == "__main__":
    write(pages().items())
