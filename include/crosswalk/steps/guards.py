"""Guards: limits on what one run may do to the store before a person has looked."""

from __future__ import annotations

from typing import Any

from crosswalk.config.connection import Guards

MEGABYTE = 1_000_000


def tripped_guards(guards: Guards, counts: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """The sentences of all guards that a plan trips; empty when it may go on. A guard holds the whole goal.

    Args:
        guards: the limits.
        counts: the goal's counters.
        plan: figures of the plan: ``overwritten_profiles``, ``touched_existing``, ``cleared_values``; for groups
            ``group_storage``: bytes of all groups afterwards.
    """
    held = []
    created = counts["created"]
    if guards.max_created is not None and created > guards.max_created:
        held.append(f"The plan creates {created} profiles; max_created allows {guards.max_created}.")
    overwritten, touched = plan.get("overwritten_profiles", 0), plan.get("touched_existing", 0)
    share = overwritten / touched if touched else 0.0
    if guards.max_overwritten_share is not None and share > guards.max_overwritten_share:
        held.append(
            f"The plan replaces values of {overwritten} of {touched} existing profiles ({share:.0%}); "
            f"max_overwritten_share allows {guards.max_overwritten_share:.0%}."
        )
    cleared = plan.get("cleared_values", 0)
    if guards.max_cleared is not None and cleared > guards.max_cleared:
        held.append(f"The plan clears {cleared} values; max_cleared allows {guards.max_cleared}.")
    storage = plan.get("group_storage", 0)
    if guards.max_group_storage_mb is not None and storage > guards.max_group_storage_mb * MEGABYTE:
        over = storage / MEGABYTE - guards.max_group_storage_mb
        held.append(
            f"All groups together would take {storage / MEGABYTE:.3f} MB, {over:.3f} MB more than max_group_storage_mb "
            f"({guards.max_group_storage_mb:g}) allows."
        )
    merged = counts.get("merged", 0)
    if guards.max_merged is not None and merged > guards.max_merged:
        held.append(f"The plan merges {merged} profiles into others; max_merged allows {guards.max_merged}.")
    return held
