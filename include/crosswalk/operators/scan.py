"""``ScanFilesOperator``: the ``scan`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.first_step import FirstStepOperator


class ScanFilesOperator(FirstStepOperator):
    """Decide which files the goal reads: new or changed ones, oldest first.

    Example:
        >>> task = ScanFilesOperator(task_id="scan", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.step
        'scan'
    """

    step: ClassVar[str] = "scan"
    ui_color = "#dbe4f3"
