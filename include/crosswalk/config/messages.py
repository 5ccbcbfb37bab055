"""Turns what the model refused into sentences for people: which key, what is allowed, the nearest known key.

A value is never repeated: it may be a secret or personal.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from crosswalk.config.model import keys_of
from crosswalk.config.strict_yaml import Document, Path_
from crosswalk.core.names import display

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

NEEDED = {
    "title": "every connection needs a descriptive title",
    "kind": "it says which system this is, for example sftp",
    "conn_id": "it names the Airflow connection that holds host, login and secrets",
    "goals": "a connection needs at least one goal to run",
    "files": "a goal needs at least one file; the first one is the primary file",
    "identifiers": "a goal needs at least one identifier to recognise profiles (or groups) by",
    "group_type": "it says which groups the goal imports",
    "segment": "it says which profiles are exported; all_profiles for all",
    "directory": "it names the folder that files are exported to",
    "columns": "an export needs at least one column",
    "file_name": "give {segment_and_timestamp: true} or {custom: name.csv}",
}
# Why an event needs these keys, which elsewhere mean something else.
NEEDED_IN_EVENT = {
    "type": "it says which event type the rows hold",
    "id": "it names the field by which an event is known again",
    "date": "it names the field with the moment of the event",
}
# What a key takes, where the declared type alone would not say it to a person.
EXPECTED = {
    "mark_done": "true, false or all",
    "days_of_month": "a day from 1 to 31, or last",
    "at": 'a time of day such as "07:30" (hours and minutes, two digits each)',
    "emails": "an e-mail address",
    "email": "an e-mail address",
    "separator": "one to four characters; \\t for tab",
    "quote": '"\\"" or "\'", or "" for none',
    "link": "this file's column and file.column of an earlier file, such as {order_id: orders.order_id}",
    "conn_id": "the id of an Airflow connection: letters, digits, _ . and -",
    "currency": "three capital letters, such as EUR",
    "segments": "all, or a list of segments",
    "types": "all, or a list of event types",
    "period": "all, {last_days: 30} or {from: 2026-01-01, to: 2026-02-01}",
    "between": "two values, either of them null for an open end, as in [100, null]",
}
CONDITIONS = (
    "{property: ..., any_of: [...]}, {objective: ..., is: consented}, {group_type: ..., all: [...]}, {segment: ...}, "
    "{all: [...]}, {any: [...]} or {not: {...}}"
)
_NAME_RULE = "a letter first, then letters, digits, _ or -; at most 100"
_PROPERTY_RULE = "letters, digits, _ and -; at most 100"
SCHEDULES = (
    "manual, {every_minutes: 15}, {times_per_day: 4}, {at: [...]}, {days_of_week: [...], at: ...}, "
    "{days_of_month: [...], at: ...}, {weekday_of_month: {second: tue}, at: ...}, {cron: ...} or {after: [...]}"
)


def add_problems(
    document: Document,
    error: ValidationError,
    model: type[BaseModel],
    base: Path_ = (),
    keep: Callable[[Path_], bool] = lambda loc: True,
) -> None:
    """Add one finding per problem, with its line.

    Args:
        document: where the data came from.
        error: what the model refused.
        model: the model that stands at ``base``.
        base: path of the data that was validated.
        keep: tells by its location below ``base`` whether a problem is to be reported.
    """
    seen = set()
    # What the YAML itself may not say was left out of the data; that it is missing now is no second problem.
    refused = {finding.line for finding in document.findings if finding.code.startswith("yaml_")}
    for item in error.errors(include_url=False, include_input=False):
        if not keep(item["loc"]):
            continue
        path, rest = _locate(document.data, base, item["loc"])
        message, code = _explain(item, path, rest, model, base, document)
        line = document.line(*path)
        if (path, message) not in seen and line not in refused:
            seen.add((path, message))
            document.add(code, message, line)


def _locate(data: Any, base: Path_, loc: tuple[int | str, ...]) -> tuple[Path_, list[str | int]]:
    """Split a location into the path that exists in the data and what does not (tags of unions, missing keys)."""
    path = base
    node = _at(data, base)
    rest: list[str | int] = []
    for part in loc:
        if isinstance(node, dict) and part in node:
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            rest.append(part)
            continue
        path, rest = (*path, part), []
    return path, rest


def _at(data: Any, path: Path_) -> Any:
    for part in path:
        data = data[part]
    return data


def _explain(
    item: ErrorDetails, path: Path_, rest: list[str | int], model: type[BaseModel], base: Path_, document: Document
) -> tuple[str, str]:
    kind = item["type"]
    key = _shown(path)
    if kind == "missing":
        name = str(rest[-1]) if rest else "?"
        needed = {**NEEDED, **NEEDED_IN_EVENT} if "events" in path else NEEDED
        why = f": {needed[name]}" if name in needed else ""
        return f"{f'{key}: ' if key else ''}`{name}` is missing{why}.", "missing_key"
    if kind == "extra_forbidden":
        return _unknown_key(path, model, item["loc"], document), "unknown_key"
    if kind.startswith("union_tag"):
        if "condition_kind" in str(item.get("ctx", {}).get("discriminator")):
            return f"{key}: not a condition. Use one of {CONDITIONS}.", "invalid_condition"
        return f"{key}: not a schedule. Use one of {SCHEDULES}.", "invalid_schedule"
    if rest and rest[-1] == "[key]":
        return f"{key}: {_key_rule(item)}.", "invalid_name"
    rule = _value_rule(item, path, document)
    return f"{key}: {rule}{'' if rule.endswith('?') else '.'}", "invalid_value"


def _shown(path: Path_) -> str:
    """A path as people write it: ``goals[1].files[2].link``; list items count from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if text else ''}{display(part, 60)}"
    return f"`{text}`" if text else ""


