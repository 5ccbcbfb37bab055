"""``ReportOperator``: the ``report`` step as a task, and the failure callback for runs that never got to it."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset, AssetAlias

from crosswalk.core.errors import CrosswalkError, FatalError
from crosswalk.operators.step import StepOperator, request_of, resolve

if TYPE_CHECKING:
    from airflow.sdk import Context

    from crosswalk.steps import RunContext, StepResult

log = logging.getLogger(__name__)
# Runs that count as "finished well" for connections that are scheduled after this one.
_WELL = ("done", "done_with_rejects", "nothing_new")
_BROKEN = ("failed", "upstream_failed")


def finished_uri(connection: str) -> str:
    """The asset that stands for "this connection finished well"."""
    return f"x-crosswalk://connection/{connection}"


class ReportOperator(StepOperator):
    """Settle the run, send the mail once, and fail the run when a goal failed.

    A run that wrote, or found nothing new, tells connections with ``schedule: {after: [...]}``. The event goes through
    an alias, because a plain outlet would also announce plans and held runs.

    Example:
        >>> task = ReportOperator(task_id="report", connection_file="/x/s.yaml", connection="shop")
        >>> task.step
        'report'
    """

    step: ClassVar[str] = "report"
    ui_color = "#e9ddef"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outlets = [AssetAlias(name=finished_uri(self.connection))]

    def run_step(self, run: RunContext, context: Context) -> StepResult:
        """Report, then check that Airflow and the store agree about what failed."""
        result = super().run_step(run, context)
        self._tell(run, result)
        if result.state == "failed":
            raise FatalError(_failures(run), code="goal_failed", connection=run.name)
        self._compare_with_airflow(context)
        if run.writes and result.reason in _WELL:
            states = {key: value for key, value in result.summary.items() if key and key != "mail"}
            context["outlet_events"][self.outlets[0]].add(Asset(uri=finished_uri(self.connection)), extra=states)
        return result

    def _tell(self, run: RunContext, result: StepResult) -> None:
        """Log what became of each goal: of a plan, this is where a person sees what a run would do."""
        from crosswalk.steps.mail import goal_lines

        for goal in _goals(run):
            for line in goal_lines(goal, run.name):
                self.log.info("%s", line)
        self.log.info("Mail: %s", result.summary.get("mail", "not wanted"))

    def _compare_with_airflow(self, context: Context) -> None:
        """A run in which a task failed is never green, whatever the store knows of it."""
        ti, run_id = context["ti"], context["run_id"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
        broken = sorted(task for task, state in states.items() if str(state) in _BROKEN and task != ti.task_id)
        if broken:
            raise FatalError(
                f"Task(s) {', '.join(broken)} failed without leaving a result.",
                remedy="Their logs say why; clearing them continues this run.",
                code="task_failed",
                connection=self.connection,
            )


def _goals(run: RunContext) -> list[dict[str, Any]]:
    """What the store knows of the run's goals."""
    return [goal for goal in (run.store.run(run.run_id) or {}).get("goals", []) if goal["goal"]]


def _failures(run: RunContext) -> str:
    """One sentence per failed goal, with its error as the store has it."""
    from crosswalk.steps.mail import message_of

    lines = []
    for item in _goals(run):
        if item["state"] == "failed":
            error = (item.get("result") or {}).get("error") or {}
            text = message_of(error, run.name, item["goal"])
            lines.append(f'goal "{item["goal"]}" failed [{error.get("code", "unknown")}]: {text}')
    return "; ".join(lines) or "the run failed before a goal began; see the first red task."


class ReportCrash:
    """The DAG's failure callback: mails about a run whose *report* did not get to it; does nothing otherwise.

    Airflow calls it outside any task; an exception would only be logged, so this logs a sentence instead.
    """

    def __init__(self, connection_file: str, connection: str, tenant_folder: str | None) -> None:
        self.connection_file = connection_file
        self.connection = connection
        self.tenant_folder = tenant_folder

    def __call__(self, context: Context) -> None:
        """Report the run of this context."""
        from crosswalk.steps.report import send_if_unreported

        request = request_of(
            context,
            connection_file=self.connection_file,
            connection=self.connection,
            tenant_folder=self.tenant_folder,
        )
        try:
            send_if_unreported(request, resolve=resolve, reason=str(context.get("reason") or ""))
        except CrosswalkError as error:
            log.error("The failed run %s was not reported: %s", request.run_id, error)
        except Exception as error:  # noqa: BLE001 - Airflow would log its text, which may quote a value
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            log.error("The failed run %s was not reported: %s at %s", request.run_id, type(error).__name__, places)
