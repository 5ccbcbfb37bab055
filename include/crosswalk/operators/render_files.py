"""``RenderFilesOperator``: the ``render`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class RenderFilesOperator(StepOperator):
    """Write the files as they will be sent: columns in order, values in the format, events by type.

    Example:
        >>> task = RenderFilesOperator(task_id="render", connection_file="/x/s.yaml", connection="shop", goal="mail")
        >>> task.step
        'render'
    """

    step: ClassVar[str] = "render"
    ui_color = "#dbe4f3"
