"""``LinkIdentifiersOperator``: the ``link`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class LinkIdentifiersOperator(StepOperator):
    """Match rows with profiles by their identifiers; leave out rows unchanged since the last import.

    Example:
        >>> task = LinkIdentifiersOperator(task_id="link", connection_file="/x/s.yaml", connection="shop", goal="g")
        >>> task.step
        'link'
    """

    step: ClassVar[str] = "link"
    ui_color = "#dbe4f3"
