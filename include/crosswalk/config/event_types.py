"""Event types: the declared shapes of timeline events, and the ready-made ones.

A type that is declared under the id of a ready-made one extends it: what it says counts, fields are joined by id, and
so are the fields of nested details. With ``extend: false`` it replaces the ready-made one as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from crosswalk.config.model import Model, PropertyId

FieldType = Literal["text", "number", "decimal", "date", "datetime", "boolean"]
LOW_RETENTION_DAYS = 30
MAX_LOW_RETENTION_DAYS = 365


class ItemField(Model):
    """One field of a nested detail.

    Attributes:
        name: the display name; unset: the id.
        description: what it holds.
        type: decides how text is read.
        multiple: whether it holds several values; unset: yes for text, no for the rest.
        identifier: tells the items of one event apart; holds one value.
        sensitivity: ``pii`` values are masked in previews.
    """

    name: str | None = None
    description: str = ""
    type: FieldType = "text"
    multiple: bool | None = None
    identifier: bool = False
    sensitivity: Literal["none", "pii"] | None = None

    @model_validator(mode="after")
    def _refuse_several_ids(self) -> ItemField:
        if self.identifier and self.multiple:
            raise ValueError("an identifier holds one value; leave multiple out")
        return self

    @property
    def is_multiple(self) -> bool:
        """Whether the field may hold several values."""
        return not self.identifier and (self.type == "text" if self.multiple is None else self.multiple)


class EventField(Model):
    """One field of an event: a simple one with a ``type``, or nested details with ``fields`` of their own.

    Attributes:
        name: the display name; unset: the id.
        description: what it holds.
        type: of a simple field; unset: text.
        multiple: several values or items; unset: yes for text and for nested details, no for the rest.
        sensitivity: ``pii`` values are masked in previews.
        fields: makes it nested: the fields of each item.
    """

    name: str | None = None
    description: str = ""
    type: FieldType | None = None
    multiple: bool | None = None
    sensitivity: Literal["none", "pii"] | None = None
    fields: Annotated[dict[PropertyId, ItemField], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _refuse_clashes(self) -> EventField:
        if self.fields is not None and self.type is not None:
            raise ValueError("a field has a type, or fields of its own; not both")
        identifiers = [name for name, field in (self.fields or {}).items() if field.identifier]
        if len(identifiers) > 1:
            raise ValueError(f"one field tells the items apart, not {' and '.join(identifiers)}")
        return self

    @property
    def is_nested(self) -> bool:
        """Whether the field holds items with fields of their own."""
        return self.fields is not None

    @property
    def value_type(self) -> FieldType:
        """The type of a simple field."""
        return self.type or "text"

    @property
    def is_multiple(self) -> bool:
        """Whether the field may hold several values or items."""
        return (self.is_nested or self.value_type == "text") if self.multiple is None else self.multiple

    @property
    def identifier(self) -> str | None:
        """The field that tells the items of a nested field apart."""
        return next((name for name, field in (self.fields or {}).items() if field.identifier), None)


class EventType(Model):
    """The declared shape of a timeline event.

    Attributes:
        name: the display name; unset: the id.
        description: what such an event means.
        priority: ``high`` events are kept, ``low`` ones for 30 days and dropped first when a profile has too many.
        retention_days: how long events are kept; unset: by the priority.
        fields: what an event holds beside its id and date.
        extend: adds to the ready-made type of the same id, or replaces it.
    """

    name: str | None = None
    description: str = ""
    priority: Literal["high", "low"] = "high"
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    fields: dict[PropertyId, EventField] = {}
    extend: bool = True

    @model_validator(mode="after")
    def _refuse_long_low(self) -> EventType:
        if self.priority == "low" and (self.retention_days or 1) > MAX_LOW_RETENTION_DAYS:
            raise ValueError(f"events of low priority are kept for {MAX_LOW_RETENTION_DAYS} days at most")
        return self

    @property
    def kept_days(self) -> int | None:
        """How many days an event is kept; None for ever."""
        return self.retention_days or (LOW_RETENTION_DAYS if self.priority == "low" else None)


def extended(base: EventType, own: EventType) -> EventType:
    """A ready-made type with what a declaration of the same id says."""
    said = {key: getattr(own, key) for key in own.model_fields_set if key != "fields"}
    fields = dict(base.fields)
    for name, field in own.fields.items():
        known = fields.get(name)
        if known is not None and known.fields and field.fields:
            field = field.model_copy(update={"fields": {**known.fields, **field.fields}})
        fields[name] = field
    return base.model_copy(update={**said, "fields": fields})


def with_ready_made(declared: dict[str, EventType]) -> dict[str, EventType]:
    """All event types of a tenant: the ready-made ones, extended or replaced by the declared ones, then the others."""
    ready = ready_made()
    found = dict(ready)
    for name, own in declared.items():
        base = ready.get(name)
        found[name] = extended(base, own) if base is not None and own.extend else own
    return found


_PRODUCT: dict[str, Any] = {
    "id": {"identifier": True},
    **{key: {"multiple": False} for key in ("sku", "upc", "name")},
    "category": {},
    **{key: {"multiple": False} for key in ("brand", "variant")},
    "listprice": {"type": "decimal"},
    "netprice": {"type": "decimal"},
    "quantity": {"type": "number"},
    "coupon": {},
    "url": {"multiple": False},
    "image": {"multiple": False},
    "deliverydate": {"type": "datetime"},
}
_ORDER: dict[str, Any] = {
    "event_id": {"multiple": False},
    "order_id": {"multiple": False},
    "order_date": {"type": "datetime"},
    "affiliation": {"multiple": False},
    "total_revenue": {"type": "decimal"},
    "quantity": {"type": "number"},
    "revenue": {"type": "decimal"},
    "shipping": {"type": "decimal"},
    "tax": {"type": "decimal"},
    "discount": {"type": "decimal"},
    "coupon": {},
    "promotion": {},
    "product": {"fields": _PRODUCT},
}
_BACK: dict[str, Any] = {**_ORDER, "reason": {"multiple": False}}
_BASKET: dict[str, Any] = {
    "event_id": {"multiple": False},
    "last_modified": {"type": "datetime"},
    "affiliation": {"multiple": False},
    "quantity": {"type": "number"},
    "total_value": {"type": "decimal"},
    "coupon": {},
    "promotion": {},
    "currency": {"multiple": False},
    "recovery_url": {"multiple": False},
    "product": {"fields": _PRODUCT},
}
_MAIL: dict[str, Any] = {
    key: {"multiple": False} for key in ("event_id", "campaign_id", "campaign_name", "message_id", "subject")
}
_LINK: dict[str, Any] = {**_MAIL, "link_url": {"multiple": False}, "link_name": {"multiple": False}}


@cache
def ready_made() -> Mapping[str, EventType]:
    """The event types that every tenant has; made on first use."""
    return {
        name: EventType.model_validate({"name": title, "priority": priority, "fields": fields})
        for name, title, priority, fields in (
            ("order", "Order", "high", _ORDER),
            ("order_refund", "Order refund", "high", _BACK),
            ("order_return", "Order return", "high", _BACK),
            ("order_exchange", "Order exchange", "high", _BACK),
            ("abandoned_basket", "Abandoned basket", "low", _BASKET),
            ("email_delivered", "E-mail delivered", "low", _MAIL),
            ("email_opened", "E-mail opened", "low", _MAIL),
            ("email_clicked", "E-mail link clicked", "low", _LINK),
        )
    }
