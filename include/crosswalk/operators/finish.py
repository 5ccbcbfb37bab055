"""``FinishFilesOperator``: the ``finish`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class FinishFilesOperator(StepOperator):
    """Mark or archive the imported files and clean the staging folder.

    Example:
        >>> task = FinishFilesOperator(task_id="finish", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.step
        'finish'
    """

    step: ClassVar[str] = "finish"
    ui_color = "#dbe4f3"
