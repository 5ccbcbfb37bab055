"""Shapes of queries that several steps build: a query over a query, columns by place, changes of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from sqlglot import exp

from crosswalk.engine.functions import clean
from crosswalk.engine.template import Node, Part, sql, texts


def select(frame: str, **parts: Part) -> exp.Select:
    """A frame that is a SELECT."""
    tree = sql(frame, **parts)
    if not isinstance(tree, exp.Select):
        raise TypeError(f"not a SELECT: {frame}")
    return tree


def over(frame: str, inner: exp.Query, *cells: Node, **parts: Part) -> exp.Select:
    """A SELECT over another query, which takes the place (and the name) of its table; cells are added to its columns.

    The query that is given belongs to the new one afterwards.

    Example:
        >>> over("SELECT count(*) AS n FROM q", exp.select("x").from_("t")).sql("duckdb")
        'SELECT COUNT(*) AS n FROM (SELECT x FROM t) AS q'
    """
    outer = select(frame, **parts)
    table = outer.find(exp.Table)
    if table is None:
        raise TypeError(f"no table: {frame}")
    return outer.from_(inner.subquery(table.name, copy=False), copy=False).select(*cells, copy=False)


def parquet_columns(paths: Iterable[str], alias: str, columns: Iterable[str]) -> exp.Table:
    """``read_parquet([...]) AS alias(columns)``: columns by their place, whatever they are called in the file."""
    table = cast(exp.Table, select("SELECT * FROM read_parquet($paths)", paths=texts(list(paths))).find(exp.Table))
    names = [exp.to_identifier(column, quoted=True) for column in columns]
    table.set("alias", exp.TableAlias(this=exp.to_identifier(alias), columns=names))
    return table


def each(value: Node, change: Callable[[Node], Node], *, is_list: bool) -> Node:
    """Apply a change to a value, or to every element of a list; absent stays absent."""
    if not is_list:
        return sql("CASE WHEN $value IS NOT NULL THEN $changed END", value=value, changed=change(value))
    changed = each(exp.column("element"), change, is_list=False)
    return sql("list_transform($value, lambda element: $changed)", value=value, changed=changed)


def link_key(value: Node) -> Node:
    """A link value as it is compared: trimmed text, NULL when empty."""
    return sql("nullif($value, '')", value=clean(value))
