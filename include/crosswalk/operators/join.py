"""``JoinFilesOperator``: the ``join`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class JoinFilesOperator(StepOperator):
    """Download, parse and join the files; stage the rows and set bad ones aside.

    Example:
        >>> task = JoinFilesOperator(task_id="join", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.step
        'join'
    """

    step: ClassVar[str] = "join"
    ui_color = "#dbe4f3"
