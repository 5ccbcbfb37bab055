"""What one goal's mapping works on: its inputs, the frame over its rows, and the two passes that read the rows.

The first pass reads every row once and keeps whole numbers only: per profile how many rows it has, and per property
the number of the row that decides. The second pass reads the deciding rows alone and keeps their values. So the
memory of a pass is that of its profiles, whatever the values, and most values are never carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import CONSENTED, REFUSED, Tenant
from crosswalk.core.staging import GoalFolder
from crosswalk.engine import consent
from crosswalk.engine.link import link_values_path
from crosswalk.engine.profile_values import stored_list
from crosswalk.engine.row_keys import Cells, place_column
from crosswalk.engine.session import Session
from crosswalk.engine.stages import Buckets
from crosswalk.engine.tables import Tables
from crosswalk.engine.targets import Frame, Target, build_frame
from crosswalk.engine.template import Node, any_of, name, named, number, parquet, sql, sum_of, text, texts

Lookup = Callable[[pa.RecordBatchReader], pa.RecordBatchReader]


@dataclass
class MapTask:
    """Inputs of *map*, and what every part of it shares."""

    session: Session
    rows: Path
    sources: Sequence[str]
    links: Path
    profiles: Path
    goal: ImportProfiles
    connection: Connection
    tenant: Tenant
    folder: GoalFolder
    lookup: Lookup
    wanted_buckets: int | None = None
    has_taken: bool = False
    has_bad: bool = False
    has_gate: bool = False
    has_extra: bool = False
    has_overflow: bool = False

    @cached_property
    def tables(self) -> Tables:
        """The engine's working tables."""
        return Tables(self.session)

    @cached_property
    def frame(self) -> Frame:
        """The rows as the goal reads them."""
        return build_frame(self.goal, self.connection, self.tenant, Cells.of(self.session, self.rows))

    @cached_property
    def objectives(self) -> tuple[consent.Objective, ...]:
        """The objectives that the rows answer for."""
        return consent.objectives_of(self.goal)

    @cached_property
    def profile_count(self) -> int:
        """How many profiles the rows touch."""
        return int(self.tables.one(sql("SELECT count(*) FROM $profiles", profiles=parquet(self.profiles))))

    @cached_property
    def buckets(self) -> Buckets:
        """Ranges of profiles that fit into memory at once."""
        width = len(self.frame.targets) + 4
        count = self.wanted_buckets or max(1, -(-self.profile_count * width // 1_000_000))
        return Buckets(self.tables, self.folder.path / "map_stages", self.profile_count, min(count, 256))

    @cached_property
    def has_history(self) -> bool:
        """Whether any row to apply was applied before with amounts, or with another profile."""
        query = sql("SELECT count(*) > 0 FROM $links WHERE amounts IS NOT NULL OR special", links=parquet(self.links))
        return bool(self.tables.one(query))

    @cached_property
    def has_known(self) -> bool:
        """Whether row state knows any of the rows to apply as it is."""
        return bool(
            self.tables.one(sql("SELECT coalesce(bool_or(known), false) FROM $links", links=parquet(self.links)))
        )

    @property
    def rejects_rows(self) -> bool:
        """Whether an invalid value sets its whole row aside."""
        return self.goal.invalid_values == "reject_row"

    @property
    def sums(self) -> list[Target]:
        """Targets that add up."""
        return [target for target in self.frame.targets if target.strategy == "sum"]

    @property
    def claimed(self) -> list[Target]:
        """Targets that are unique identifiers and may bring values that another profile owns."""
        return [
            target
            for target in self.frame.targets
            if target.declared.identifier == "unique"
            and not (self._stores_all_links and all(mapping.reported for mapping in target.mappings))
        ]

    @property
    def _stores_all_links(self) -> bool:
        """Whether every linking value of a row ends up on the row's profile, so that mapping it again is no claim."""
        many = any(mapping.reader.many for mapping in self.frame.mappings)
        return self.goal.store_identifiers if self.goal.match == "any" else not many

    @cached_property
    def link_properties(self) -> list[str]:
        """Identifier properties that *link* adds values to."""
        query = sql(
            "SELECT DISTINCT property_id FROM $values ORDER BY 1", values=parquet(link_values_path(self.folder))
        )
        return [str(row[0]) for row in self.tables.all(query)]

    @property
    def properties(self) -> list[str]:
        """Every property of the documents that may change, targets first."""
        listed = [target.property_id for target in self.frame.targets]
        listed += [CONSENTED, REFUSED] if self.objectives else []
        return list(dict.fromkeys([*listed, *self.link_properties]))

    # -- rows -------------------------------------------------------------------------------------------------------

    def linked_rows(self, condition: Node | None = None, keep: Sequence[str] = ()) -> Node:
        """The rows to apply with their profile and place, and columns of *link*."""
        columns = [exp.Star(), named(place_column(), "place")]
        extra = [name(column) for column in keep]
        links = sql(
            "SELECT row_id, profile_no, $extra FROM $links WHERE outcome = 'apply'"
            if extra
            else "SELECT row_id, profile_no FROM $links WHERE outcome = 'apply'",
            links=parquet(self.links),
            **({"extra": extra} if extra else {}),
        )
        query = sql(
            "SELECT $columns FROM $rows AS source JOIN ($links) AS l USING (row_id)",
            columns=columns,
            rows=parquet(self.rows),
            links=links,
        )
        joined = (
            sql("SELECT * FROM ($query) LEFT JOIN taken_list USING (profile_no)", query=query)
            if self.has_taken
            else query
        )
        return (
            joined
            if condition is None
            else sql("SELECT * FROM ($joined) WHERE $condition", joined=joined, condition=condition)
        )

    @property
    def base_columns(self) -> list[str]:
        """What every query over the rows keeps."""
        gone = [f"gone_{target.index}" for target in self.claimed] if self.has_taken else []
        return ["row_id", "profile_no", "place", *gone]

    def gone(self, target: Target) -> Node | None:
        """The column with the values of a target that another profile owns."""
        return name(f"gone_{target.index}") if self.has_taken and target in self.claimed else None

    @property
    def good(self) -> Node:
        """Rows that no invalid value sets aside."""
        return sql("row_id NOT IN (SELECT row_id FROM bad_row)") if self.rejects_rows and self.has_bad else exp.true()

    def bad_flag(self) -> Node:
        """Whether a row holds something that does not fit and that *link* has not reported."""
        flags = [mapping.is_refused for mapping in self.frame.mappings if not mapping.reported]
        flags += [consent.column_is_refused(self.frame, column) for column in self.goal.consent]
        return any_of(flags)


def first_pass(task: MapTask) -> None:
    """``per_profile``: rows, deciding rows (``w``), sums (``s``), answers (``g``, ``r``); and ``bad_row``."""
    frame, sums = task.frame, task.sums
    history = ["amounts", "special", "moved"] if sums and task.has_history else []
    rows = frame.query(
        task.linked_rows(keep=history),
        [*task.base_columns, *history],
        frame.mappings,
        [column.field for column in task.goal.consent],
        moments=False,
    )
    flags = [named(task.bad_flag(), "bad"), named(_rounded(task), "rounded")]
    aggregates = [
        sql("list(row_id) FILTER (WHERE bad) AS bad_rows"),
        sql("count(*) FILTER (WHERE $good) AS row_count", good=_good(task)),
        sql("sum(rounded) FILTER (WHERE $good) AS rounded", good=_good(task)),
    ]
    for target in frame.targets:
        row, total = _row_parts(task, target, history=bool(history))
        flags += row
        aggregates += total
    for objective in task.objectives:
        flags.append(named(consent.row_answer(frame, objective), f"a{objective.index}"))
        for letter, answer in (("g", "a{}"), ("r", "NOT a{}")):
            condition = sql(answer.format(objective.index))
            aggregates.append(_last(letter + str(objective.index), "max", condition, task))
    flagged = sql("SELECT row_id, profile_no, $flags FROM ($rows)", flags=flags, rows=rows)
    query = sql(
        "SELECT profile_no, $aggregates FROM ($flagged) GROUP BY profile_no", aggregates=aggregates, flagged=flagged
    )
    task.buckets.stage("per_profile", query)
    whole = task.buckets.whole("per_profile")
    task.has_bad = task.tables.make("bad_row", sql("SELECT unnest(bad_rows) AS row_id FROM ($whole)", whole=whole)) > 0


def find_bad(task: MapTask) -> None:
    """``bad_row`` ahead of everything else, for goals in which such a row takes no part."""
    fields = [column.field for column in task.goal.consent]
    rows = task.frame.query(task.linked_rows(), ["row_id"], task.frame.mappings, fields, moments=False)
    query = sql("SELECT row_id FROM ($rows) WHERE $bad", rows=rows, bad=task.bad_flag())
    task.has_bad = task.tables.make("bad_row", query) > 0


def _good(task: MapTask) -> Node:
    return sql("NOT bad") if task.rejects_rows else exp.true()


def _last(column: str, aggregate: str, condition: Node, task: MapTask) -> Node:
    picked = exp.and_(condition, _good(task)) if task.rejects_rows else condition
    return sql(f"{aggregate}(CASE WHEN $picked THEN row_id END) AS {column}", picked=picked)


def _rounded(task: MapTask) -> Node:
    counts = [mapping.reader.rounded(mapping.cell, mapping.column) for mapping in task.frame.mappings]
    return sum_of([count for count in counts if count is not None])


def _row_parts(task: MapTask, target: Target, *, history: bool) -> tuple[list[Node], list[Node]]:
    """Per row, and per profile, what the first pass keeps of a target."""
    index = target.index
    if target.strategy == "add":
        return [], []
    if target.strategy != "sum":
        aggregate = "min" if target.strategy == "set_if_empty" else "max"
        flag = named(target.says(task.gone(target)), f"f{index}")
        return [flag], [_last(f"w{index}", aggregate, sql(f"f{index}"), task)]
    amount = target.amount()
    if history:
        before = previous_amount(target)
        amount = sql(
            "CASE WHEN NOT special AND NOT moved AND $amount IS DISTINCT FROM $before THEN $amount - "
            "coalesce($before, 0) END",
            amount=amount,
            before=before,
        )
    row = [named(amount, f"d{index}")]
    condition = sql(f"d{index} IS NOT NULL")
    total = sql(f"sum(d{index}) FILTER (WHERE $good)::DECIMAL(38, 4) AS s{index}", good=_good(task))
    return row, [_last(f"w{index}", "max", condition, task), total]


def previous_amount(target: Target) -> Node:
    """What the row of *link*'s ``amounts`` had added to a target before."""
    path = text("/" + target.property_id.replace("~", "~0").replace("/", "~1"))
    return sql("TRY_CAST(json_extract_string(amounts, $path) AS DECIMAL(38, 4))", path=path)


def find_blocked(task: MapTask) -> None:
    """``blocked``: profiles that may not be processed; ``winner``: the deciding rows of the others."""
    whole = task.buckets.whole("per_profile")
    stored = sql(
        "SELECT profile_no, permission_level, $lists FROM $profiles",
        lists=[named(stored_list(property_id), column) for property_id, column in ((CONSENTED, "c"), (REFUSED, "r"))],
        profiles=parquet(task.profiles),
    )
    task.has_gate = bool(task.connection.objectives) or bool(
        task.tables.one(
            sql("SELECT count(*) FROM $profiles WHERE permission_level = 0", profiles=parquet(task.profiles))
        )
    )
    after, _ = consent.lists_after(task.objectives, sql("p.c"), sql("p.r"))
    task.tables.make(
        "blocked",
        sql(
            "SELECT w.profile_no, w.row_count FROM ($whole) AS w JOIN ($stored) AS p USING (profile_no) WHERE $blocked",
            whole=whole,
            stored=stored,
            blocked=consent.is_blocked(task.connection.objectives, after, sql("p.permission_level")),
        )
        if task.has_gate
        else sql("SELECT NULL::BIGINT AS profile_no, 0::BIGINT AS row_count WHERE false"),
    )


def second_pass(task: MapTask) -> None:
    """``winning``: the deciding rows with their place and the values (``v``) of the targets they may decide."""
    decided = [f"w{target.index}" for target in task.frame.targets if target.has_winner]
    decided += [f"{letter}{objective.index}" for objective in task.objectives for letter in "gr"]
    if not decided:
        task.buckets.stage(
            "winning",
            sql("SELECT NULL::BIGINT AS profile_no, NULL::BIGINT AS row_id, NULL::BIGINT AS place WHERE false"),
        )
        return
    task.tables.make(
        "winner",
        sql(
            "SELECT DISTINCT row_id FROM (SELECT unnest([$rows]) AS row_id FROM ($whole)) WHERE row_id IS NOT NULL",
            rows=[name(column) for column in decided],
            whole=task.buckets.whole("per_profile"),
        ),
    )
    targets = [target for target in task.frame.targets if target.has_value]
    mappings = [mapping for target in targets for mapping in target.mappings]
    condition = sql("row_id IN (SELECT row_id FROM winner)")
    rows = task.frame.query(task.linked_rows(condition), task.base_columns, mappings)
    values = [named(target.row_value(task.gone(target)), f"v{target.index}") for target in targets]
    task.buckets.stage(
        "winning",
        sql(
            "SELECT $columns FROM ($rows)",
            rows=rows,
            columns=[name("profile_no"), name("row_id"), name("place"), *values],
        ),
    )
    task.tables.drop("winner")


def value_pass(task: MapTask, targets: Sequence[Target]) -> Node:
    """All values of list-like targets: profile_no, target, value, the first row's ``ord`` and place."""
    mappings = [mapping for target in targets for mapping in target.mappings]
    rows = task.frame.query(task.linked_rows(task.good), task.base_columns, mappings)
    lists = [named(target.row_values(task.gone(target)), f"l{target.index}") for target in targets]
    listed = sql("SELECT row_id, profile_no, place, $lists FROM ($rows)", lists=lists, rows=rows)
    parts = [
        sql(
            "SELECT row_id, profile_no, place, $no AS target, unnest($values) AS value, "
            "generate_subscripts($values, 1) AS position FROM listed",
            no=number(target.index),
            values=name(f"l{target.index}"),
        )
        for target in targets
    ]
    union = exp.union(*parts, distinct=False) if len(parts) > 1 else parts[0]
    return sql(
        """
        WITH listed AS ($listed)
        SELECT profile_no, target, value, min(ord) AS ord, arg_min(place, ord) AS place
        FROM (SELECT *, row_id * 1000000 + least(position, 999999) AS ord FROM ($union)) GROUP BY profile_no,
               target, value
        """,
        listed=listed,
        union=union,
    )


def sources_list(task: MapTask) -> Node:
    """The source paths, by file index."""
    return texts(list(task.sources))
