"""SQL frames: queries written as text and parsed once, with names, literals and expressions put in as nodes.

Nothing from a file or a connection ever becomes part of a query's text by formatting, so a column called
``"; DROP TABLE x; --`` is a column called that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import sqlglot
from sqlglot import exp

Node = exp.Expr
# What counts as blank around a value: ASCII white space and the no-break space that spreadsheets leave behind.
BLANKS = " \t\r\n\v\f\u00a0"


@lru_cache(maxsize=512)
def _parsed(text: str) -> Node:
    return sqlglot.parse_one(text, dialect="duckdb")


def frame(text: str, **nodes: Node | str | float) -> Node:
    """Parse a frame and fill its ``:name`` places; text and numbers become literals.

    Example:
        >>> frame("lower(:value)", value=column("orders.e-mail")).sql("duckdb")
        'LOWER("orders.e-mail")'
    """
    filled = {key: value if isinstance(value, Node) else literal_node(value) for key, value in nodes.items()}
    tree = _parsed(text).copy()
    places = [place for place in tree.find_all(exp.Placeholder) if place.name in filled]
    for place in places:
        node = _enclosed(filled[place.name].copy())
        if place is tree:
            return node
        place.replace(node)
    return tree


def _enclosed(node: Node) -> Node:
    """In parentheses where the node is an operation, so that it means the same inside another one."""
    operation = isinstance(node, exp.Binary | exp.Unary | exp.Predicate)
    return exp.Paren(this=node) if operation and not isinstance(node, exp.Paren | exp.Dot) else node


def query(text: str, **nodes: Node | str | float) -> exp.Select:
    """A frame that is a SELECT."""
    tree = frame(text, **nodes)
    if not isinstance(tree, exp.Select):
        raise TypeError(f"not a SELECT: {text}")
    return tree


def literal_node(value: str | float) -> Node:
    """A literal of a text, a number or a truth value."""
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    return exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column name."""
    return exp.column(exp.to_identifier(name, quoted=True), table=table)


def named(node: Node, name: str) -> Node:
    """``node AS "name"``."""
    return exp.alias_(node.copy(), exp.to_identifier(name, quoted=True))


def listed(nodes: Iterable[Node | str | float]) -> exp.Array:
    """A list ``[a, b]``."""
    return exp.Array(expressions=[node if isinstance(node, Node) else literal_node(node) for node in nodes])


def all_of(conditions: Iterable[Node]) -> Node:
    """All conditions joined with AND."""
    return exp.and_(*conditions, dialect="duckdb")


def scan_parquet(paths: Iterable[str], alias: str, columns: Iterable[str]) -> exp.Table:
    """``read_parquet([...]) AS alias(columns)``: columns by their place, whatever they are called in the file."""
    table = query("SELECT * FROM read_parquet(:paths) AS t(c)", paths=listed(paths)).find(exp.Table)
    if table is None:
        raise TypeError("the frame holds no table")
    names = [exp.to_identifier(name, quoted=True) for name in columns]
    table.set("alias", exp.TableAlias(this=exp.to_identifier(alias), columns=names))
    return table


def each(value: Node, change: Callable[[Node], Node], *, is_list: bool) -> Node:
    """Apply a change to a value, or to every element of a list; absent stays absent."""
    if not is_list:
        return frame("CASE WHEN :value IS NOT NULL THEN :changed END", value=value, changed=change(value))
    element = exp.column("element")
    changed = frame("CASE WHEN element IS NOT NULL THEN :changed END", changed=change(element))
    return frame("list_transform(:value, lambda element: :changed)", value=value, changed=changed)


def trimmed(value: Node) -> Node:
    """A text without the blanks around it; the search first makes the usual case (no blanks at all) cheap."""
    seen = " OR ".join(f"contains(:value, :b{number})" for number in range(len(BLANKS)))
    blanks = {f"b{number}": blank for number, blank in enumerate(BLANKS)}
    return frame(f"CASE WHEN {seen} THEN trim(:value, :blanks) ELSE :value END", value=value, blanks=BLANKS, **blanks)


def link_key(value: Node) -> Node:
    """A link value as it is compared: trimmed text, NULL when empty."""
    return frame("nullif(:value, '')", value=trimmed(value))


def to_sql(node: Node) -> str:
    """The text that the engine runs."""
    return node.sql(dialect="duckdb")
