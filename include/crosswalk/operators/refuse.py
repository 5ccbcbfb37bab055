"""``RefuseConnectionOperator``: the only task of a connection file that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from crosswalk.core.errors import ConfigError

if TYPE_CHECKING:
    from airflow.sdk import Context


class RefuseConnectionOperator(BaseOperator):
    """Fail with everything that is wrong with a connection file.

    Args:
        message: the error and its findings, with file and line.
        **kwargs: as for every operator.

    Example:
        >>> RefuseConnectionOperator(task_id="check", message="webshop.yaml:3: unknown key").message
        'webshop.yaml:3: unknown key'
    """

    template_fields: Sequence[str] = ()
    ui_color = "#f3c7c7"

    def __init__(self, *, message: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message = message

    def execute(self, context: Context) -> None:
        """Refuse."""
        raise ConfigError(self.message)