def _unknown_key(path: Path_, model: type[BaseModel], loc: tuple[int | str, ...], document: Document) -> str:
    key = str(path[-1])
    allowed = sorted({name for found in _models_at(model, loc[:-1]) for name in keys_of(found)})
    above = _at(document.data, path[:-1])
    where = f" in {_shown(path[:-1])}" if path[:-1] else ""
    free = [name for name in allowed if not isinstance(above, dict) or name not in above]
    near = difflib.get_close_matches(key.lower(), free, n=1, cutoff=0.6)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"Unknown key `{display(key, 60)}`{where}.{hint} Known here: {', '.join(allowed) or 'none'}."


def _models_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The models that may stand at a location below a model; a tag such as ``schedule:cron`` says which of several."""
    found: list[Any] = [model]
    for part in loc:
        below = [inner for annotation in found for inner in _below(annotation, part)]
        if not below and isinstance(part, str):
            key = part.partition(":")[2]
            below = [item for item in found if _is_model(item) and key in keys_of(item)]
        found = below or found
    return [item for item in found if _is_model(item)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)


def _below(annotation: Any, part: int | str) -> Iterator[Any]:
    """What may stand at a key or an index of what an annotation describes."""
    inner: Any = None
    if _is_model(annotation):
        field = keys_of(annotation).get(str(part))
        inner = field.annotation if field else None
    elif get_origin(annotation) is dict and isinstance(part, str):
        inner = get_args(annotation)[1]
    elif get_origin(annotation) is list and isinstance(part, int):
        inner = get_args(annotation)[0]
    yield from _alternatives(inner)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The models, lists and mappings that an annotation allows, each by itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for argument in get_args(annotation):
            yield from _alternatives(argument)
    elif origin in (list, dict) or _is_model(annotation):
        yield annotation


def _key_rule(item: ErrorDetails) -> str:
    if item["type"] == "literal_error":
        return f"the key must be {_choices(item)}"
    return f"an id has {_PROPERTY_RULE}"


def _choices(item: ErrorDetails) -> str:
    return str(item.get("ctx", {}).get("expected", "")).replace("'", "").replace('""', 'empty ("")') or "another value"


def _value_rule(item: ErrorDetails, path: Path_, document: Document) -> str:
    """What the value must be, and why it is not."""
    kind, context = item["type"], item.get("ctx", {})
    value = _at(document.data, path)
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", "")).rstrip(".")
    if key in NEEDED and path[-1] == key and (value is None or kind in ("too_short", "string_too_short")):
        return NEEDED[key]
    if value is None:
        need = f"give {EXPECTED[key]}" if key in EXPECTED else "give a value, or leave the key out"
        return f'there is no value; {need} (an empty text is "", the word null is "null")'
    if key in EXPECTED and kind != "list_type":
        return f"must be {EXPECTED[key]}{_near_choice(item, value)}"
    if kind == "literal_error":
        return f"must be {_choices(item)}{_near_choice(item, value)}"
    return _plain_rule(kind, context)


def _near_choice(item: ErrorDetails, value: Any) -> str:
    if item["type"] != "literal_error" or not isinstance(value, str):
        return ""
    choices = re.findall(r"'([^']+)'", str(item.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.6)
    return f". Did you mean {near[0]}?" if near else ""


def _plain_rule(kind: str, context: dict[str, Any]) -> str:
    rules = {
        "string_type": "must be a text",
        "string_too_short": f"needs at least {context.get('min_length')} character(s)",
        "string_too_long": f"has more than {context.get('max_length')} characters",
        "too_short": f"needs at least {context.get('min_length')} item(s)",
        "too_long": f"has more than {context.get('max_length')} items",
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "int_parsing_size": "is too large a number",
        "float_parsing": "must be a number, with a point as decimal mark",
        "float_type": "must be a number",
        "finite_number": "must be a number",
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "list_type": "must be a list; write each item with a dash, or all within [ ]",
        "dict_type": "must be a block of keys and values",
        "model_type": "must be a block of keys and values",
        "model_attributes_type": "must be a block of keys and values",
        "greater_than_equal": f"must be {context.get('ge')} or more",
        "less_than_equal": f"must be {context.get('le')} or less",
        "string_pattern_mismatch": f"is not a valid name ({_NAME_RULE})",
    }
    return rules.get(kind, "is not valid")
