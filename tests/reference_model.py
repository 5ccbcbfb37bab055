"""What a store holds after an import, in plain Python dictionaries: slow, sequential, written apart from the engine.

The model applies row after row where the product works in sets, so that agreement means something. It knows profiles,
identifiers, consent, row state and the counts of rows; not files, dialects or joins: rows come in as dictionaries of
cells (None: absent, '': empty, a list: the rows of a nested file).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any
from unicodedata import category
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.goal_checks import effective_strategy
from crosswalk.config.tenant import Property, Tenant

Document = dict[str, list[str]]
BLANKS = " \t\n\v\f\r\u00a0\u2009\u202f\u3000\ufeff"


@dataclass
class Row:
    """One joined row: its source file, line and cells by ``file.column``."""

    file: str
    line: int
    cells: dict[str, Any]


@dataclass
class Store:
    """What the profile store holds. ``row_state``: key -> (content, profile id, amounts)."""

    documents: dict[str, Document] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    row_state: dict[Any, tuple[Any, str, dict[str, Decimal]]] = field(default_factory=dict)

    def owner(self, tenant: Tenant, property_id: str, value: str) -> str | None:
        """The profile that has an identifier value."""
        if tenant.properties[property_id].identifier != "unique":
            return None
        return next((key for key, doc in self.documents.items() if value in doc.get(property_id, [])), None)


# -- values ------------------------------------------------------------------------------------------------------------


def plain_number(text: str, decimal: str, thousands: str | None) -> str | None:
    """Digits with a point, or None when the text is no certain number."""
    other = thousands or ("," if decimal == "." else ".")
    point, group = re.escape(decimal), re.escape(other)
    digits = rf"[+-]?(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)"
    grouped = rf"[+-]?[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+(?:{point}[0-9]*)?"
    if re.fullmatch(digits, text):
        return text.replace(decimal, ".")
    if not re.fullmatch(grouped, text):
        return None
    certain = thousands is not None or text.count(other) > 1 or re.search(rf"{point}[0-9]", text)
    return text.replace(other, "").replace(decimal, ".") if certain else None


def amount_of(declared: Property, text: str, decimal: str, thousands: str | None) -> Decimal | None:
    """The number a text says, rounded as its property keeps it."""
    if declared.type == "number" and thousands is None:
        other = "," if decimal == "." else "."
        if other in text:
            return None
    found = plain_number(text, decimal, thousands)
    if found is None:
        return None
    with localcontext() as context:
        context.prec = 100_000 if len(found) > 50 else 100
        exact = Decimal(found)
        if declared.type == "number":
            if exact != exact.to_integral_value() or abs(exact) > 2_147_483_647:
                return None
            return exact.to_integral_value() + 0
        if abs(exact) >= Decimal(10) ** 14:
            return None
        rounded = exact.quantize(Decimal(1).scaleb(-declared.stored_decimals), ROUND_HALF_EVEN)
        return None if declared.stored_decimals == 4 and abs(rounded) >= Decimal(10) ** 14 else rounded + 0


def amount_text(declared: Property, amount: Decimal) -> str:
    """Canonical text: currency with its digits, others without trailing zeros."""
    with localcontext() as context:
        context.prec = 60
        amount = amount.quantize(Decimal(1).scaleb(-declared.stored_decimals))
        text = f"{amount + 0:f}"
        text = text.replace("-", "", 1) if amount == 0 else text
    return text.rstrip("0").rstrip(".") if declared.type == "decimal" and "." in text else text


def moment_of(text: str, pattern: str | None, zone: str) -> str | None:
    """Epoch milliseconds of a date: a pattern, else ISO 8601 or epoch."""
    if pattern is None:
        if re.fullmatch(r"[0-9]{9,10}", text):
            return str(int(text) * 1000)
        if re.fullmatch(r"[0-9]{12,13}", text):
            return str(int(text))
        if not re.fullmatch(
            r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", text
        ):
            return None
    try:
        read = datetime.fromisoformat(text) if pattern is None else datetime.strptime(text, pattern)  # noqa: DTZ007
    except ValueError:
        return None
    aware = read if read.tzinfo else read.replace(tzinfo=ZoneInfo(zone), fold=0)
    return str(
        (aware.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // __import__("datetime").timedelta(milliseconds=1)
    )


@dataclass(frozen=True)
class Reading:
    """How one field is read as values of a property."""

    declared: Property
    decimal: str
    thousands: str | None
    pattern: str | None
    zone: str
    separator: str | None

    def one(self, text: str) -> str | None:
        """The canonical value of a clean text, or None."""
        kind = self.declared.type
        longest = 500 if self.declared.identifier == "unique" else 65_000
        if kind == "text":
            return text if len(text) <= longest else None
        if kind == "email":
            hidden = {c for c in text if c in '<>,;"' or category(c) in ("Zs", "Zl", "Zp", "Cc", "Cf")}
            ok = not hidden and len(text) <= longest and re.fullmatch(r"[^@]+@[^@.]+(\.[^@.]+)+", text)
            return text.lower() if ok else None
        if kind == "datetime":
            return moment_of(text, self.pattern, self.zone)
        amount = amount_of(self.declared, text, self.decimal, self.thousands)
        return None if amount is None else amount_text(self.declared, amount)

    def read(self, cell: Any) -> tuple[list[str], bool, bool]:
        """Values of a cell without repeats; whether it is there but empty; whether something did not fit."""
        if cell is None:
            return [], False, False
        parts = [str(part or "").strip(BLANKS) for part in (cell if isinstance(cell, list) else [cell])]
        if self.separator:
            parts = [piece.strip(BLANKS) for part in parts for piece in part.split(self.separator)]
        parts = [part for part in parts if part]
        values = [self.one(part) for part in parts]
        return list(dict.fromkeys(v for v in values if v is not None)), not parts, None in values

    def amount(self, cell: Any) -> Decimal | None:
        """The sum of the numbers of a cell (repeats count), or None."""
        if cell is None:
            return None
        parts = [str(part or "").strip(BLANKS) for part in (cell if isinstance(cell, list) else [cell])]
        if self.separator:
            parts = [piece.strip(BLANKS) for part in parts for piece in part.split(self.separator)]
        found = [amount_of(self.declared, part, self.decimal, self.thousands) for part in parts if part]
        valid = [amount for amount in found if amount is not None]
        return sum(valid, Decimal(0)) if valid else None


# -- the import --------------------------------------------------------------------------------------------------------


class Import:
    """One import of rows into a store; ``run`` changes the store and returns the counts."""

    def __init__(
        self, store: Store, goal: ImportProfiles, connection: Connection, tenant: Tenant, batch_id: str = "b"
    ) -> None:
        self.store, self.goal, self.connection, self.tenant, self.batch_id = store, goal, connection, tenant, batch_id
        self.reasons: Counter[str] = Counter()

    def reading(self, field_name: str, property_id: str, mapping: Any = None) -> Reading:
        file = field_name.partition(".")[0]
        known = any(block.name == file for block in self.goal.files)
        settings = self.goal.file_format(file) if known else self.goal.format
        decimal = (mapping and mapping.decimal) or settings.decimal
        thousands = settings.thousands if settings.thousands != decimal else None
        pattern = (mapping and mapping.date) or settings.date
        zone = (mapping and mapping.timezone) or settings.timezone or self.connection.timezone
        separator = (mapping and mapping.multi_value) or settings.multi_value
        return Reading(self.tenant.properties[property_id], decimal, thousands, pattern, zone, separator)

    def run(self, rows: list[Row], *, full: bool = False) -> Counter[str]:
        """Import rows in their order."""
        counts: Counter[str] = Counter(rows_read=len(rows))
        numbered = list(enumerate(rows, start=1))
        keys, contents = self.keys(rows)
        links = {no: self.link_values(row) for no, row in numbered}
        taken = self.touched(numbered, keys, contents, links, full)
        counts["unchanged_rows_skipped"] = len(rows) - len(taken)
        considered = [(no, row) for no, row in numbered if no in taken]
        fate = self.link({no: links[no] for no, _ in considered}, {no for no, row in considered if self.bad_link(row)})
        for no, _ in considered:
            if isinstance(fate[no], tuple):
                counts[fate[no][1]] += 1
        linked = [(no, row, fate[no]) for no, row in considered if isinstance(fate[no], str)]
        good = [(no, row, profile) for no, row, profile in linked if not self.bad_row(row)]
        counts["rejected"] += len(linked) - len(good)
        gone = self.taken_values(good, links)
        blocked = self.consents(good)
        counts["no_consent"] = sum(profile in blocked for _, _, profile in good)
        applied = [item for item in good if item[2] not in blocked]
        counts["applied"] = len(applied)
        before = {key: {p: list(v) for p, v in doc.items()} for key, doc in self.before.items()}
        self.apply(applied, gone)
        refused = self.sums(applied, keys, contents, blocked)
        self.identifiers(applied, links)
        touched = {profile for _, _, profile in applied}
        for key in touched | {key for key in before if before[key] != self.store.documents.get(key)}:
            document = self.store.documents[key]
            self.store.documents[key] = {p: v[:1000] for p, v in document.items() if v}
            kind = (
                "created"
                if key not in before
                else "unchanged"
                if before[key] == self.store.documents[key]
                else "updated"
            )
            counts[kind] += 1
        self.remember(applied, keys, contents, refused)
        return +counts

    # -- which rows ------------------------------------------------------------------------------------------------

    def keys(self, rows: list[Row]) -> tuple[list[Any], list[Any]]:
        """Per row its key, and what its content is compared by."""
        fields = list(
            dict.fromkeys(
                [
                    *self.goal.row_key,
                    *(i.field for i in self.goal.identifiers),
                    *(c.field for c in self.goal.consent),
                    *(m.field for m in self.goal.mappings.fields),
                ]
            )
        )
        seen: Counter[Any] = Counter()
        keys, contents = [], []
        for row in rows:
            content = tuple(repr(row.cells.get(name)) for name in fields)
            named = tuple(row.cells.get(name) for name in self.goal.row_key)
            if not any(named):
                seen[row.file, content] += 1
                keys.append(("content", row.file, content, seen[row.file, content]))
            else:
                keys.append(("named", named))
            contents.append(content)
        return keys, contents

    def combined(self, numbers: Iterable[int], keys: list[Any], contents: list[Any]) -> dict[Any, Any]:
        """Per key the contents of all its rows; one alone stands for itself."""
        grouped = defaultdict(list)
        for no in numbers:
            grouped[keys[no - 1]].append(contents[no - 1])
        return {key: group[0] if len(group) == 1 else tuple(group) for key, group in grouped.items()}

    def touched(self, numbered: Any, keys: list[Any], contents: list[Any], links: Any, full: bool) -> set[int]:
        """New and changed rows, and all that share a linking value or a row key with them."""
        if full or not self.store.row_state:
            return {no for no, _ in numbered}
        now = self.combined((no for no, _ in numbered), keys, contents)
        hot = {no for no, _ in numbered if self.store.row_state.get(keys[no - 1], (None,))[0] != now[keys[no - 1]]}
        tuples = {no: self.raw_link(row) for no, row in numbered}
        while True:
            values = {value for no in hot for value in links[no]}
            cells = {tuples[no] for no in hot}
            named = {keys[no - 1] for no in hot}
            grown = {
                no
                for no, _ in numbered
                if no in hot or values & links[no] or tuples[no] in cells or keys[no - 1] in named
            }
            if grown == hot:
                return hot
            hot = grown

    def raw_link(self, row: Row) -> Any:
        return tuple(repr(row.cells.get(i.field)) for i in self.goal.identifiers)

    # -- linking ---------------------------------------------------------------------------------------------------

    def link_values(self, row: Row) -> set[tuple[str, str]]:
        """The normalised identifier values of a row."""
        found = set()
        for item in self.goal.identifiers:
            values, _, _ = self.reading(item.field, item.property).read(row.cells.get(item.field))
            found |= {(item.property, value) for value in values}
        return found

    def bad_link(self, row: Row) -> bool:
        return self.goal.invalid_values == "reject_row" and any(
            self.reading(item.field, item.property).read(row.cells.get(item.field))[2] for item in self.goal.identifiers
        )

    def link(self, values: dict[int, set[tuple[str, str]]], bad: set[int]) -> dict[int, Any]:
        """Per row a profile id, or (outcome, reason)."""
        fate: dict[int, Any] = dict.fromkeys(bad, ("quarantined", "rejected"))
        rows = {no: found for no, found in values.items() if no not in bad}
        owner = {value: self.store.owner(self.tenant, *value) for found in rows.values() for value in found}
        decide = self.link_any if self.goal.match == "any" else self.link_all
        fate |= decide(rows, owner)
        self.before = {key: {p: list(v) for p, v in doc.items()} for key, doc in self.store.documents.items()}
        return fate

    def new_id(self, first_row: int) -> str:
        return str(uuid5(uuid5(NAMESPACE_URL, f"crosswalk:{self.batch_id}"), str(first_row)))

    def link_any(self, rows: dict[int, set[Any]], owner: dict[Any, str | None]) -> dict[int, Any]:
        fate: dict[int, Any] = {}
        sound = {}
        for no, found in rows.items():
            owners = {owner[value] for value in found} - {None}
            if not found:
                fate[no] = ("excluded", "no_identifier")
            elif len(owners) > 1:
                fate[no] = ("quarantined", "ambiguous_match")
            else:
                sound[no] = found
        for members in components(sound):
            inside = set().union(*(sound[no] for no in members))
            owners = {owner[value] for value in inside} - {None}
            strangers = Counter(value[0] for value in inside if owner[value] is None)
            listed = {p: max(sum(v[0] == p for v in sound[no]) for no in members) for p in strangers}
            glued = any(count > 20 and count > listed[p] for p, count in strangers.items())
            new = self.new_id(min(members)) if self.goal.create_profiles else None
            for no in members:
                own = {owner[value] for value in sound[no]}
                if None in own and (len(owners) > 1 or glued):
                    fate[no] = ("quarantined", "ambiguous_match" if len(owners) > 1 else "shared_identifier")
                else:
                    fate[no] = next(iter(own - {None} or owners), new) or ("excluded", "no_match")
        return fate

    def link_all(self, rows: dict[int, set[Any]], owner: dict[Any, str | None]) -> dict[int, Any]:
        fate: dict[int, Any] = {}
        made: dict[frozenset[Any], str] = {}
        used: set[Any] = set()
        wanted = {item.property for item in self.goal.identifiers}
        for no in sorted(rows):
            found = rows[no]
            owners = {owner[value] for value in found} - {None}
            held = {value[0] for value in found if owner[value]}
            key = frozenset(found)
            if {value[0] for value in found} != wanted:
                fate[no] = ("excluded", "no_identifier")
            elif len(owners) > 1:
                fate[no] = ("quarantined", "ambiguous_match")
            elif owners:
                fate[no] = owners.pop() if held == wanted else ("quarantined", "identifier_taken")
            elif not self.goal.create_profiles:
                fate[no] = ("excluded", "no_match")
            elif key in made:
                fate[no] = made[key]
            elif used & found:
                fate[no] = ("quarantined", "identifier_taken")
            else:
                made[key] = fate[no] = self.new_id(no)
                used |= found
        return fate

    # -- values ----------------------------------------------------------------------------------------------------

    def targets(self) -> dict[str, list[Any]]:
        grouped = defaultdict(list)
        for mapping in self.goal.mappings.fields:
            grouped[self.goal.target(mapping)].append(mapping)
        return grouped

    def strategy(self, property_id: str, mappings: list[Any]) -> str:
        return effective_strategy(self.goal, mappings[0], self.tenant.properties[property_id])

    def bad_row(self, row: Row) -> bool:
        if self.goal.invalid_values != "reject_row":
            return False
        for property_id, mappings in self.targets().items():
            for mapping in mappings:
                if self.reading(mapping.field, property_id, mapping).read(row.cells.get(mapping.field))[2]:
                    return True
        return any(self.answer(column, row) == "?" for column in self.goal.consent)

    def taken_values(self, rows: list[Any], links: Any) -> dict[tuple[str, str], set[str]]:
        """Per profile the mapped identifier values that another profile has."""
        stored = {
            value: profile
            for no, _, profile in rows
            for value in links[no]
            if profile not in self.store.documents or (self.goal.match == "any" and self.goal.store_identifiers)
        }
        claims: dict[Any, str] = {}
        gone: dict[tuple[str, str], set[str]] = defaultdict(set)
        for _, row, profile in rows:
            for property_id, mappings in self.targets().items():
                if self.tenant.properties[property_id].identifier != "unique":
                    continue
                for mapping in mappings:
                    for value in self.reading(mapping.field, property_id, mapping).read(row.cells.get(mapping.field))[
                        0
                    ]:
                        key = (property_id, value)
                        owner = (
                            self.store.owner(self.tenant, *key) or stored.get(key) or claims.setdefault(key, profile)
                        )
                        if owner != profile:
                            gone[profile, property_id].add(value)
        return gone

    def apply(self, rows: list[Any], gone: dict[tuple[str, str], set[str]]) -> None:
        """Row after row, mapping after mapping, but for sums."""
        for _, row, profile in rows:
            document = self.store.documents.setdefault(profile, {})
            for property_id, mappings in self.targets().items():
                strategy = self.strategy(property_id, mappings)
                for mapping in mappings:
                    cell = row.cells.get(mapping.field)
                    found, empty, _ = self.reading(mapping.field, property_id, mapping).read(cell)
                    values = [value for value in found if value not in gone[profile, property_id]]
                    self.write(document, property_id, strategy, values, empty)

    @staticmethod
    def write(document: Document, property_id: str, strategy: str, values: list[str], empty: bool) -> None:
        old = document.get(property_id, [])
        if strategy == "set_or_clear" and empty:
            document.pop(property_id, None)
        elif values and (strategy in ("set", "set_or_clear") or (strategy == "set_if_empty" and not old)):
            document[property_id] = values
        elif values and strategy == "add":
            document[property_id] = old + [value for value in values if value not in old]

    def sums(self, rows: list[Any], keys: list[Any], contents: list[Any], blocked: set[str]) -> set[tuple[str, str]]:
        """What each key adds beyond what it had added; returns refused (profile, property)."""
        refused = set()
        self.amounts: dict[Any, dict[str, Decimal]] = {}
        for property_id, mappings in self.targets().items():
            if self.strategy(property_id, mappings) != "sum":
                continue
            declared = self.tenant.properties[property_id]
            deltas: dict[str, list[Decimal]] = defaultdict(list)
            last: dict[Any, tuple[str, Decimal | None]] = {}
            for no, row, profile in rows:
                parts = [self.reading(m.field, property_id, m).amount(row.cells.get(m.field)) for m in mappings]
                known = [part for part in parts if part is not None]
                amount = sum(known, Decimal(0)) if known else last.get(keys[no - 1], (None, None))[1]
                last[keys[no - 1]] = (profile, amount)
            for key, (profile, amount) in last.items():
                _, old_profile, old_amounts = self.store.row_state.get(key, (None, None, {}))
                old = old_amounts.get(property_id)
                now = amount if amount is not None else old
                if now is not None:
                    self.amounts.setdefault(key, {})[property_id] = now
                if old is not None and old_profile != profile and old_profile in self.store.documents:
                    if old_profile not in blocked:
                        deltas[old_profile].append(-old)
                    old = None
                elif old is not None and old_profile != profile:
                    old = None
                if now is not None and now != old:
                    deltas[profile].append(now - (old or 0))
            for profile, parts in deltas.items():
                document = self.store.documents[profile]
                stored = document.get(property_id, [])
                total = sum(parts, Decimal(0))
                if total == 0 and stored:
                    continue
                result = (Decimal(stored[0]) if stored else Decimal(0)) + total
                if abs(result) > (2_147_483_647 if declared.type == "number" else 10**14 - 1):
                    refused.add((profile, property_id))
                else:
                    document[property_id] = [amount_text(declared, result)]
        return refused

    def identifiers(self, rows: list[Any], links: Any) -> None:
        """Linking values that a profile lacks: always on creation, else when the goal says so."""
        for no, _, profile in rows:
            new = profile not in self.before
            if not new and not (self.goal.match == "any" and self.goal.store_identifiers):
                continue
            for property_id, value in sorted(links[no], key=lambda item: item[1]):
                owner = (
                    None if new else next((k for k, d in self.before.items() if value in d.get(property_id, [])), None)
                )
                values = self.store.documents[profile].setdefault(property_id, [])
                if owner is None and value not in values:
                    values.append(value)

    # -- consent ---------------------------------------------------------------------------------------------------

    @staticmethod
    def answer(column: Any, row: Row) -> str | None:
        text = str(row.cells.get(column.field) or "").strip(BLANKS).lower()
        if not text:
            return None
        if text in [item.strip(BLANKS).lower() for item in column.refused]:
            return "refused"
        return "granted" if text in [item.strip(BLANKS).lower() for item in column.granted] else "?"

    def consents(self, rows: list[Any]) -> set[str]:
        """Apply answers; returns the profiles that may not be processed, new ones of which are not made."""
        answers: dict[str, dict[str, str]] = defaultdict(dict)
        for _, row, profile in rows:
            for column in self.goal.consent:
                answer = self.answer(column, row)
                if answer in ("granted", "refused"):
                    answers[profile][column.objective] = answer
        blocked = set()
        order = list(dict.fromkeys(column.objective for column in self.goal.consent))
        for profile in {profile for _, _, profile in rows}:
            document = {p: list(v) for p, v in self.store.documents.get(profile, {}).items()}
            for objective in order:
                answer = answers[profile].get(objective)
                if answer:
                    for name, state in (("consented_objectives", "granted"), ("refused_objectives", "refused")):
                        listed = [item for item in document.get(name, []) if item != objective or answer == state]
                        document[name] = listed + ([objective] if answer == state and objective not in listed else [])
            document = {p: v for p, v in document.items() if v}
            allowed = set(self.connection.objectives)
            if self.store.levels.get(profile, 2) == 0 or (
                allowed and not allowed & set(document.get("consented_objectives", []))
            ):
                blocked.add(profile)
            if profile in self.store.documents or profile not in blocked:
                self.store.documents[profile] = document
        return blocked

    # -- row state -------------------------------------------------------------------------------------------------

    def remember(self, rows: list[Any], keys: list[Any], contents: list[Any], refused: set[tuple[str, str]]) -> None:
        now = self.combined((no for no, _, _ in rows), keys, contents)
        profiles = {keys[no - 1]: profile for no, _, profile in rows}
        for key, profile in profiles.items():
            amounts = dict(self.amounts.get(key, {}))
            _, _, old = self.store.row_state.get(key, (None, None, {}))
            for property_id in [p for p in amounts if (profile, p) in refused]:
                amounts.pop(property_id)
                if property_id in old:
                    amounts[property_id] = old[property_id]
            self.store.row_state[key] = (now[key], profile, amounts)


def components(rows: dict[int, set[Any]]) -> list[list[int]]:
    """Rows that hang together by shared values."""
    left, groups = set(rows), []
    holders: dict[Any, list[int]] = defaultdict(list)
    for no, found in rows.items():
        for value in found:
            holders[value].append(no)
    while left:
        open_rows, group = [left.pop()], []
        while open_rows:
            no = open_rows.pop()
            group.append(no)
            near = {other for value in rows[no] for other in holders[value]} & left
            left -= near
            open_rows += near
        groups.append(sorted(group))
    return groups


Check = Callable[[Store], None]
