"""The documents after the import, one bucket of profiles at a time, and what the plan says about them.

Documents are compared property by property. Text of JSON is put together from ``to_json`` of the values and keys that
are written as JSON by Python, so no value can break out of its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlglot import exp

from crosswalk.config.tenant import CONSENTED, REFUSED
from crosswalk.engine import consent, functions
from crosswalk.engine.link import link_values_path
from crosswalk.engine.map_task import MapTask
from crosswalk.engine.strategies import added_values, after
from crosswalk.engine.template import Node, any_of, call, name, named, number, parquet, sql, sum_of, text, texts


def bucket_documents(task: MapTask) -> Node:
    """``doc``: each property of the profiles before (``b``) and after (``a``), and the place that decided (``p``).

    It reads the views ``at_...`` that ``look_at`` points to the bucket, so it is the same query for all of them.
    """
    return _compared(task, _linked(task, _mapped(task, _gathered(task))))


def look_at(task: MapTask, bucket: int) -> None:
    """Point the views to a bucket."""
    within = task.buckets.within(bucket)
    profiles = sql("SELECT * FROM $profiles WHERE $within", profiles=parquet(task.profiles), within=within)
    task.tables.view("at_profiles", profiles)
    task.tables.view("at_linking", sql("SELECT * FROM linking WHERE $within", within=within))
    stages = ["per_profile", "winning"]
    stages += ["added"] if any(target.strategy == "add" for target in task.frame.targets) else []
    for stage in [*stages, *(["extra"] if task.has_extra else [])]:
        task.tables.view(f"at_{stage}", task.buckets.part(stage, bucket))


def _gathered(task: MapTask) -> Node:
    """Stored lists, deciding values, added values and sums of each profile, side by side."""
    query = sql(
        "SELECT p.*, w.* EXCLUDE (profile_no, bad_rows, rounded), blocked.profile_no IS NOT NULL AS is_blocked "
        "FROM ($stored) AS p LEFT JOIN at_per_profile AS w USING (profile_no) LEFT JOIN blocked USING (profile_no)",
        stored=_stored(task),
    )
    for part in _attachments(task):
        query = sql(
            "SELECT base.*, more.* EXCLUDE (profile_no) FROM ($base) AS base LEFT JOIN ($part) AS more USING "
            "(profile_no)",
            base=query,
            part=part,
        )
    if task.sums and not task.has_extra:
        none = [sql(f"NULL::DECIMAL(38, 4) AS x{target.index}") for target in task.sums]
        none += [sql(f"NULL::BIGINT AS xp{target.index}") for target in task.sums]
        query = sql("SELECT *, $none FROM ($query)", none=none, query=query)
    reached = "(coalesce(row_count, 0) > 0" + (" OR in_extra" if task.has_extra else "") + ")"
    return sql(f"SELECT * FROM ($query) WHERE {reached} AND NOT (is_new AND is_blocked)", query=query)


def _stored(task: MapTask) -> Node:
    """The profiles with the stored lists (``b``) of every property by its number."""
    count = len(task.properties)
    fixed = [
        name(column) for column in ("profile_no", "is_new", "profile_id", "version", "properties", "permission_level")
    ]
    if not count:
        return sql("SELECT $fixed FROM at_profiles", fixed=fixed)
    paths = texts([f"/{item.replace('~', '~0').replace('/', '~1')}" for item in task.properties])
    lists = [sql(f"from_json(list_extract(found, {no + 1}), '[\"VARCHAR\"]') AS stored{no}") for no in range(count)]
    before = [sql(f"CASE WHEN len(stored{no}) > 0 THEN stored{no} END AS b{no}") for no in range(count)]
    found = sql("SELECT *, json_extract(properties, $paths) AS found FROM at_profiles", paths=paths)
    return sql(
        "SELECT $fixed, $before FROM (SELECT *, $lists FROM ($found))",
        fixed=fixed,
        before=before,
        lists=lists,
        found=found,
    )


def _attachments(task: MapTask) -> list[Node]:
    """What else each profile gets: values of deciding rows, added values, linking values, sums of special keys."""
    parts: list[Node] = []
    values = _winning_values(task)
    if values:
        query = (
            "SELECT profile_no, $values FROM at_winning AS f JOIN at_per_profile AS w USING (profile_no) "
            "GROUP BY profile_no"
        )
        parts.append(sql(query, values=values))
    added = [target for target in task.frame.targets if target.strategy == "add"]
    if added:
        columns = [(f"add{target.index}", sql("target = $no", no=number(target.index))) for target in added]
        parts.append(_listed("at_added", "ord", columns))
    if task.link_properties:
        columns = [
            (f"link{no}", sql("property_id = $id", id=text(property_id)))
            for no, property_id in enumerate(task.properties)
            if property_id in task.link_properties
        ]
        parts.append(_listed("at_linking", "ord", columns))
    if task.has_extra:
        parts.append(sql("SELECT *, true AS in_extra FROM at_extra"))
    return parts


def _listed(part: str, order: str, columns: Sequence[tuple[str, Node]]) -> Node:
    """Per profile, lists of values (``<column>v``) and of their places (``<column>p``), in order.

    Most lists hold one value, and sorting costs far more than listing; so only longer ones are sorted.
    """
    lists: list[Node] = []
    ordered: list[Node] = []
    for column, condition in columns:
        lists += [
            sql(f"list(value) FILTER (WHERE $chosen) AS {column}v", chosen=condition),
            sql(f"list(place) FILTER (WHERE $chosen) AS {column}p", chosen=condition),
            sql(
                f"list({{'o': {order}, 'v': value, 'p': place}}) FILTER (WHERE several AND $chosen) AS {column}s",
                chosen=condition,
            ),
        ]
        ordered += [
            sql(
                f"CASE WHEN len({column}s) > 1 THEN list_transform(list_sort({column}s), LAMBDA item : item.{letter}) "
                f"ELSE {column}{letter} END AS {column}{letter}"
            )
            for letter in "vp"
        ]
    marked = sql(
        f"SELECT l.*, several_no IS NOT NULL AS several FROM {part} AS l LEFT JOIN (SELECT profile_no AS several_no "
        f"FROM {part} GROUP BY profile_no HAVING count(*) > 1) AS r ON l.profile_no = r.several_no"
    )
    return sql(
        "SELECT profile_no, $ordered FROM (SELECT profile_no, $lists FROM ($marked) GROUP BY profile_no)",
        ordered=ordered,
        lists=lists,
        marked=marked,
    )


def _winning_values(task: MapTask) -> list[Node]:
    """Per target its value and place, per objective and for all of them the place of the last answer."""
    picked: list[Node] = []

    def pick(column: str, row: str, alias: str) -> Node:
        return sql(f"any_value(CASE WHEN f.row_id = {row} THEN f.{column} END) AS {alias}")

    for target in task.frame.targets:
        if target.has_winner:
            picked.append(pick("place", f"w.w{target.index}", f"pl{target.index}"))
        if target.has_value:
            picked.append(pick(f"v{target.index}", f"w.w{target.index}", f"v{target.index}"))
    answers = [f"w.{letter}{objective.index}" for objective in task.objectives for letter in "gr"]
    picked += [
        pick("place", f"greatest(w.g{objective.index}, w.r{objective.index})", f"ap{objective.index}")
        for objective in task.objectives
    ]
    if answers:
        picked.append(pick("place", f"greatest({', '.join(answers)})", "ap"))
    return picked


def _mapped(task: MapTask, gathered: Node) -> Node:
    """Adds ``m`` (after the strategies), ``mp`` (place) and ``o`` (a sum that was refused)."""
    columns: list[Node] = []
    known = {}
    for target in task.frame.targets:
        known[target.property_id] = after(target, name(f"b{task.properties.index(target.property_id)}"))
    if task.objectives:
        before = [name(f"b{task.properties.index(key)}") for key in (CONSENTED, REFUSED)]
        lists = consent.lists_after(task.objectives, before[0], before[1])
    for no, property_id in enumerate(task.properties):
        stored = name(f"b{no}")
        if property_id in (CONSENTED, REFUSED):
            columns += [named(lists[property_id == REFUSED], f"m{no}"), sql(f"ap AS mp{no}")]
            continue
        found = known.get(property_id)
        values = found.values if found else stored
        if task.has_gate and found:
            values = sql("CASE WHEN is_blocked THEN $stored ELSE $values END", stored=stored, values=values)
        columns += [named(values, f"m{no}"), named(found.place if found else sql("NULL::BIGINT"), f"mp{no}")]
        if found and found.refused is not None:
            columns.append(named(sql("coalesce($refused, false) AND NOT is_blocked", refused=found.refused), f"o{no}"))
    return sql("SELECT *, $columns FROM ($gathered)", columns=columns, gathered=gathered) if columns else gathered


def _linked(task: MapTask, mapped: Node) -> Node:
    """Adds ``k``: with the linking values that are missing; ``kp`` their place."""
    columns: list[Node] = []
    for no, property_id in enumerate(task.properties):
        values, place = name(f"m{no}"), name(f"mp{no}")
        if property_id not in task.link_properties:
            columns += [named(values, f"k{no}"), named(place, f"kp{no}")]
            continue
        found = added_values(values, f"link{no}")
        union, last = found.values, found.place
        if task.has_gate:
            union = sql("CASE WHEN is_blocked THEN $values ELSE $union END", values=values, union=union)
            last = sql("CASE WHEN NOT is_blocked THEN $last END", last=last)
        kept = sql(
            "CASE WHEN $values IS DISTINCT FROM $before THEN $place ELSE coalesce($last, $place) END",
            values=values,
            before=name(f"b{no}"),
            last=last,
            place=place,
        )
        columns += [named(union, f"k{no}"), named(kept, f"kp{no}")]
    return sql("SELECT *, $columns FROM ($mapped)", columns=columns, mapped=mapped) if columns else mapped


def _compared(task: MapTask, linked: Node) -> Node:
    """Keeps what the plan needs.

    Identity, ``b``, ``a``, ``p``, ``c`` (changed), ``t`` (too many values), ``changed``.
    """
    count = len(task.properties)
    columns: list[Node] = []
    for no in range(count):
        columns += [
            name(f"b{no}"),
            sql(
                f"CASE WHEN len(k{no}) > {functions.MAX_VALUES} THEN k{no}[1:{functions.MAX_VALUES}] ELSE k{no} "
                f"END AS a{no}"
            ),
            sql(f"kp{no} AS p{no}"),
            sql(f"coalesce(len(k{no}) > {functions.MAX_VALUES}, false) AS t{no}"),
        ]
    for target in task.sums:
        columns.append(name(f"o{task.properties.index(target.property_id)}"))
    for objective in task.objectives:
        columns += [name(f"{letter}{objective.index}") for letter in ("g", "r", "ap")]
    fixed = [
        name(column)
        for column in ("profile_no", "is_new", "profile_id", "version", "properties", "row_count", "is_blocked")
    ]
    kept = (
        sql("SELECT $fixed, $columns FROM ($linked)", fixed=fixed, columns=columns, linked=linked)
        if columns
        else sql("SELECT $fixed FROM ($linked)", fixed=fixed, linked=linked)
    )
    flags = [sql(f"a{no} IS DISTINCT FROM b{no} AS c{no}") for no in range(count)]
    compared = sql("SELECT *, $flags FROM ($kept)", flags=flags, kept=kept) if flags else kept
    changed = any_of([name(f"c{no}") for no in range(count)])
    result = sql("SELECT *, $changed AS changed FROM ($compared)", changed=changed, compared=compared)
    return sql("SELECT * FROM ($result) WHERE changed OR NOT is_blocked", result=result) if task.has_gate else result


# -- what the plan says ------------------------------------------------------------------------------------------------


def planned_profiles(task: MapTask) -> Node:
    """PLANNED_PROFILE_SCHEMA."""
    parts, entries = [], []
    summed = {target.property_id for target in task.sums}  # undo takes an amount back, whatever was added since
    for no, property_id in enumerate(task.properties):
        key = json.dumps(property_id, ensure_ascii=False)
        flag, place = name(f"c{no}"), name(f"p{no}")
        after_json, before_json = name(f"ja{no}"), _json(name(f"b{no}"))
        parts.append(
            sql("CASE WHEN $flag THEN concat($key, $after) END", flag=flag, key=text(f"{key}:"), after=after_json)
        )
        entries.append(
            sql(
                "CASE WHEN $flag THEN concat($key, $before, ',\"after\":', $after, ',\"file\":', $file, "
                "',\"line\":', $line, $end) END",
                flag=flag,
                key=text(f'{key}:{{"before":'),
                before=before_json,
                after=after_json,
                file=_file_json(task.sources, place),
                line=sql("coalesce(nullif($place % 1099511627776, 0)::VARCHAR, 'null')", place=place),
                end=text(',"sum":true}' if property_id in summed else "}"),
            )
        )
    patch = _object(parts)
    return sql(
        """
        SELECT profile_id, is_new, CASE WHEN is_new THEN 'created' WHEN changed THEN 'updated' ELSE 'unchanged' END
               AS outcome,
               version, CASE WHEN is_new THEN $patch WHEN changed THEN json_merge_patch(properties, $patch)::VARCHAR
                             ELSE properties END AS properties,
               CASE WHEN is_new OR changed THEN $changes END AS changes
        FROM (SELECT *, $written FROM doc) ORDER BY profile_no
        """,
        written=[named(_json(name(f"a{no}")), f"ja{no}") for no in range(len(task.properties))] or [sql("1")],
        patch=patch,
        changes=_object(entries),
    )


def _object(members: Sequence[Node]) -> Node:
    if not members:
        return text("{}")
    return sql("concat('{', $members, '}')", members=call("concat_ws", text(","), *members))


def _json(values: Node) -> Node:
    return sql("coalesce(to_json($values)::VARCHAR, 'null')", values=values)


def _file_json(sources: Sequence[str], place: Node) -> Node:
    written = texts([json.dumps(source, ensure_ascii=False) for source in sources])
    return sql("coalesce(list_extract($written, $place // 1099511627776 + 1), 'null')", written=written, place=place)


def planned_identifiers(task: MapTask) -> Node:
    """PLANNED_IDENTIFIER_SCHEMA: normalised values that a profile gains or loses."""
    parts = []
    for no, property_id in enumerate(task.properties):
        declared = task.tenant.properties.get(property_id)
        if declared is None or declared.identifier != "unique":
            continue
        for action, left, right in (("add", f"a{no}", f"b{no}"), ("remove", f"b{no}", f"a{no}")):
            parts.append(
                sql(
                    f"SELECT profile_no, profile_id, $id AS property_id, unnest(list_filter({left}, LAMBDA item : "
                    f"NOT list_contains(coalesce({right}, []), item))) AS value, '{action}' AS action FROM doc "
                    f"WHERE c{no}",
                    id=text(property_id),
                )
            )
    columns = "profile_id, property_id, value, action"
    if not parts:
        return sql(
            "SELECT NULL::VARCHAR AS profile_id, NULL::VARCHAR AS property_id, NULL::VARCHAR AS value, "
            "NULL::VARCHAR AS action WHERE false"
        )
    union = exp.union(*parts, distinct=False) if len(parts) > 1 else parts[0]
    return sql(f"SELECT {columns} FROM ($union) ORDER BY profile_no, property_id, action, value", union=union)


def planned_consent(task: MapTask) -> Node:
    """CONSENT_SCHEMA: answers that change the profile's state."""
    parts = []
    for objective in task.objectives:
        before = [name(f"b{task.properties.index(key)}") for key in (CONSENTED, REFUSED)]
        place = name(f"ap{objective.index}")
        parts.append(
            sql(
                "SELECT profile_no, profile_id, $id AS objective, $state AS state, list_extract($sources, $place "
                "// 1099511627776 + 1) "
                "AS file, nullif($place % 1099511627776, 0) AS line FROM doc WHERE $state IS NOT NULL AND $state "
                "IS DISTINCT FROM $old",
                id=text(objective.objective_id),
                state=consent.state_after(objective),
                old=consent.state_before(objective, before[0], before[1]),
                sources=texts(list(task.sources)),
                place=place,
            )
        )
    if not parts:
        return sql(
            "SELECT NULL::VARCHAR AS profile_id, NULL::VARCHAR AS objective, NULL::VARCHAR AS state, "
            "NULL::VARCHAR AS file, NULL::BIGINT AS line WHERE false"
        )
    union = exp.union(*parts, distinct=False) if len(parts) > 1 else parts[0]
    return sql(
        "SELECT profile_id, objective, state, file, line FROM ($union) ORDER BY profile_no, objective", union=union
    )


