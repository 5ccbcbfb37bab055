"""From rows to timeline events: which fields are the event's id, its date, its properties and its nested details."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from crosswalk.config.model import Model, Texts


class NestedMapping(Model):
    """The details of one kind that an event holds, one per row of a nested file.

    Attributes:
        file: a file with many rows per primary row.
        fields: field of the event type to ``file.column``.
    """

    file: str
    fields: Annotated[dict[str, str], Field(min_length=1)]


class RowChoice(Model):
    """Which rows a mapping is for: those whose field has one of these texts (case and outer blanks do not count)."""

    field: str
    any_of: Annotated[Texts, Field(min_length=1)]


class EventMapping(Model):
    """One type of event that the rows of a goal hold.

    Attributes:
        type: an event type of the tenant model.
        id: the field with the event's id; type and id identify the event on its profile.
        date: the field with the moment of the event.
        when: only rows with these texts hold such an event; unset: every row with an id.
        fields: simple field of the event type to ``file.column``.
        nested: nested field of the event type to the nested file that holds its items.
        strategy: ``replace`` writes the whole event, ``update_or_create`` only the fields that the row has,
            ``update_only`` too and never makes one.
        product_store: counts the products of the ``product`` details in the product store.
    """

    type: str
    id: str
    date: str
    when: RowChoice | None = None
    fields: dict[str, str] = {}
    nested: dict[str, NestedMapping] = {}
    strategy: Literal["replace", "update_or_create", "update_only"] = "replace"
    product_store: bool = False

    def used_fields(self) -> Iterator[str]:
        """Every ``file.column`` that decides about the event, in a fixed order, perhaps repeated."""
        yield self.id
        yield self.date
        if self.when is not None:
            yield self.when.field
        yield from self.fields.values()
        for nested in self.nested.values():
            yield from nested.fields.values()
