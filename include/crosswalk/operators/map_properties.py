"""``MapPropertiesOperator``: the ``map`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class MapPropertiesOperator(StepOperator):
    """Compute the plan: every final value, before and after, and the counts.

    Example:
        >>> task = MapPropertiesOperator(task_id="map", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.step
        'map'
    """

    step: ClassVar[str] = "map"
    ui_color = "#dbe4f3"