def bucket_counts(task: MapTask) -> Node:
    """Figures of one bucket: created, updated, unchanged, overwritten profiles, cleared values."""
    overwritten, cleared = [], []
    for target in task.frame.targets:
        no = task.properties.index(target.property_id)
        if target.strategy in ("set", "set_or_clear"):
            overwritten.append(sql(f"(c{no} AND b{no} IS NOT NULL AND NOT list_has_all(coalesce(a{no}, []), b{no}))"))
        cleared.append(sql(f"CASE WHEN b{no} IS NOT NULL AND a{no} IS NULL THEN 1 ELSE 0 END"))
    return sql(
        """
        SELECT count(*) FILTER (WHERE is_new) AS created, count(*) FILTER (WHERE NOT is_new AND changed) AS updated,
               count(*) FILTER (WHERE NOT is_new AND NOT changed AND row_count > 0) AS unchanged,
               count(*) FILTER (WHERE NOT is_new AND $overwritten) AS overwritten_profiles,
               coalesce(sum($cleared), 0)::BIGINT AS cleared_values,
               count(*) FILTER (WHERE NOT is_new AND NOT is_blocked AND row_count > 0) AS touched_existing
        FROM doc
        """,
        overwritten=any_of(overwritten),
        cleared=sum_of(cleared),
    )


