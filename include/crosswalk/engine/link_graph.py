"""The decision about tuples of identifiers: a pure function of which tuples hold which values and who owns those.

``match: any``, independent of the order of rows:

1. A tuple without a valid value is excluded.
2. A tuple whose values belong to two or more stored profiles is ambiguous and takes no further part.
3. The values of the remaining tuples form a graph: two values are connected when one tuple holds both. A component
   with one owner is that profile; with none, a new one. A component with two or more owners (connected through values
   that nobody owns yet), or with more than 20 such values of one property (strangers glued by a shared value), cannot
   be decided: its tuples that hold a value without owner are set aside; the others belong to the owner of their
   values.

``match: all``: every identifier filled, and all owned by one profile. Tuples that nobody owns make new profiles, one
per set of values; where two sets share a value the first one in the order of rows gets it.
"""

from __future__ import annotations

from sqlglot import exp

from crosswalk.engine.link_task import LinkTask
from crosswalk.engine.tables import Tables
from crosswalk.engine.template import Node, name, number, sql

MAX_STRANGERS = 20


def decide(task: LinkTask) -> None:
    """Make ``decision`` (tuple_no, outcome, reason, detail, owner_no, new_no) and ``new_group`` (new_no, group_row).

    ``owner_no`` and ``new_no`` are NULL unless the outcome is apply.
    """
    tables = task.tables
    tables.make(
        "tuple_facts",
        sql(
            """
            SELECT t.tuple_no, t.first_row, f.* EXCLUDE (tuple_no), coalesce(low <> high, false) AS torn
            FROM tuples AS t SEMI JOIN decided USING (tuple_no) LEFT JOIN (
                SELECT tuple_no, min(owner_no) AS low, max(owner_no) AS high, count(*) AS total, count(owner_no) AS
                       owned,
                       min(value_no) AS first_value, max(value_no) AS last_value, bit_or(1 << identifier) AS filled,
                       bit_or(1 << identifier) FILTER (WHERE owner_no IS NOT NULL) AS owned_identifiers
                FROM edges LEFT JOIN value_owner USING (value_no) GROUP BY tuple_no
            ) AS f USING (tuple_no)
            """
        ),
    )
    create = exp.convert(task.goal.create_profiles)
    if task.goal.match == "any":
        tables.make("verdict", _any_verdicts(create) if _find_components(tables) else _plain_verdicts(create))
    else:
        _share_out_values(tables, len(task.readers), create)
        tables.make("verdict", _all_verdicts(len(task.readers), create))
    tables.make(
        "new_group",
        sql(
            "SELECT new_group, group_row, row_number() OVER (ORDER BY group_row) - 1 AS new_no FROM (SELECT new_group, "
            "min(first_row) AS group_row FROM verdict WHERE new_group IS NOT NULL GROUP BY new_group)"
        ),
    )
    problems = [sql(f"problem_{index}") for index in range(len(task.readers))]
    tables.make(
        "decision",
        sql(
            """
            SELECT tuple_no, outcome, reason, detail, owner_no, new_no
            FROM verdict LEFT JOIN new_group USING (new_group)
            UNION ALL BY NAME
            SELECT tuple_no, 'quarantined' AS outcome, coalesce($problems) AS reason
            FROM tuple_reads SEMI JOIN hot USING (tuple_no) ANTI JOIN decided USING (tuple_no)
            """,
            problems=problems,
        ),
    )


# -- match: any --------------------------------------------------------------------------------------------------------


def _plain_verdicts(create: Node) -> Node:
    """Verdicts where no tuple holds two values: each value is for itself."""
    return sql(
        """
        SELECT tuple_no, first_row, low AS owner_no, NULL::VARCHAR AS detail,
               CASE WHEN low IS NULL AND $create THEN first_value END AS new_group,
               CASE WHEN total > 0 AND (low IS NOT NULL OR $create) THEN 'apply' ELSE 'excluded' END AS outcome,
               CASE WHEN total IS NULL THEN 'no_identifier' WHEN low IS NULL AND NOT $create THEN 'no_match' END AS
                      reason
        FROM tuple_facts
        """,
        create=create,
    )


