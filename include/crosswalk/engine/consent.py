"""Recorded answers and what they allow.

Per row and objective the last column that answers counts, per profile the last row. An answer moves the objective
between ``consented_objectives`` and ``refused_objectives`` of the document; only a change is logged. A connection
with objectives processes a profile when, after its answers, it has consented to at least one of them; refused and
unknown do not count. A profile on permission level 0 is never processed. For both, answers are written all the same
(design section 6 rule 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crosswalk.config.connection import ConsentColumn, ImportProfiles
from crosswalk.config.tenant import CONSENTED, REFUSED
from crosswalk.engine import functions
from crosswalk.engine.targets import Frame
from crosswalk.engine.template import Node, all_of, any_of, call, name, sql, text, texts


@dataclass(frozen=True)
class Objective:
    """One objective that the goal's columns answer for: ``g<index>`` and ``r<index>`` are its last rows per profile."""

    index: int
    objective_id: str
    columns: tuple[ConsentColumn, ...]

    @property
    def granted(self) -> Node:
        """The last row that granted it."""
        return name(f"g{self.index}")

    @property
    def refused(self) -> Node:
        """The last row that refused it."""
        return name(f"r{self.index}")

    @property
    def is_granted(self) -> Node:
        """Whether the profile's last answer grants it; false when there is none."""
        return sql("coalesce($g > coalesce($r, -1), false)", g=self.granted, r=self.refused)

    @property
    def is_refused(self) -> Node:
        """Whether the profile's last answer refuses it; false when there is none."""
        return sql("coalesce($r > coalesce($g, -1), false)", g=self.granted, r=self.refused)


def objectives_of(goal: ImportProfiles) -> tuple[Objective, ...]:
    """The objectives that a goal's consent columns answer for, in their order."""
    grouped: dict[str, list[ConsentColumn]] = {}
    for column in goal.consent:
        grouped.setdefault(column.objective, []).append(column)
    return tuple(Objective(index, key, tuple(columns)) for index, (key, columns) in enumerate(grouped.items()))


def column_answer(frame: Frame, column: ConsentColumn) -> Node:
    """true, false, or NULL when the cell holds no known answer. Compared without case."""
    cell = sql("lower($cell)", cell=frame.cell_of(column.field))
    granted, refused = _folded(column.granted), _folded(column.refused)
    return sql(
        "CASE WHEN list_contains($refused::VARCHAR[], $cell) THEN false WHEN list_contains($granted::VARCHAR[], "
        "$cell) THEN true END",
        cell=cell,
        granted=texts(granted),
        refused=texts(refused),
    )


def _folded(answers: Sequence[str]) -> list[str]:
    return [answer.strip(functions.BLANKS).lower() for answer in answers]


def column_is_refused(frame: Frame, column: ConsentColumn) -> Node:
    """Whether the cell holds a text that is no known answer."""
    cell = frame.cell_of(column.field)
    known = texts([*_folded(column.granted), *_folded(column.refused)])
    return sql(
        "coalesce($cell <> '' AND NOT list_contains($known::VARCHAR[], lower($cell)), false)", cell=cell, known=known
    )


def row_answer(frame: Frame, objective: Objective) -> Node:
    """What one row answers: the last column that says something."""
    answers = [column_answer(frame, column) for column in reversed(objective.columns)]
    return call("coalesce", *answers) if len(answers) > 1 else answers[0]


def lists_after(objectives: Sequence[Objective], consented: Node, refused: Node) -> tuple[Node, Node]:
    """Both lists of the document after the answers; NULL for an empty one."""
    granted_now = _picked([(objective.objective_id, objective.is_granted) for objective in objectives])
    refused_now = _picked([(objective.objective_id, objective.is_refused) for objective in objectives])
    return _moved(consented, granted_now, refused_now), _moved(refused, refused_now, granted_now)


def _picked(choices: Sequence[tuple[str, Node]]) -> Node:
    items = [sql("CASE WHEN $chosen THEN $id END", chosen=chosen, id=text(key)) for key, chosen in choices]
    return sql("list_filter([$items]::VARCHAR[], LAMBDA item : item IS NOT NULL)", items=items)


def _moved(before: Node, added: Node, removed: Node) -> Node:
    kept = sql(
        "list_filter(coalesce($before, []), LAMBDA item : NOT list_contains($removed, item))",
        before=before,
        removed=removed,
    )
    union = functions.ordered_union(kept, added)
    return sql("CASE WHEN len($union) > 0 THEN $union END", union=union)


def is_blocked(allowed: Sequence[str], consented_after: Node, permission_level: Node) -> Node:
    """Whether the profile may not be processed."""
    reasons = [sql("coalesce($level, 2) = 0", level=permission_level)]
    if allowed:
        reasons.append(
            sql(
                "NOT list_has_any(coalesce($consented, []), $allowed)",
                consented=consented_after,
                allowed=texts(list(allowed)),
            )
        )
    return any_of(reasons)


def state_before(objective: Objective, consented: Node, refused: Node) -> Node:
    """The stored answer; refused beats granted."""
    return sql(
        "CASE WHEN coalesce(list_contains($refused, $id), false) THEN 'refused' "
        "WHEN coalesce(list_contains($consented, $id), false) THEN 'granted' END",
        id=text(objective.objective_id),
        consented=consented,
        refused=refused,
    )


def state_after(objective: Objective) -> Node:
    """The profile's new answer, or NULL."""
    return sql(
        "CASE WHEN $granted THEN 'granted' WHEN $refused THEN 'refused' END",
        granted=objective.is_granted,
        refused=objective.is_refused,
    )


def no_answers(objectives: Sequence[Objective]) -> Node:
    """Whether a profile got no answer at all."""
    return all_of([sql("$g IS NULL AND $r IS NULL", g=item.granted, r=item.refused) for item in objectives])


CONSENT_PROPERTIES = (CONSENTED, REFUSED)
