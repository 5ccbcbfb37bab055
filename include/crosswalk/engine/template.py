"""SQL built from parsed text: frames with ``$places``, which names, literals and expressions fill as nodes.

No name or value is ever put into the text of a statement (design D3): a field called ``x"; DROP TABLE y`` is a name
like any other. Parsing is cached, so a frame that serves a hundred mappings is parsed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import sqlglot
from sqlglot import exp

Node = exp.Expr
Part = Node | Sequence[Node]
MAX_CHAIN = 50  # terms that are written one after the other


@cache
def _parsed(text: str) -> Node:
    # The blank keeps the tokenizer from looking past the end for a ``$tag$`` when the text ends in a quote.
    tree = sqlglot.parse_one(f"{text} ", dialect="duckdb")
    for node in tree.walk():
        node._meta = None  # positions in the text, which would be copied with every node
    return tree


def sql(frame: str, /, **parts: Part) -> Node:
    """Parse a frame and fill its places.

    Args:
        frame: SQL with places such as ``$rows``.
        parts: a node for each place; a list of nodes where the place stands in a list (columns, arguments). A node that
            stands nowhere yet becomes part of the result; it may be given again, but must not be changed any more.

    Example:
        >>> sql("SELECT $columns FROM t", columns=[name("a"), name("b")]).sql("duckdb")
        'SELECT "a", "b" FROM t'
    """
    tree: Node = _parsed(frame).copy()
    for place in list(tree.find_all(exp.Placeholder)):
        part = parts[str(place.this)]
        if not isinstance(part, Node):
            _put_list(place, [_free(item) for item in part])
        elif place.parent is None:
            tree = _free(part)
        else:
            place.replace(_grouped(part, place.parent))
    return tree


def _free(part: Node) -> Node:
    """The node itself as long as it has no place yet, else a copy: copying each part at each level would be costly."""
    return part if part.parent is None else part.copy()


def _grouped(part: Node, parent: Node) -> Node:
    """The part, in parentheses where the printed text would otherwise bind differently."""
    loose = isinstance(part, exp.Binary | exp.Unary | exp.Between | exp.In | exp.Case) and not isinstance(
        part, exp.Paren
    )
    binds = isinstance(parent, exp.Binary | exp.Unary | exp.Between | exp.In | exp.Bracket) and not isinstance(
        parent, exp.Paren
    )
    return exp.Paren(this=_free(part)) if loose and binds else _free(part)


def _put_list(place: Node, items: list[Node]) -> None:
    parent, key = place.parent, place.arg_key
    if parent is None or key is None:
        raise TypeError("a list needs a place inside a list")
    if not isinstance(parent.args[key], list):  # the first argument of a function such as coalesce
        parent.set(key, items[0])
        parent.set("expressions", [*items[1:], *(parent.args.get("expressions") or [])])
        return
    siblings = list(parent.args[key])
    index = next(position for position, sibling in enumerate(siblings) if sibling is place)
    parent.set(key, [*siblings[:index], *items, *siblings[index + 1 :]])


def render(node: Node) -> str:
    """The engine's text of a node."""
    return node.sql(dialect="duckdb")


def name(column: str, table: str | None = None) -> Node:
    """A quoted column name."""
    return exp.column(exp.to_identifier(column, quoted=True), table=table)


def text(value: str | Path) -> Node:
    """A text literal."""
    return exp.Literal.string(str(value))


def number(value: int) -> Node:
    """A whole-number literal."""
    return exp.convert(value)


def texts(values: Sequence[str]) -> Node:
    """A list literal of texts."""
    return exp.Array(expressions=[text(value) for value in values])


def named(expression: Node, alias: str) -> Node:
    """An output column."""
    return exp.Alias(this=_free(expression), alias=exp.to_identifier(alias, quoted=True))


def all_of(conditions: Sequence[Node]) -> Node:
    """AND of conditions; true when there are none."""
    return exp.and_(*conditions) if conditions else exp.true()


def any_of(conditions: Sequence[Node]) -> Node:
    """OR of conditions; false when there are none."""
    if len(conditions) <= MAX_CHAIN:
        return exp.or_(*conditions) if conditions else exp.false()
    halves = [any_of(half) for half in _halves(conditions)]
    return sql("($left) OR ($right)", left=halves[0], right=halves[1])


def sum_of(terms: Sequence[Node]) -> Node:
    """The sum of terms; 0 when there are none."""
    if len(terms) <= 1:
        return terms[0] if terms else number(0)
    halves = [sum_of(half) for half in _halves(terms)]
    return sql("$left + $right", left=halves[0], right=halves[1])


def _halves(parts: Sequence[Node]) -> tuple[Sequence[Node], Sequence[Node]]:
    """A tree instead of a chain: some hundred nested operators are too deep for Python and for the engine."""
    middle = len(parts) // 2
    return parts[:middle], parts[middle:]


def call(function: str, *arguments: Node) -> Node:
    """A function call."""
    return exp.func(function, *[_free(argument) for argument in arguments], dialect="duckdb")


def union_all(queries: Sequence[Node]) -> Node:
    """The rows of all queries."""
    return exp.union(*queries, distinct=False, copy=False) if len(queries) > 1 else queries[0]


def cast(expression: Node, kind: str) -> Node:
    """A cast to one of the engine's types."""
    return exp.Cast(this=_free(expression), to=exp.DataType.build(kind, dialect="duckdb"))


def try_cast(expression: Node, kind: str) -> Node:
    """A cast that gives NULL for what does not fit."""
    return exp.TryCast(this=_free(expression), to=exp.DataType.build(kind, dialect="duckdb"))


def parquet(path: Path | Sequence[Path]) -> Node:
    """A table of one or several Parquet files."""
    paths = [path] if isinstance(path, Path) else list(path)
    return sql("read_parquet($paths)", paths=texts([str(item) for item in paths]))
