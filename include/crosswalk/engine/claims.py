"""Unique identifiers that mappings bring: a value belongs to one profile only.

A value that another stored profile owns stays there; one that nobody owns goes to the profile whose rows link by it,
else to the first one in the order of rows. The others do without it: the value is set aside as ``identifier_taken``
and otherwise treated as if the cell were absent.
"""

from __future__ import annotations

from crosswalk.engine.map_task import MapTask, value_pass
from crosswalk.engine.template import named, number, parquet, sql, texts


def find_taken(task: MapTask) -> None:
    """``taken`` (values that a profile may not have) and ``taken_list`` (the same per profile, for the frame)."""
    targets = task.claimed
    if not targets:
        return
    task.tables.make("claim", value_pass(task, targets))
    ids = texts([target.property_id for target in task.frame.targets])
    wanted = task.tables.stream(
        sql("SELECT DISTINCT list_extract($ids, target + 1) AS property_id, value FROM claim", ids=ids)
    )
    task.tables.take_in("claim_owner", task.lookup(wanted), "property_id, value, profile_id")
    if task.folder.merges.exists():  # what a replaced profile owned is the living one's by now
        task.tables.make(
            "claim_owner",
            sql(
                "SELECT o.property_id, o.value, coalesce(m.living_id, o.profile_id) AS profile_id "
                "FROM claim_owner AS o LEFT JOIN $merges AS m USING (profile_id)",
                merges=parquet(task.folder.merges),
            ),
        )
    count = task.tables.make(
        "taken",
        sql(
            """
            SELECT c.* FROM (SELECT *, list_extract($ids, target + 1) AS property_id FROM claim) AS c
            LEFT JOIN claim_owner AS o USING (property_id, value)
            LEFT JOIN (SELECT profile_id, profile_no AS owner_no FROM $profiles) AS p USING (profile_id)
            LEFT JOIN (SELECT property_id, value, profile_no AS linked_no FROM linking) AS l USING (property_id, value)
            LEFT JOIN (SELECT target, value, arg_min(profile_no, ord) AS first_no FROM claim GROUP BY target,
                   value) AS f
                USING (target, value)
            WHERE CASE WHEN o.profile_id IS NOT NULL THEN owner_no ELSE coalesce(linked_no, first_no) END
                  IS DISTINCT FROM c.profile_no
            """,
            ids=ids,
            profiles=parquet(task.profiles),
        ),
    )
    if count == 0:
        return
    lists = [
        named(sql("list(value) FILTER (WHERE target = $no)", no=number(target.index)), f"gone_{target.index}")
        for target in targets
    ]
    task.tables.make("taken_list", sql("SELECT profile_no, $lists FROM taken GROUP BY profile_no", lists=lists))
    task.has_taken = True