def _find_components(tables: Tables) -> bool:
    """``component`` (value to component), ``component_facts``, ``glued``; False where no tuple holds two values."""
    if not tables.one("SELECT count(*) FROM tuple_facts WHERE first_value <> last_value"):
        return False
    tables.make(
        "sound_edges",
        sql(
            "SELECT DISTINCT tuple_no, value_no FROM edges SEMI JOIN (FROM tuple_facts WHERE NOT torn) AS f USING "
            "(tuple_no)"
        ),
    )
    tables.make(
        "pairs",
        sql(
            "SELECT DISTINCT f.first_value AS a, e.value_no AS b FROM sound_edges AS e JOIN tuple_facts AS f USING "
            "(tuple_no) "
            "WHERE f.first_value <> e.value_no"
        ),
    )
    tables.make("component", sql("SELECT a AS value_no, a AS component FROM pairs UNION SELECT b, b FROM pairs"))
    connect(tables)
    tables.make(
        "component_facts",
        sql(
            """
            SELECT component, min(owner_no) AS component_low,
                   CASE WHEN min(owner_no) <> max(owner_no) THEN 'ambiguous_match' END AS bad
            FROM component JOIN value_owner USING (value_no) GROUP BY component
            """
        ),
    )
    tables.make("glued", _glued())
    return True


def connect(tables: Tables) -> None:
    """``component`` (value_no to component): which nodes hang together through ``pairs``, which are used up."""
    while tables.count("pairs"):
        _contract(tables)


def _contract(tables: Tables) -> None:
    """One round.

    Each node takes its smallest neighbour, chains are followed to their end, the graph shrinks to the roots.
    """
    tables.make(
        "hook",
        sql(
            "SELECT node, least(node, min(other)) AS root FROM (SELECT a AS node, b AS other FROM pairs "
            "UNION ALL SELECT b, a FROM pairs) GROUP BY node"
        ),
    )
    while tables.one("SELECT count(*) FROM hook AS h JOIN hook AS up ON h.root = up.node WHERE up.root <> h.root"):
        tables.make("hook", sql("SELECT h.node, up.root FROM hook AS h JOIN hook AS up ON h.root = up.node"))
    tables.make(
        "component",
        sql(
            "SELECT c.value_no, coalesce(h.root, c.component) AS component FROM component AS c LEFT JOIN hook AS h "
            "ON h.node = c.component"
        ),
    )
    tables.make(
        "pairs",
        sql(
            "SELECT DISTINCT x.root AS a, y.root AS b FROM pairs JOIN hook AS x ON x.node = a JOIN hook AS y ON "
            "y.node = b "
            "WHERE x.root <> y.root"
        ),
    )


def _glued() -> Node:
    """Components in which a shared value holds together too many values of a property, more than one tuple lists."""
    return sql(
        """
        SELECT DISTINCT component FROM (
            SELECT component, property_no, count(*) FILTER (WHERE owner_no IS NULL) AS strangers
            FROM component JOIN link_value USING (value_no) LEFT JOIN value_owner USING (value_no)
            GROUP BY component, property_no HAVING strangers > $limit
        ) JOIN (
            SELECT component, property_no, max(size) AS largest FROM (
                SELECT tuple_no, component, property_no, count(*) AS size
                FROM sound_edges JOIN component USING (value_no) JOIN link_value USING (value_no)
                GROUP BY tuple_no, component, property_no
            ) GROUP BY component, property_no
        ) USING (component, property_no) WHERE strangers > largest
        """,
        limit=number(MAX_STRANGERS),
    )


def _any_verdicts(create: Node) -> Node:
    return sql(
        """
        SELECT tuple_no, first_row, new_group, owner_no,
               CASE WHEN problem = 'no_identifier' THEN 'excluded' WHEN problem IS NOT NULL THEN 'quarantined'
                    WHEN owner_no IS NULL AND new_group IS NULL THEN 'excluded' ELSE 'apply' END AS outcome,
               coalesce(problem, CASE WHEN owner_no IS NULL AND new_group IS NULL THEN 'no_match' END) AS reason,
               CASE problem WHEN 'ambiguous_match' THEN coalesce(t.names, c.names) END AS detail
        FROM (
            SELECT *, CASE WHEN problem IS NULL THEN coalesce(low, component_low) END AS owner_no,
                   CASE WHEN problem IS NULL AND low IS NULL AND component_low IS NULL AND $create
                        THEN component END AS new_group
            FROM (
                SELECT f.*, component_low,
                       CASE WHEN total IS NULL THEN 'no_identifier' WHEN torn THEN 'ambiguous_match'
                            WHEN owned = total THEN NULL WHEN bad IS NOT NULL THEN bad
                            WHEN g.component IS NOT NULL THEN 'shared_identifier' END AS problem
                FROM (SELECT x.*, coalesce(c.component, x.first_value) AS component
                      FROM tuple_facts AS x LEFT JOIN component AS c ON c.value_no = x.first_value) AS f
                LEFT JOIN component_facts USING (component) LEFT JOIN glued AS g USING (component)
            )
        ) LEFT JOIN ($torn) AS t USING (tuple_no) LEFT JOIN ($bad) AS c USING (component)
        """,
        create=create,
        torn=_names(
            "tuple_no",
            sql(
                "SELECT tuple_no, value_no FROM edges SEMI JOIN (SELECT tuple_no FROM tuple_facts WHERE torn) AS x "
                "USING (tuple_no)"
            ),
        ),
        bad=_names(
            "component",
            sql(
                "SELECT component, value_no FROM component SEMI JOIN (SELECT component FROM component_facts WHERE "
                "bad IS NOT NULL) AS x USING (component)"
            ),
        ),
    )


