"""The queries of the chained join, as nodes: how a block is read, made unique, chained and gathered into lists.

Inside the queries everything has a name of ours: blocks ``b0``, ``b1``; columns ``c0``; link keys ``k0``; lists ``l0``;
``pos`` is a record's place in its block (oldest file first), ``src`` its source. Names from files appear only as the
names of the columns that are written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sqlglot import exp

from crosswalk.engine.join_plan import Block, JoinPlan, Link, Source
from crosswalk.engine.queries import link_key, over, parquet_columns, select
from crosswalk.engine.template import Node, all_of, call, named, number, sql


@dataclass
class Facts:
    """What is known of a block before it is joined.

    Attributes:
        starts: for each source path the number of records before it.
        rows: records in all sources.
        linked: records with a link value.
        repeats: records that repeat a link value (of a block that must be unique).
        most: the most records of one link value.
        heavy: records of link values that occur too often and that no row looks for; they are left out.
        gathered: Parquet files with one row per link value and the lists (nested blocks).
    """

    starts: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    linked: int = 0
    repeats: int = 0
    most: int = 0
    heavy: int = 0
    gathered: list[Path] = field(default_factory=list)


class JoinSql:
    """Builds the queries of one join."""

    def __init__(self, plan: JoinPlan, facts: dict[str, Facts], max_rows_per_match: int) -> None:
        self.plan = plan
        self.facts = facts
        self.max_rows_per_match = max_rows_per_match

    # -- one block ------------------------------------------------------------------------------------------------
    def records(self, block: Block) -> exp.Query:
        """All records of a block: pos, src, line, c0.., whatever the headers of its files look like."""
        groups: dict[tuple[str, ...], list[Source]] = {}
        for source in block.sources:
            groups.setdefault(tuple(source.columns), []).append(source)
        parts: list[exp.Query] = [self._records_alike(block, list(header), alike) for header, alike in groups.items()]
        whole = parts[0]
        for part in parts[1:]:
            whole = exp.union(whole, part, distinct=False, copy=False)
        return whole

    def _records_alike(self, block: Block, header: list[str], sources: list[Source]) -> exp.Select:
        starts = self.facts[block.name].starts
        paths = [str(source.path) for source in sources]
        place = {name: n for n, name in reversed(list(enumerate(header)))}
        cells = [
            named(_col(f"x{place[name]}", "t"), f"c{n}")
            if name in place
            else named(exp.cast(exp.Null(), "VARCHAR"), f"c{n}")
            for n, name in enumerate(block.columns)
        ]
        place_of_file = sql("CAST(t.file_index AS BIGINT) + 1")
        records = select(
            "SELECT list_extract($starts, $file) + CAST(t.file_row_number AS BIGINT) + 1 AS pos, "
            "CAST(list_extract($indexes, $file) AS INTEGER) AS src, CAST(t.line AS BIGINT) AS line FROM t",
            starts=_numbers(starts[path] for path in paths),
            indexes=_numbers(source.index for source in sources),
            file=place_of_file,
        )
        table = parquet_columns(paths, "t", ["record", "line", *(f"x{n}" for n in range(len(header)))])
        return records.from_(table, copy=False).select(*cells, copy=False)

    def keyed(self, block: Block) -> exp.Select:
        """Records that have a link value, with their link keys k0.. beside the columns."""
        keys = [
            named(link_key(_col(f"c{block.columns.index(link.column)}")), f"k{n}") for n, link in enumerate(block.links)
        ]
        inner = over("SELECT * FROM r", self.records(block), *keys)
        filled = [exp.column(f"k{n}", table="q").is_(exp.Null()).not_() for n in range(len(keys))]
        whole = over("SELECT * FROM q", inner)
        return whole.where(*filled, copy=False) if filled else whole

    def groups(self, block: Block, keep: Node | None = None) -> exp.Select:
        """One row per link value: k0.., n, first, last (places of its records)."""
        text = "SELECT count(*) AS n, min(pos) AS first_pos, max(pos) AS last_pos FROM q"
        chosen = over(text, self.keyed(block), *_keys(block)).group_by(*_keys(block), copy=False)
        return chosen.having(keep, copy=False) if keep is not None else chosen

    def heavy(self, block: Block) -> exp.Select:
        """Link values with more records than one match may have."""
        return self.groups(block, sql("count(*) > $most", most=number(self.max_rows_per_match)))

    def relation(self, block: Block) -> exp.Query:
        """The records as they take part in the join; unique on the link unless the block is nested."""
        facts = self.facts[block.name]
        if not block.links:
            return self.records(block)
        keyed = self.keyed(block)
        if not block.is_nested and facts.repeats:
            place = "last_pos" if block.file.duplicates == "last" else "first_pos"
            places = over("SELECT FROM g", self.groups(block), exp.column(place))
            return keyed.where(exp.In(this=exp.column("pos"), query=places.subquery(copy=False)), copy=False)
        if facts.heavy:
            same = [exp.column(f"k{n}", table="h").eq(exp.column(f"k{n}", table="q")) for n in range(len(block.links))]
            heavy = over("SELECT 1 FROM h", self.heavy(block)).where(*same, copy=False)
            return keyed.where(exp.Exists(this=heavy).not_(copy=False), copy=False)
        return keyed

    def second_record(self, block: Block) -> exp.Select:
        """Source and line of the first record that repeats a link value."""
        keys = exp.Tuple(expressions=_keys(block))
        rank = sql("row_number() OVER (PARTITION BY $keys ORDER BY pos)", keys=keys)
        numbered = over("SELECT src, line, pos FROM q", self.keyed(block), named(rank, "rank"))
        return over("SELECT src, line FROM n WHERE rank = 2 ORDER BY pos LIMIT 1", numbered)

    # -- the chain ------------------------------------------------------------------------------------------------
    def chain(self, host: str | None, leaves: list[Block]) -> exp.Select:
        """The root of one grain LEFT JOINed to what these blocks hang off, and to the blocks themselves.

        The root is the primary block, or the nested block ``host``; the SELECT has no columns yet.
        """
        root = self.plan.block(host) if host else self.plan.blocks[0]
        wanted = {root.name}
        for leaf in leaves:
            wanted |= self._with_ancestors(leaf, root)
        chain = _from(self.relation(root), root)
        for block in self.plan.blocks:
            if block.name in wanted and block is not root:
                side = self.gathered(block) if block.is_nested else self.relation(block)
                table = side.subquery(alias(block), copy=False)
                chain = chain.join(table, on=self._matches(block), join_type="left", copy=False)
        return chain

    def _with_ancestors(self, block: Block, root: Block) -> set[str]:
        found = {block.name}
        if block is not root:
            for link in block.links:
                found |= self._with_ancestors(self.plan.block(link.target), root)
        return found

    def _matches(self, block: Block) -> Node:
        pairs = enumerate(block.links)
        return all_of([_col(f"k{n}", alias(block)).eq(self.target_key(link)) for n, link in pairs])

    def target_key(self, link: Link) -> Node:
        """The link value on the side of the earlier block."""
        target = self.plan.block(link.target)
        return link_key(_col(f"c{target.columns.index(link.target_column)}", alias(target)))

    def hangs_off_root(self, block: Block) -> bool:
        """Whether every row of the grain is a record of the block that this one is linked to, or chained here."""
        targets = {link.target for link in block.links}
        return len(targets) > 1 or targets == {self._root(block).name}

    def _root(self, block: Block) -> Block:
        return self.plan.blocks[0] if block.is_nested or block.host is None else self.plan.block(block.host)

    def values_asked(self, block: Block, *, by_rows: bool) -> exp.Select:
        """The values that a block's link looks for, as t0.. (and here = 1).

        Args:
            block: the linked block.
            by_rows: once for each row of the grain, through the whole chain; else once for each record of the file
                it is linked to, which is cheaper and the same where that file is the root of the grain.
        """
        targets = list({link.target: self.plan.block(link.target) for link in block.links}.values())
        if by_rows or len(targets) > 1:
            root = self._root(block)
            source = self.chain(None if root.position == 0 else root.name, targets)
        else:
            source = _from(self.relation(targets[0]), targets[0])
        keys = [named(self.target_key(link), f"t{n}") for n, link in enumerate(block.links)]
        return source.select(named(number(1), "here"), *keys, copy=False)

    def balance(self, block: Block, *, by_rows: bool) -> exp.Select:
        """One row: values asked without a match, records that nobody asks for, records over all matches."""
        same = [_col(f"t{n}", "p").eq(_col(f"k{n}", "g")) for n in range(len(block.links))]
        text = (
            "SELECT count(*) FILTER (WHERE g.n IS NULL), coalesce(sum(g.n) FILTER (WHERE p.here IS NULL), 0), "
            "coalesce(sum(g.n) FILTER (WHERE p.here IS NOT NULL), 0) FROM p"
        )
        text_of_records = "SELECT count(*) AS n FROM q" if block.is_nested else "SELECT 1 AS n FROM q"
        records = over(text_of_records, self.relation(block), *_keys(block))
        if block.is_nested:
            records = records.group_by(*_keys(block), copy=False)
        balance = over(text, self.values_asked(block, by_rows=by_rows))
        return balance.join(records.subquery("g", copy=False), on=all_of(same), join_type="full", copy=False)

    def heaviest_used(self, block: Block) -> exp.Select:
        """The largest number of records of a link value that is too frequent and that some row looks for."""
        same = [_col(f"t{n}", "p").eq(_col(f"k{n}", "h")) for n in range(len(block.links))]
        used = over("SELECT 1 FROM p", self.values_asked(block, by_rows=True)).where(*same, copy=False)
        return over("SELECT max(h.n) FROM h", self.heavy(block)).where(exp.Exists(this=used), copy=False)

    # -- lists ----------------------------------------------------------------------------------------------------
    def list_columns(self, host: Block) -> list[tuple[Block, str]]:
        """The columns whose values a nested block's lists hold, in the order of l0, l1, ..."""
        return [(block, column) for block in self.plan.inside(host.name) for column in block.outputs]

    def gather(self, host: Block, bucket: int, buckets: int) -> exp.Select:
        """One row per link value of a nested block: k0.., l0.. in order of file and record (one bucket of them)."""
        columns = self.list_columns(host)
        blocks = list({id(block): block for block, _ in columns}.values())
        chain = self.chain(host.name, [block for block in blocks if block is not host])
        pairs = [exp.PropertyEQ(this=exp.to_identifier("p"), expression=_col("pos", alias(host)))]
        for n, (block, column) in enumerate(columns):
            value = _col(f"c{block.columns.index(column)}", alias(block))
            pairs.append(exp.PropertyEQ(this=exp.to_identifier(f"v{n}"), expression=value))
        keys = _keys(host, alias(host))
        group = sql("list_sort(list($record))", record=exp.Struct(expressions=pairs))
        inner = chain.select(*keys, named(group, "items")).group_by(*keys, copy=False)
        if buckets > 1:
            share = call("hash", *_keys(host, alias(host)))
            condition = sql("$share % $buckets = $bucket", share=share, buckets=number(buckets), bucket=number(bucket))
            inner = inner.where(condition, copy=False)
        lists = [named(sql(f"list_transform(items, lambda item: item.v{n})"), f"l{n}") for n in range(len(columns))]
        return over("SELECT FROM g", inner, *_keys(host), *lists)

    def gathered(self, host: Block) -> exp.Select:
        """What ``gather`` wrote."""
        names = [f"k{n}" for n in range(len(host.links))] + [f"l{n}" for n in range(len(self.list_columns(host)))]
        paths = [str(path) for path in self.facts[host.name].gathered]
        return select("SELECT * FROM t").from_(parquet_columns(paths, "t", names), copy=False)

    # -- the result -----------------------------------------------------------------------------------------------
    def rows(self) -> exp.Select:
        """The joined rows: row_id, file_index, line and the fields."""
        cells, leaves = [], []
        for block, column in self.plan.fields:
            if block.host is None:
                leaves.append(block)
                value = _col(f"c{block.columns.index(column)}", alias(block))
            else:
                host = self.plan.block(block.host)
                leaves.append(host)
                n = self.list_columns(host).index((block, column))
                value = _col(f"l{n}", alias(host))
            cells.append(named(value, f"{block.name}.{column}"))
        root = alias(self.plan.blocks[0])
        keys = [
            named(exp.cast(_col("pos", root), "BIGINT"), "row_id"),
            named(_col("src", root), "file_index"),
            named(_col("line", root), "line"),
        ]
        return self.chain(None, leaves).select(*keys, *cells, copy=False)


def alias(block: Block) -> str:
    """The block's name inside the queries."""
    return f"b{block.position}"


def _col(name: str, table: str | None = None) -> exp.Column:
    return exp.column(name, table=table)


def _from(records: exp.Query, block: Block) -> exp.Select:
    return exp.select().from_(records.subquery(alias(block), copy=False), copy=False)


def _numbers(values: Iterable[int]) -> Node:
    return exp.Array(expressions=[number(value) for value in values])


def _keys(block: Block, table: str | None = None) -> list[Node]:
    return [_col(f"k{n}", table) for n in range(len(block.links))]
