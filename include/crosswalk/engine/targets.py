"""What a goal writes: each property with its strategy and the fields that feed it, and the query frame over the rows.

Every strategy needs of each row one value per property (several mappings to one property follow each other within the
row), so the frame has three levels: clean cells, the readers' inner columns, and expressions over those (see
``values.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from crosswalk.config.connection import Connection, FieldMapping, ImportProfiles
from crosswalk.config.goal_checks import effective_strategy
from crosswalk.config.tenant import Property, Tenant
from crosswalk.engine.link_task import identifier_readers
from crosswalk.engine.row_keys import Cells
from crosswalk.engine.template import Node, call, name, named, sql
from crosswalk.engine.values import ValueReader, cleaned_cell


@dataclass(frozen=True)
class MappedField:
    """One mapping: a field read as values of its property.

    Attributes:
        index: its number in the goal.
        field: the field.
        cell_no: which clean cell of the frame it reads.
        reader: how.
        reported: *link* reads the same field the same way and has reported what does not fit.
    """

    index: int
    field: str
    cell_no: int
    reader: ValueReader
    reported: bool

    @property
    def cell(self) -> Node:
        """The clean cell."""
        return name(f"cell_{self.cell_no}")

    def column(self, key: str) -> Node:
        """An inner column of the reader."""
        return name(f"m{self.index}_{key}")

    @property
    def inner(self) -> list[Node]:
        """The inner columns, as the second level of the frame computes them."""
        return [named(part, f"m{self.index}_{key}") for key, part in self.reader.inner(self.cell).items()]

    def outer(self, *, moments: bool) -> list[Node]:
        """The outer columns, as the third level of the frame computes them."""
        parts = self.reader.outer(self.cell, self.column, moments=moments)
        return [named(part, f"m{self.index}_{key}") for key, part in parts.items()]

    def text(self, gone: Node | None) -> Node:
        """Canonical text; values that another profile owns (``gone``) are as good as not there."""
        found = self.reader.text(self.cell, self.column)
        if gone is None:
            return found
        return sql(
            "CASE WHEN NOT coalesce(list_contains($gone, $found), false) THEN $found END", gone=gone, found=found
        )

    def texts(self, gone: Node | None) -> Node:
        """Canonical texts as a list; NULL when there is none."""
        found = self.reader.texts(self.cell, self.column)
        if gone is None:
            return found
        kept = sql(
            "list_filter($found, LAMBDA item : NOT coalesce(list_contains($gone, item), false))", found=found, gone=gone
        )
        return sql("CASE WHEN len($kept) > 0 THEN $kept END", kept=kept)

    def is_valid(self, gone: Node | None) -> Node:
        """Whether the row has a value."""
        if gone is None:
            return self.reader.is_valid(self.cell, self.column)
        return sql("$texts IS NOT NULL", texts=self.texts(gone))

    @property
    def is_empty(self) -> Node:
        """Whether the cell is there and holds nothing."""
        return self.reader.is_empty(self.cell, self.column)

    @property
    def is_refused(self) -> Node:
        """Whether something in the cell does not fit."""
        return self.reader.is_refused(self.cell, self.column)


@dataclass(frozen=True)
class Target:
    """One property that the goal's mappings write.

    Attributes:
        index: its number among the targets.
        property_id: the property.
        declared: its definition.
        strategy: how values meet the stored ones.
        mappings: the fields that feed it, in the goal's order.
    """

    index: int
    property_id: str
    declared: Property
    strategy: str
    mappings: tuple[MappedField, ...]

    @property
    def is_list(self) -> bool:
        """Whether one row can bring several values."""
        return self.strategy == "add" or any(mapping.reader.many for mapping in self.mappings)

    @property
    def has_winner(self) -> bool:
        """Whether one row decides: its number is ``w<index>`` per profile."""
        return self.strategy != "add"

    @property
    def has_value(self) -> bool:
        """Whether the deciding row's value is fetched (``v<index>``)."""
        return self.strategy in ("set", "set_if_empty", "set_or_clear")

    def says(self, gone: Node | None) -> Node:
        """Whether a row takes part in the decision."""
        parts = [mapping.is_valid(gone) for mapping in self.mappings]
        if self.strategy == "set_or_clear":
            parts += [mapping.is_empty for mapping in self.mappings]
        return exp.or_(*parts)

    def row_value(self, gone: Node | None) -> Node:
        """What one row says: text or a list; '' or [] to clear; NULL when it says nothing."""
        ordered = self.mappings if self.strategy == "set_if_empty" else tuple(reversed(self.mappings))
        branches: list[exp.If] = []
        for mapping in ordered:
            value = mapping.texts(gone) if self.is_list else mapping.text(gone)
            branches.append(exp.If(this=mapping.is_valid(gone), true=value))
            if self.strategy == "set_or_clear":
                empty = sql("[]::VARCHAR[]") if self.is_list else sql("''")
                branches.append(exp.If(this=mapping.is_empty, true=empty))
        return exp.Case(ifs=branches)

    def row_values(self, gone: Node | None) -> Node:
        """All values of one row, in the order of the mappings; NULL when there is none."""
        lists = [mapping.texts(gone) for mapping in self.mappings]
        return call("list_concat", *lists) if len(lists) > 1 else lists[0]

    @property
    def is_plain_sum(self) -> bool:
        """Whether each row adds the one number of one cell, so that it fits the type as it is."""
        return len(self.mappings) == 1 and not self.mappings[0].reader.many

    def amount(self) -> Node:
        """What one row adds."""
        if self.is_plain_sum:
            return self.mappings[0].column("value")
        amounts = [mapping.reader.amount(mapping.cell, mapping.column) for mapping in self.mappings]
        if len(amounts) == 1:
            return amounts[0]
        whole = [sql("coalesce($amount, 0)", amount=amount) for amount in amounts]
        total = whole[0]
        for amount in whole[1:]:
            total = sql("$total + $amount", total=total, amount=amount)
        present = exp.or_(*[sql("$amount IS NOT NULL", amount=amount) for amount in amounts])
        return sql("CASE WHEN $present THEN ($total)::DECIMAL(38, 4) END", present=present, total=total)