def _names(key: str, values: Node) -> Node:
    """The profile ids that own the values of each tuple or component, as text."""
    return sql(
        "SELECT $key, string_agg(DISTINCT profile_id, ', ' ORDER BY profile_id) AS names FROM ($values) "
        "JOIN value_owner USING (value_no) JOIN owner USING (owner_no) GROUP BY $key",
        key=name(key),
        values=values,
    )


# -- match: all --------------------------------------------------------------------------------------------------------


def _share_out_values(tables: Tables, identifiers: int, create: Node) -> None:
    """``tuple_set`` (new tuples by their set of values) and ``accepted``: the sets that get their values.

    In the order of rows a set is accepted when no set accepted before it holds one of its values. Each round accepts
    the sets that come first for all their values and drops those that lost one, so few rounds are needed.
    """
    complete = number((1 << identifiers) - 1)
    fresh = sql("filled = $all AND NOT torn AND owned = 0 AND $create", all=complete, create=create)
    tables.make(
        "tuple_members",
        sql(
            "SELECT tuple_no, first_row, list(DISTINCT value_no ORDER BY value_no) AS members FROM edges "
            "JOIN (SELECT tuple_no, first_row FROM tuple_facts WHERE $fresh) AS f USING (tuple_no) GROUP BY "
            "tuple_no, first_row",
            fresh=fresh,
        ),
    )
    tables.make("open_set", sql("SELECT min(first_row) AS set_row, members FROM tuple_members GROUP BY members"))
    tables.make("tuple_set", sql("SELECT tuple_no, set_row FROM tuple_members JOIN open_set USING (members)"))
    tables.make("open_value", sql("SELECT set_row, unnest(members) AS value_no FROM open_set"))
    tables.make("accepted", sql("SELECT set_row FROM open_set WHERE false"))
    while tables.count("open_value"):
        tables.make(
            "winner",
            sql(
                "SELECT set_row FROM open_value JOIN (SELECT value_no, min(set_row) AS first_set FROM open_value "
                "GROUP BY value_no) "
                "AS v USING (value_no) GROUP BY set_row HAVING bool_and(set_row = first_set)"
            ),
        )
        tables.make("accepted", sql("SELECT set_row FROM accepted UNION ALL SELECT set_row FROM winner"))
        tables.make(
            "open_value",
            sql(
                "SELECT o.* FROM open_value AS o ANTI JOIN (SELECT set_row FROM open_value SEMI JOIN "
                "(SELECT value_no FROM open_value SEMI JOIN winner USING (set_row)) AS taken USING (value_no)) AS "
                "gone USING (set_row)"
            ),
        )


def _all_verdicts(identifiers: int, create: Node) -> Node:
    return sql(
        """
        SELECT tuple_no, first_row,
               CASE WHEN reason IS NULL THEN 'apply' WHEN reason = 'no_identifier' OR reason = 'no_match' THEN
                      'excluded'
                    ELSE 'quarantined' END AS outcome,
               reason, CASE WHEN reason = 'ambiguous_match' THEN names END AS detail,
               CASE WHEN reason IS NULL THEN low END AS owner_no,
               CASE WHEN reason IS NULL AND low IS NULL THEN set_row END AS new_group
        FROM (
            SELECT f.*, s.set_row, t.names,
                   CASE WHEN filled IS DISTINCT FROM $all THEN 'no_identifier' WHEN torn THEN 'ambiguous_match'
                        WHEN owned_identifiers = $all THEN NULL WHEN owned > 0 THEN 'identifier_taken'
                        WHEN NOT $create THEN 'no_match' WHEN a.set_row IS NULL THEN 'identifier_taken' END AS reason
            FROM tuple_facts AS f LEFT JOIN tuple_set AS s USING (tuple_no) LEFT JOIN accepted AS a USING (set_row)
            LEFT JOIN ($torn) AS t USING (tuple_no)
        )
        """,
        all=number((1 << identifiers) - 1),
        create=create,
        torn=_names(
            "tuple_no",
            sql(
                "SELECT tuple_no, value_no FROM edges SEMI JOIN (SELECT tuple_no FROM tuple_facts WHERE torn) AS x "
                "USING (tuple_no)"
            ),
        ),
    )
