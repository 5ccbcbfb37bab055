r"""Several values in one cell: how they are joined on the way out and split on the way in.

A separator inside a value gets a backslash; backslashes right before a separator are doubled, so that what is joined
splits into the same values again. Elsewhere a backslash is a character like any other: ``C:\in`` stays as it is.
"""

from __future__ import annotations

from crosswalk.engine.functions import clean
from crosswalk.engine.template import Node, sql, text

_SLASHES = "length({item}) - length(rtrim({item}, '\\'))"


def may_need_escapes(document: Node, separator: str) -> Node:
    """Whether a value of a document may need a backslash: a look at its JSON text, which costs next to nothing."""
    return sql(
        "contains($document, $separator) OR contains($document, '\\')", document=document, separator=text(separator)
    )


def join_values(values: Node, separator: str, doubtful: Node | None = None) -> Node:
    """One text of all values; NULL when there is none.

    Args:
        values: a list.
        separator: stands between them.
        doubtful: a column that holds ``may_need_escapes`` of the document that the values stand in, as they are.
    """
    if doubtful is not None:
        return sql(
            "CASE WHEN $doubtful THEN $joined WHEN len($values) < 2 THEN $values[1] "
            "ELSE array_to_string($values, $separator) END",
            doubtful=doubtful,
            joined=join_values(values, separator),
            values=values,
            separator=text(separator),
        )
    escaped = sql(
        "CASE WHEN contains(item, $separator) THEN regexp_replace(item, $pattern, $replacement, 'g') ELSE item END",
        separator=text(separator),
        pattern=text(r"(\\*)" + literal_pattern(separator)),
        replacement=text(r"\1\1\\" + separator.replace("\\", r"\\")),
    )
    several = sql(
        "list_transform($values, LAMBDA item, position : CASE WHEN position < len($values) "
        f"THEN concat($escaped, repeat('\\', {_SLASHES.format(item='item')})) ELSE $escaped END)",
        values=values,
        escaped=escaped,
    )
    return sql(
        "CASE len($values) WHEN 0 THEN NULL WHEN 1 THEN list_transform($values, LAMBDA item : $escaped)[1] "
        "ELSE array_to_string($several, $separator) END",
        values=values,
        escaped=escaped,
        several=several,
        separator=text(separator),
    )


def literal_pattern(characters: str) -> str:
    """An RE2 pattern that matches exactly these characters."""
    return "".join(f"\\x{{{ord(character):x}}}" for character in characters)


def split_values(cell: Node, separator: str) -> Node:
    """A clean cell's parts: trimmed, without empty ones; [] for an empty cell, NULL stays NULL.

    A separator that is a backslash itself cannot be escaped by one.
    """
    if "\\" in separator:
        return _cleaned(sql("string_split($cell, $separator)", cell=cell, separator=text(separator)))
    parts = sql(
        "CASE WHEN contains($cell, $escaped) THEN $joined ELSE string_split($cell, $separator) END",
        cell=cell,
        escaped=text(f"\\{separator}"),
        joined=_rejoined(cell, separator),
        separator=text(separator),
    )
    return _cleaned(parts)


def _cleaned(parts: Node) -> Node:
    return sql(
        "list_filter(list_transform($parts, LAMBDA part : $clean), LAMBDA part : part <> '')",
        parts=parts,
        clean=clean(sql("part")),
    )


def _rejoined(cell: Node, separator: str) -> Node:
    """The parts between separators, put together again where an odd number of backslashes escapes the separator."""
    slashes = _SLASHES.format(item="done[-1]")
    last = f"concat(rtrim(done[-1], '\\'), repeat('\\', ({slashes}) // 2))"
    return sql(
        "list_reduce(list_transform(string_split($cell, $separator), LAMBDA part : [part]), LAMBDA done, more : "
        f"CASE WHEN ({slashes}) % 2 = 1 THEN list_append(done[:-2], concat({last}, $separator, more[1])) "
        f"ELSE list_concat(list_append(done[:-2], {last}), more) END)",
        cell=cell,
        separator=text(separator),
    )
