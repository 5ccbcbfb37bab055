"""The values of profiles as the store streams them: lists of texts by property, from documents and from the system.

A document is read once, and only the properties that somebody asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from crosswalk.config.tenant import CONSENTED, REFUSED
from crosswalk.engine.template import Node, call, name, named, sql, text

# What the store keeps in columns of its own, as lists like all other values.
_SYSTEM = {
    "creationdate": "[created_at::VARCHAR]",
    "lastmodifieddate": "[modified_at::VARCHAR]",
    "domaingroup": "[domain_group]",
    "system_has_property": "json_keys(properties)",
}


def stored_list(property_id: str) -> Node:
    """The values of one property in a stored document; NULL when there are none."""
    path = text("/" + property_id.replace("~", "~0").replace("/", "~1"))
    values = sql("from_json(json_extract(properties, $path), '[\"VARCHAR\"]')", path=path)
    return sql("CASE WHEN len($values) > 0 THEN $values END", values=values)


class ProfileValues:
    """Reads lists of values out of streamed profiles.

    Args:
        properties: ids of the properties that are needed; those that the system keeps may be among them.

    Example:
        >>> values = ProfileValues(["email", "city"])
        >>> query = values.read(sql("SELECT * FROM stored_profiles"))
        >>> has_city = sql("len($city) > 0", city=values.of("city"))
    """

    def __init__(self, properties: Iterable[str]) -> None:
        kept = [item for item in dict.fromkeys(properties) if item not in _SYSTEM]
        self._place: dict[str, int] = {}
        self._documents: list[list[str]] = []
        for item in kept:
            # The engine's records know names without case, property ids differ by it.
            taken = sum(other.lower() == item.lower() for other in self._place)
            if taken == len(self._documents):
                self._documents.append([])
            self._documents[taken].append(item)
            self._place[item] = taken

    def read(self, source: Node) -> Node:
        """The rows of ``source`` with what ``of`` needs."""
        if not self._documents:
            return source
        columns = [
            named(
                sql(
                    "from_json(properties, $structure)",
                    structure=text(json.dumps({item: ["VARCHAR"] for item in document}, ensure_ascii=False)),
                ),
                f"document_{number}",
            )
            for number, document in enumerate(self._documents)
        ]
        return sql("SELECT *, $columns FROM ($source)", columns=columns, source=source)

    def of(self, property_id: str) -> Node:
        """The list of a property's values; NULL or empty when there is none."""
        if property_id in _SYSTEM:
            return sql(_SYSTEM[property_id])
        return call("struct_extract", name(f"document_{self._place[property_id]}"), text(property_id))

    def answer(self, objective: str) -> Node:
        """The recorded answer: ``refused`` (which beats the other), ``granted`` or NULL."""
        return sql(
            "CASE WHEN coalesce(list_contains($refused, $id), false) THEN 'refused' "
            "WHEN coalesce(list_contains($consented, $id), false) THEN 'granted' END",
            id=text(objective),
            consented=self.of(CONSENTED),
            refused=self.of(REFUSED),
        )


def has_value(values: Node) -> Node:
    """Whether a list holds something; never NULL."""
    return sql("coalesce(len($values) > 0, false)", values=values)