def linking_values(task: MapTask) -> Node:
    """``linking``: the identifier values that *link* wants stored, as far as a row that is applied brings them."""
    values = sql("SELECT * FROM $values", values=parquet(link_values_path(task.folder)))
    if not (task.rejects_rows and task.has_bad):
        return values
    fields = [link.field for link in task.goal.identifiers]
    return sql(
        "SELECT v.* FROM ($values) AS v SEMI JOIN ($held) AS h USING (profile_no, property_id, value)",
        values=values,
        held=_held_values(task, fields),
    )


def _held_values(task: MapTask, fields: Sequence[str]) -> Node:
    from crosswalk.engine.link_task import identifier_readers

    rows = task.frame.query(task.linked_rows(task.good), ["row_id", "profile_no"], [], fields)
    parts = []
    for link, reader in zip(
        task.goal.identifiers, identifier_readers(task.goal, task.tenant, task.frame.cells), strict=True
    ):
        cell = task.frame.cell_of(link.field)
        values = reader.texts(cell, reader.at_once(cell))
        parts.append(
            sql(
                "SELECT profile_no, $id AS property_id, unnest($values) AS value FROM ($rows)",
                id=text(link.property),
                values=values,
                rows=rows,
            )
        )
    return exp.union(*parts, distinct=False) if len(parts) > 1 else parts[0]
