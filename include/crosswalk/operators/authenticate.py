"""``AuthenticateOperator``: the ``authenticate`` step as a task."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.operators.step import StepOperator


class AuthenticateOperator(StepOperator):
    """Prove host key, login and rights, and fix the configuration of this run.

    Example:
        >>> task = AuthenticateOperator(task_id="authenticate", connection_file="/x/s.yaml", connection="shop")
        >>> task.step
        'authenticate'
    """

    step: ClassVar[str] = "authenticate"
    ui_color = "#d7e8d4"
