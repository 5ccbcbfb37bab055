"""``SelectProfilesOperator``: the ``select`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.first_step import FirstStepOperator


class SelectProfilesOperator(FirstStepOperator):
    """Decide which profiles of the segment are exported: available, consented, changed since the last good run.

    Example:
        >>> task = SelectProfilesOperator(task_id="select", connection_file="/x/s.yaml", connection="shop", goal="mail")
        >>> task.step
        'select'
    """

    step: ClassVar[str] = "select"
    ui_color = "#dbe4f3"
