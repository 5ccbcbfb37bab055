"""``ApplyPlanOperator``: the ``apply`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class ApplyPlanOperator(StepOperator):
    """Write the plan in one transaction: profiles, identifiers, change log and ledger.

    Example:
        >>> task = ApplyPlanOperator(task_id="apply", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.step
        'apply'
    """

    step: ClassVar[str] = "apply"
    ui_color = "#f3e3c7"
