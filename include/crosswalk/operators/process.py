"""``ProcessRowsOperator``: the ``process`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class ProcessRowsOperator(StepOperator):
    """Run the goal's processors over the staged rows.

    Example:
        >>> task = ProcessRowsOperator(task_id="process", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.step
        'process'
    """

    step: ClassVar[str] = "process"
    ui_color = "#dbe4f3"
