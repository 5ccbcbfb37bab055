"""``ExportFilesOperator``: the ``export`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class ExportFilesOperator(StepOperator):
    """Send the files from the outbox, each seen by nobody until it is whole, and record what was acknowledged.

    Example:
        >>> task = ExportFilesOperator(task_id="export", connection_file="/x/s.yaml", connection="shop", goal="mail")
        >>> task.step
        'export'
    """

    step: ClassVar[str] = "export"
    ui_color = "#f3e3c7"
