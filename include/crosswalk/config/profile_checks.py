"""Checks of what only goals that import profiles have: consent and timeline events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crosswalk.config.event_mapping import EventMapping, NestedMapping
from crosswalk.config.event_types import EventField, EventType
from crosswalk.config.goals import ImportProfiles
from crosswalk.config.import_checks import ImportCheck
from crosswalk.core.names import display

PRODUCTS = "product"
EventPlace = tuple[str, int]


class ImportProfilesCheck(ImportCheck):
    """The checks of a goal that imports profiles and their events."""

    goal: ImportProfiles

    def run(self) -> None:
        """Run all checks of the goal."""
        super().run()
        self._check_consent()
        for index, event in enumerate(self.goal.events):
            self._check_event(event, ("events", index))

    # consent

    def _check_consent(self) -> None:
        for index, column in enumerate(self.goal.consent):
            where = ("consent", index)
            if self._check_field(column.field, "consent", *where, "field"):
                self._refuse_nested(column.field, "consent", *where, "field")
            self.report.check_objective(column.objective, *self.path, *where, "objective")
            if not column.granted and not column.refused:
                message = "consent needs the texts that mean yes (`granted`), no (`refused`) or both"
                self._add("error", "empty_consent", message, *where)
            both = {text.strip().casefold() for text in column.granted} & {
                text.strip().casefold() for text in column.refused
            }
            if both:
                self._add("error", "contrary_consent", "the same text means granted and refused", *where, "refused")

    # events

    def _check_event(self, event: EventMapping, where: EventPlace) -> None:
        self._check_event_id(event, where)
        if self._check_field(event.date, "events: date", *where, "date"):
            self._refuse_nested(event.date, "events: date", *where, "date")
        if event.when is not None and self._check_field(event.when.field, "events: when", *where, "when", "field"):
            self._refuse_nested(event.when.field, "events: when", *where, "when", "field")
        known = self._check_event_type(event.type, *where, "type")
        declared = self.tenant.event_types[event.type] if known else None
        for name, field in event.fields.items():
            self._check_event_field(event, declared, name, field, where)
        for name, nested in event.nested.items():
            self._check_details(event, declared, name, nested, where)
        if event.product_store:
            self._check_product_store(event, declared, where)

    def _check_event_id(self, event: EventMapping, where: EventPlace) -> None:
        """The rows of the primary file are the events (row S-19)."""
        if not self._check_field(event.id, "events: id", *where, "id"):
            return
        name = event.id.partition(".")[0]
        if "." not in event.id or name == self.goal.files[0].name:
            return
        many = name in self.nested
        why = "it has many rows per primary row" if many else "rows without a match there have no event"
        message = (
            f"the event's id `{display(event.id)}` is not in the primary file, {self.goal.files[0].name}, and {why}. "
            f"Put file {name} first and link the others to it"
        )
        self._add("error" if many else "warning", "event_id_not_primary", message, *where, "id")

    def _check_event_field(
        self, event: EventMapping, declared: EventType | None, name: str, field: str, where: EventPlace
    ) -> None:
        place = (*where, "fields", name)
        is_known = self._check_field(field, "events: fields", *place)
        if declared is None:
            return
        shape = declared.fields.get(name)
        if shape is None:
            self._refuse_unknown(event, name, declared.fields, "type: text", *place)
        elif shape.is_nested:
            message = f"`{name}` of {event.type} has fields of its own; map them under `nested:`, from a nested file"
            self._add("error", "nested_event_field", message, *place)
        elif is_known and not shape.is_multiple:
            self._refuse_nested(field, f"events: {name}", *place)

    def _refuse_unknown(
        self, event: EventMapping, name: str, known: Mapping[str, object], suggestion: str, *path: str | int
    ) -> None:
        message = (
            f"event type {event.type} has no field `{display(name)}`{self.report.nearest(name, known)}; it has "
            f"{', '.join(known)}. To add it, write below its `fields:` in event_types.yaml:\n"
            f"  {display(name)}: {{{suggestion}}}"
        )
        self._add("error", "unknown_event_field", message, *path)

    def _check_details(
        self, event: EventMapping, declared: EventType | None, name: str, nested: NestedMapping, where: EventPlace
    ) -> None:
        place = (*where, "nested", name)
        if nested.file not in self.files:
            hint = self.report.nearest(nested.file, self.files)
            message = f"events: there is no file `{display(nested.file)}`{hint}; files are {', '.join(self.files)}"
            self._add("error", "unknown_file", message, *place, "file")
        elif nested.file not in self.nested:
            message = (
                f"events: file {nested.file} has one row per primary row, so it holds no details. Mark it "
                "`nested: true`, or map its fields under `fields:`"
            )
            self._add("error", "details_not_nested", message, *place, "file")
        allowed = set(self._seen_from(nested.file))
        for key, field in nested.fields.items():
            file = field.partition(".")[0]
            if not self._check_field(field, f"events: {display(name)}", *place, "fields", key):
                continue
            if file in self.nested and file not in allowed and nested.file in self.nested:
                message = f"events: {display(name)}: file {file} hangs on another nested file than {nested.file}"
                self._add("error", "nested_field", message, *place, "fields", key)
        if declared is not None:
            self._check_details_type(event, declared.fields.get(name), declared, name, nested, where)

    def _seen_from(self, nested: str) -> Iterator[str]:
        """The nested file and the files whose rows belong to its rows."""
        reached = {nested}
        yield nested
        for file in self.goal.files:
            if not file.nested and {target.partition(".")[0] for target in file.link.values()} & reached:
                reached.add(file.name)
                yield file.name

    def _check_details_type(
        self,
        event: EventMapping,
        shape: EventField | None,
        declared: EventType,
        name: str,
        nested: NestedMapping,
        where: EventPlace,
    ) -> None:
        place = (*where, "nested", name)
        if shape is None:
            self._refuse_unknown(event, name, declared.fields, "fields: {id: {identifier: true}}", *place)
            return
        if shape.fields is None:
            message = f"`{name}` of {event.type} is a simple field; map it under `fields:`"
            self._add("error", "nested_event_field", message, *place)
            return
        for key in nested.fields:
            if key not in shape.fields:
                hint = self.report.nearest(key, shape.fields)
                message = f"`{name}` of {event.type} has no field `{display(key)}`{hint}; it has "
                message += ", ".join(shape.fields)
                self._add("error", "unknown_event_field", message, *place, "fields", key)
        if event.strategy != "replace" and shape.identifier not in nested.fields:
            message = (
                f"`strategy: {event.strategy}` replaces all of `{name}` at once, because no field that tells its items "
                "apart (`identifier: true` in event_types.yaml) is mapped"
            )
            self._add("warning", "details_without_identifier", message, *place)

    def _check_product_store(self, event: EventMapping, declared: EventType | None, where: EventPlace) -> None:
        """The product store counts products by their id, and knows when each was last bought."""
        shape = declared.fields.get(PRODUCTS) if declared else None
        identifier = shape.identifier if shape else None
        mapped = event.nested[PRODUCTS].fields if PRODUCTS in event.nested else {}
        if declared is not None and (identifier is None or identifier not in mapped):
            needed = f"`{identifier}`" if identifier else "a field with `identifier: true`"
            message = f"`product_store` counts the items of `nested: {{{PRODUCTS}: ...}}` by {needed}; map it"
            self._add("error", "product_store_without_products", message, *where, "product_store")
