"""How exported files are called; the checks and the exports themselves ask here."""

from __future__ import annotations

from crosswalk.config.event_types import EventType
from crosswalk.config.exports import ExportProfiles
from crosswalk.config.tenant import Tenant

ENDINGS = {"none": "", "gzip": ".gz", "zip": ".zip", "zstd": ".zst"}


def profile_file(goal: ExportProfiles, stamp: str) -> str:
    """The name of the file of profiles.

    Args:
        goal: the goal.
        stamp: begin of the run as ``yyyyMMddHHmmss`` in UTC; not part of a custom name.
    """
    plain = goal.file_name.custom or f"{goal.segment}_{stamp}.csv"
    return plain + ENDINGS[goal.format.compress]


def event_file(goal: ExportProfiles, event_type: str, nested: str | None, stamp: str) -> str:
    """The name of the file of one event type, or of one nested field of it.

    ``order.csv`` and ``order_product.csv`` beside a custom name, which are replaced with it (row S-86); with a
    timestamp beside a name with one, for what an earlier run wrote must not be lost.
    """
    name = event_type if nested is None else f"{event_type}_{nested}"
    suffix = "" if goal.file_name.custom is not None else f"_{stamp}"
    return f"{name}{suffix}.csv{ENDINGS[goal.format.compress]}"


def event_headers(event_type: str, declared: EventType, nested: str | None) -> list[str]:
    """The columns of a file of events: ids and date of the event, then the fields of the event type (row S-88).

    A field that is called like one of the first columns has the event type, or the nested field, before its name.
    """
    if nested is None:
        head = ["profile_id", "event_id", "event_date"]
        fields = [name for name, field in declared.fields.items() if not field.is_nested]
    else:
        head, fields = ["profile_id", "event_id"], list(declared.fields[nested].fields or {})
    return head + [f"{nested or event_type}.{field}" if field in head else field for field in fields]


def event_types_of(goal: ExportProfiles, tenant: Tenant) -> list[str]:
    """The event types that a goal exports, in the order of the tenant model; unknown ones are left out."""
    if goal.events is None:
        return []
    chosen = goal.events.types
    return [name for name in tenant.event_types if chosen == "all" or name in chosen]


def file_names(goal: ExportProfiles, tenant: Tenant, stamp: str) -> list[str]:
    """The names of all files that a run of the goal may write, that of profiles first."""
    names = [profile_file(goal, stamp)]
    for event_type in event_types_of(goal, tenant):
        nested = [name for name, field in tenant.event_types[event_type].fields.items() if field.is_nested]
        names += [event_file(goal, event_type, name, stamp) for name in (None, *nested)]
    return names
