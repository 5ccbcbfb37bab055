"""Checks of the tenant model as a whole; returns every finding, not the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from crosswalk.config.event_types import MAX_LOW_RETENTION_DAYS
from crosswalk.config.report import nearest_name
from crosswalk.config.segment_checks import segment_problems
from crosswalk.config.tenant import NUMERIC_TYPES, READ_ONLY_PROPERTIES, Definition, Tenant
from crosswalk.core.errors import Finding
from crosswalk.core.names import display

if TYPE_CHECKING:
    from crosswalk.config.loader import LoadedTenant

Add = Callable[..., None]


def check_tenant(tenant: LoadedTenant) -> list[Finding]:
    """Everything that is wrong or noteworthy about the tenant model."""
    findings: list[Finding] = []

    def add(severity: str, code: str, message: str, *path: str | int) -> None:
        file, line = tenant.place(*path)
        findings.append(Finding(severity, code, message, file, line))

    model = tenant.model
    _check_properties(model, add)
    _check_group_types(model, add)
    for name, declared in model.event_types.items():
        if declared.priority == "low" and (declared.kept_days or 0) > MAX_LOW_RETENTION_DAYS:
            message = f"`{name}`: events of low priority are kept for {MAX_LOW_RETENTION_DAYS} days at most."
            add("error", "retention_too_long", message, "event_types", name, "retention_days")
    for place, problem in segment_problems(model):
        add("error", problem.code, problem.message, *place)
    _check_merge_rules(model, add)
    return findings


def _check_properties(model: Tenant, add: Add) -> None:
    lower: dict[str, str] = {}
    for name, declared in model.properties.items():
        where = ("properties", name)
        if name in READ_ONLY_PROPERTIES:
            add("error", "read_only_property", f"`{name}` is kept by the system and cannot be declared.", *where)
        _check_definition(name, declared, lower, add, *where)
        if declared.merge in ("sum", "highest", "lowest") and declared.type not in {*NUMERIC_TYPES, "datetime"}:
            message = f"`{name}`: `merge: {declared.merge}` compares or adds text; use it with numbers."
            add("warning", "merge_of_text", message, *where, "merge")
        if declared.merge == "sum" and declared.type == "datetime":
            add("error", "sum_not_numeric", f"`{name}`: dates cannot be added up; use latest.", *where, "merge")
        if declared.group_type is not None and declared.group_type not in model.group_types:
            hint = nearest_name(declared.group_type, model.group_types)
            known = ", ".join(model.group_types) or "none"
            message = f"`{name}`: there is no group type `{display(declared.group_type)}`{hint}; "
            add("error", "unknown_group_type", f"{message}group_types.yaml has: {known}.", *where, "group_type")
    if not any(declared.identifier == "unique" for declared in model.properties.values()):
        message = "No property has `identifier: unique`, so no import can recognise a profile."
        add("warning", "no_identifier_declared", message, "properties")


def _check_definition(name: str, declared: Definition, lower: dict[str, str], add: Add, *where: str) -> None:
    twin = lower.setdefault(name.casefold(), name)
    if twin != name:
        add("warning", "similar_properties", f"`{name}` and `{twin}` differ only in capitals.", *where)
    if declared.type == "currency" and declared.currency is None:
        message = f"`{name}` is of type currency and needs one, as in `currency: EUR`."
        add("error", "missing_currency", message, *where)


def _check_group_types(model: Tenant, add: Add) -> None:
    linked = {declared.group_type for declared in model.properties.values()}
    for group_type, shape in model.group_types.items():
        where = ("group_types", group_type)
        lower: dict[str, str] = {}
        for name, declared in shape.properties.items():
            place = (*where, "properties", name)
            _check_definition(name, declared, lower, add, *place)
            if not name.startswith(f"{group_type}_"):
                message = f"`{name}`: the properties of {group_type} begin with its id, as in `{group_type}_{name}`."
                add("error", "group_property_prefix", message, *place)
        if shape.identifier is None:
            message = (
                f"`{group_type}` needs exactly one property with `identifier: unique`, the group's id, as in "
                f"`{group_type}_id: {{type: text, identifier: unique}}`."
            )
            add("error", "group_identifier", message, *where)
        if group_type not in linked:
            message = f"No property has `group_type: {group_type}`, so no profile can be in such a group."
            add("info", "group_type_not_linked", message, *where)


def _check_merge_rules(model: Tenant, add: Add) -> None:
    for index, rule in enumerate(model.merge_rules):
        where = ("merge_rules", index)
        declared = model.properties.get(rule.identifier)
        if declared is None:
            _add_unknown(model, rule.identifier, add, *where, "identifier")
        elif declared.identifier != "unique":
            message = f"`{rule.identifier}` is no unique identifier, so profiles cannot be found by it."
            add("error", "identifier_not_unique", message, *where, "identifier")
        for number, condition in enumerate(rule.conditions):
            if condition.property not in model.properties:
                _add_unknown(model, condition.property, add, *where, "conditions", number, "property")


def _add_unknown(model: Tenant, name: str, add: Add, *path: str | int) -> None:
    message = f"The tenant model has no property `{display(name)}`{nearest_name(name, model.properties)}."
    add("error", "unknown_property", message, *path)
