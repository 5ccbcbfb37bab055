"""Which stored profiles a run's rows make one: a pure function of the rows' identifiers, the profiles and the rules.

A row is linked to the owner of its first identifier that has one: its *lead*. The row's other values are written to
that profile, so where another profile owns one of them, or the row of another lead brings the same value, the two meet.
They are one when a merge rule names the property of that value and its conditions hold for both as they are stored.

- A row that names several profiles counts only when its lead merges with every one of them; else it stays ambiguous and
  proves nothing.
- What merges is settled transitively. Where a row says that two profiles of such a group are different (it names both,
  and no rule lets them merge), nobody of the group merges.
- Guard rails: values shorter than 4 characters and blocked values are ignored; a value at which more than 20 profiles
  meet merges nobody; of a profile and rule at most 24 look-ups are made; a profile takes part in at most 1,000 merges.
- The profile that was created last lives on; of two created at once the one with the larger id.

The order of rows plays no part. Afterwards the values of all merged profiles belong to the living one, so that
``link_graph.py`` decides as if it had always owned them.
"""

from __future__ import annotations

from crosswalk.config.tenant import MergeRule, Tenant
from crosswalk.engine.link_graph import connect
from crosswalk.engine.link_task import LinkTask
from crosswalk.engine.profile_values import stored_list
from crosswalk.engine.template import Node, all_of, named, number, sql, text, texts, union_all

MIN_LENGTH = 4
MAX_LOOK_UPS = 24
MAX_MATCHES = 20
MAX_MERGES = 1_000


def merge_owners(task: LinkTask) -> int:
    """Make ``merge_member`` (owner_no, living_no) and hand all values to the living profiles.

    Returns:
        How many profiles become part of another one.
    """
    rules = [rule for rule in task.tenant.merge_rules if rule.identifier in task.properties]
    if task.read_merging is None or not rules or task.goal.match != "any" or not _find_meetings(task, rules):
        return 0
    tables = task.tables
    ids = tables.stream("SELECT profile_id FROM owner SEMI JOIN met USING (owner_no) ORDER BY profile_id")
    tables.take_in("merging", task.read_merging(ids), "*")
    _accept(task, rules)
    _find_groups(task)
    merged = tables.make(
        "merge_member",
        "SELECT owner_no, first_value(owner_no) OVER (PARTITION BY component "
        "ORDER BY created_at DESC, profile_id DESC) AS living_no FROM merge_group",
    )
    if merged:
        tables.make(
            "value_owner",
            "SELECT value_no, coalesce(living_no, owner_no) AS owner_no FROM value_owner "
            "LEFT JOIN merge_member USING (owner_no)",
        )
    return int(tables.one("SELECT count(*) FROM merge_member WHERE owner_no <> living_no"))


def _find_meetings(task: LinkTask, rules: list[MergeRule]) -> int:
    """``claim``: values that a row brings and its lead does not own; ``met``: the profiles that meet at one."""
    tables = task.tables
    tables.make(
        "lead",
        "SELECT tuple_no, arg_min(owner_no, identifier::BIGINT * 1048576 + position) AS lead_no "
        "FROM edges JOIN value_owner USING (value_no) GROUP BY tuple_no",
    )
    tables.make(
        "claim",
        sql(
            """
            SELECT DISTINCT e.tuple_no, e.value_no, v.property_no, l.lead_no, o.owner_no
            FROM edges AS e JOIN lead AS l USING (tuple_no) JOIN link_value AS v USING (value_no)
            LEFT JOIN value_owner AS o USING (value_no) WHERE o.owner_no IS DISTINCT FROM l.lead_no
            """
        ),
    )
    tables.make(
        "party",
        sql(
            "SELECT value_no, lead_no AS owner_no FROM claim SEMI JOIN ($usable) AS u USING (value_no) UNION "
            "SELECT value_no, owner_no FROM claim SEMI JOIN ($usable) AS u USING (value_no) WHERE owner_no IS NOT NULL",
            usable=union_all([_usable(task, rule) for rule in rules]),
        ),
    )
    tables.make(
        "meeting",
        sql(
            "SELECT value_no FROM party GROUP BY value_no HAVING count(*) BETWEEN 2 AND $most",
            most=number(MAX_MATCHES),
        ),
    )
    return tables.make("met", "SELECT DISTINCT owner_no FROM party SEMI JOIN meeting USING (value_no)")


def _usable(task: LinkTask, rule: MergeRule) -> Node:
    """The values that a rule looks at."""
    blocked = texts([value.strip().lower() for value in rule.blocked_values] or [""])
    return sql(
        "SELECT value_no FROM link_value WHERE property_no = $property AND length(value) >= $least "
        "AND NOT list_contains($blocked, lower(value))",
        property=number(task.properties.index(rule.identifier)),
        least=number(MIN_LENGTH),
        blocked=blocked,
    )


