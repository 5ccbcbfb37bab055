"""The JSON Schema of a connection file, made from the typed model, for editors and for the examples in the docs.

Editors read plain scalars by their own rules (``1.10`` is a number to them, ``yes`` a text), the loader reads text
first. So the schema takes for a text also what an editor sees as a number or a boolean, and for a boolean words too.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from crosswalk.config.connection import GOAL_KINDS, Connection, Format

_PLAIN = ["string", "number", "boolean"]
_BOOLEAN = {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false", "yes", "no", "on", "off"]}]}


def connection_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a connection file."""
    schema: dict[str, Any] = Connection.model_json_schema(by_alias=True)
    definitions = schema.setdefault("$defs", {})
    models: list[type[BaseModel]] = [Format, *GOAL_KINDS.values()]
    for model in models:
        own = model.model_json_schema(by_alias=True)
        definitions.update(own.pop("$defs", {}))
        definitions[model.__name__] = own
    # A file's own format takes the settings of a format, each of them optional.
    definitions["SourceFile"]["properties"]["format"] = {"$ref": "#/$defs/Format"}
    schema["properties"]["goals"]["items"] = _goals()
    schema = _relax(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Crosswalk connection",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _goals() -> dict[str, Any]:
    """One goal: its kind is told by the key that holds its name, so that an editor completes the right keys."""
    return {
        "type": "object",
        "oneOf": [{"required": [kind]} for kind in GOAL_KINDS],
        "allOf": [
            {"if": {"required": [kind]}, "then": {"$ref": f"#/$defs/{model.__name__}"}}
            for kind, model in GOAL_KINDS.items()
        ],
    }


def _relax(node: Any) -> Any:
    """The same schema with plain scalars as editors see them."""
    if isinstance(node, list):
        return [_relax(item) for item in node]
    if not isinstance(node, dict):
        return node
    relaxed = {key: _relax(value) for key, value in node.items()}
    kind = node.get("type")
    if kind == "boolean":
        del relaxed["type"]
        relaxed.update(_BOOLEAN)
    elif kind == "string" and "enum" not in node and "const" not in node:
        relaxed["type"] = list(_PLAIN)
    elif kind in ("integer", "number"):
        relaxed["type"] = [kind, "string"]
        relaxed["pattern"] = r"^-?\d+$" if kind == "integer" else r"^-?\d+(\.\d+)?$"
    return relaxed