@dataclass(frozen=True)
class Frame:
    """The staged rows with clean cells and inner columns.

    Attributes:
        fields: the distinct fields, by cell number.
        nested: which of them hold lists.
        targets: what is written.
        cells: the columns that the rows have.
    """

    fields: tuple[str, ...]
    targets: tuple[Target, ...]
    cells: Cells

    @property
    def mappings(self) -> list[MappedField]:
        """Every mapping."""
        return [mapping for target in self.targets for mapping in target.mappings]

    def cell_of(self, field: str) -> Node:
        """The clean cell of a field."""
        return name(f"cell_{self.fields.index(field)}")

    def query(
        self,
        source: Node,
        keep: Sequence[str],
        mappings: Sequence[MappedField],
        fields: Sequence[str] = (),
        *,
        moments: bool = True,
    ) -> Node:
        """Rows of ``source`` with the cells of mappings and further fields, and the mappings' inner and outer columns.

        Args:
            source: the rows.
            keep: columns of the source to keep.
            mappings: the mappings to read.
            fields: further fields whose clean cells are wanted.
            moments: dates as instants; whether a date is valid can be told without.
        """
        numbers = sorted({mapping.cell_no for mapping in mappings} | {self.fields.index(field) for field in fields})
        cells = [
            named(
                cleaned_cell(self.cells.cell(self.fields[no]), nested=self.cells.is_nested(self.fields[no])),
                f"cell_{no}",
            )
            for no in numbers
        ]
        query = sql("SELECT $kept FROM ($source)", kept=[*(name(column) for column in keep), *cells], source=source)
        inner = [column for mapping in mappings for column in mapping.inner]
        outer = [column for mapping in mappings for column in mapping.outer(moments=moments)]
        for level in (inner, outer):
            if level:
                query = sql("SELECT *, $columns FROM ($query)", columns=level, query=query)
        return query


def build_frame(goal: ImportProfiles, connection: Connection, tenant: Tenant, cells: Cells) -> Frame:
    """The targets of a goal, and the frame over its rows."""
    fields = list(
        dict.fromkeys(
            [
                *(mapping.field for mapping in goal.mappings.fields),
                *(column.field for column in goal.consent),
                *(link.field for link in goal.identifiers),
            ]
        )
    )
    linked = {
        (link.field, link.property, reader)
        for link, reader in zip(goal.identifiers, identifier_readers(goal, tenant, cells), strict=True)
    }
    grouped: dict[str, list[tuple[int, FieldMapping]]] = {}
    for index, mapping in enumerate(goal.mappings.fields):
        grouped.setdefault(goal.target(mapping), []).append((index, mapping))
    targets = []
    for number, (property_id, members) in enumerate(grouped.items()):
        declared = tenant.properties[property_id]
        mapped = []
        for index, mapping in members:
            nested = cells.is_nested(mapping.field)
            reader = ValueReader.of_field(
                goal, mapping.field, declared, zone=connection.timezone, nested=nested, mapping=mapping
            )
            same = (mapping.field, property_id, reader) in linked
            mapped.append(MappedField(index, mapping.field, fields.index(mapping.field), reader, same))
        strategy = effective_strategy(goal, members[0][1], declared)
        targets.append(Target(number, property_id, declared, strategy, tuple(mapped)))
    return Frame(tuple(fields), tuple(targets), cells)