def _accept(task: LinkTask, rules: list[MergeRule]) -> None:
    """``accepted`` (value_no, low, high): pairs that a rule lets merge at a value."""
    tables = task.tables
    looked_at = list(dict.fromkeys(condition.property for rule in rules for condition in rule.conditions))
    lists = [named(stored_list(property_id), f"l{no}") for no, property_id in enumerate(looked_at)]
    facts = (
        sql("SELECT owner_no, $lists FROM merging JOIN owner USING (profile_id)", lists=lists)
        if lists
        else sql("SELECT owner_no FROM merging JOIN owner USING (profile_id)")
    )
    tables.make("merge_facts", facts)
    tables.make(
        "pair",
        """
        SELECT DISTINCT a.value_no, a.owner_no AS low, b.owner_no AS high
        FROM party AS a JOIN party AS b ON a.value_no = b.value_no AND a.owner_no < b.owner_no
        SEMI JOIN meeting AS m ON m.value_no = a.value_no LEFT JOIN value_owner AS o ON o.value_no = a.value_no
        WHERE o.owner_no IS NULL OR o.owner_no = a.owner_no OR o.owner_no = b.owner_no
        """,
    )
    tables.make(
        "numbered_claim",
        "SELECT *, dense_rank() OVER (PARTITION BY lead_no, property_no ORDER BY value) AS place "
        "FROM claim JOIN (SELECT value_no, value FROM link_value) AS v USING (value_no)",
    )
    parts = [_accepted_by(task, rule, looked_at) for rule in rules]
    tables.make("accepted", sql("SELECT DISTINCT value_no, low, high FROM ($parts)", parts=union_all(parts)))


def _accepted_by(task: LinkTask, rule: MergeRule, looked_at: list[str]) -> Node:
    """The pairs that one rule accepts."""
    conditions: list[Node] = [sql("true")]
    width = "1"
    for condition in rule.conditions:
        column = f"l{looked_at.index(condition.property)}"
        if condition.equals is None:
            conditions.append(sql(f"coalesce(list_has_any(x.{column}, y.{column}), false)"))
            width += f" * greatest(coalesce(len(f.{column}), 0), 1)"
        else:
            wanted = text(_normalised(task.tenant, condition.property, condition.equals))
            both = f"list_contains(x.{column}, $wanted) AND list_contains(y.{column}, $wanted)"
            conditions.append(sql(f"coalesce({both}, false)", wanted=wanted))
    return sql(
        f"""
        SELECT p.value_no, p.low, p.high FROM pair AS p SEMI JOIN ($usable) AS u ON u.value_no = p.value_no
        JOIN merge_facts AS x ON x.owner_no = p.low JOIN merge_facts AS y ON y.owner_no = p.high
        SEMI JOIN (SELECT c.value_no, c.lead_no FROM numbered_claim AS c JOIN merge_facts AS f
                   ON f.owner_no = c.lead_no WHERE c.place * {width} <= $most) AS n
        ON n.value_no = p.value_no AND (n.lead_no = p.low OR n.lead_no = p.high)
        WHERE $conditions
        """,
        usable=_usable(task, rule),
        most=number(MAX_LOOK_UPS),
        conditions=all_of(conditions),
    )


def _normalised(tenant: Tenant, property_id: str, value: str) -> str:
    declared = tenant.properties.get(property_id)
    return value.strip().lower() if declared is not None and declared.type == "email" else value.strip()


def _find_groups(task: LinkTask) -> None:
    """``merge_group`` (component, owner_no, profile_id, created_at): the profiles that become one."""
    tables = task.tables
    tables.make(
        "named_pair",
        """
        SELECT c.tuple_no, least(c.lead_no, c.owner_no) AS low, greatest(c.lead_no, c.owner_no) AS high,
               bool_or(a.low IS NOT NULL) AS is_accepted
        FROM claim AS c LEFT JOIN accepted AS a ON a.value_no = c.value_no
        AND a.low = least(c.lead_no, c.owner_no) AND a.high = greatest(c.lead_no, c.owner_no)
        WHERE c.owner_no IS NOT NULL GROUP BY ALL
        """,
    )
    tables.make("refused_tuple", "SELECT DISTINCT tuple_no FROM named_pair WHERE NOT is_accepted")
    tables.make(
        "sound_party",
        """
        SELECT value_no, lead_no AS owner_no FROM claim ANTI JOIN refused_tuple USING (tuple_no)
        UNION SELECT value_no, owner_no FROM claim ANTI JOIN refused_tuple USING (tuple_no) WHERE owner_no IS NOT NULL
        """,
    )
    tables.make(
        "pairs",
        """
        SELECT DISTINCT a.low AS a, a.high AS b FROM accepted AS a
        SEMI JOIN sound_party AS x ON x.value_no = a.value_no AND x.owner_no = a.low
        SEMI JOIN sound_party AS y ON y.value_no = a.value_no AND y.owner_no = a.high
        """,
    )
    tables.make("component", "SELECT a AS value_no, a AS component FROM pairs UNION SELECT b, b FROM pairs")
    connect(tables)
    tables.make("merge_part", "SELECT value_no AS owner_no, component FROM component")
    tables.make(
        "merge_group",
        sql(
            """
            SELECT g.component, g.owner_no, m.profile_id, m.created_at FROM merge_part AS g
            JOIN owner AS o USING (owner_no) JOIN merging AS m USING (profile_id)
            ANTI JOIN (SELECT x.component FROM named_pair AS n JOIN merge_part AS x ON x.owner_no = n.low
                       JOIN merge_part AS y ON y.owner_no = n.high AND y.component = x.component
                       WHERE NOT n.is_accepted
                       AND NOT EXISTS (SELECT 1 FROM accepted AS a WHERE a.low = n.low AND a.high = n.high)) AS torn
            ON torn.component = g.component
            ANTI JOIN (SELECT component FROM merge_part JOIN owner USING (owner_no) JOIN merging USING (profile_id)
                       GROUP BY component HAVING sum(merges) + count(*) - 1 > $most) AS crowd
            ON crowd.component = g.component
            """,
            most=number(MAX_MERGES),
        ),
    )
    tables.drop("named_pair", "refused_tuple", "sound_party", "merge_part", "numbered_claim", "pair")
