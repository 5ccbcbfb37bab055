"""What all operators share: from Airflow's context to a run request, from a step's outcome to a task state.

A constructor runs whenever the DAG file is parsed, so it only stores plain values; everything else happens in
``execute``, which opens the run, calls one step and translates: a state that ends the goal becomes a skipped task with
its reason, an error stays what it is so that the retry policy can tell "try again" from "a person must look".
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from crosswalk.core.errors import CrosswalkError, FatalError, RetryableError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from crosswalk.steps import RunContext, RunRequest, StepResult

TRIGGERS = {"scheduled": "scheduled", "manual": "manual", "asset_triggered": "asset", "backfill": "scheduled"}
# Libraries that tell every detail of their work at info level.
_CHATTY = ("asyncssh", "sqlglot")
_NETWORK = (ConnectionError, TimeoutError)


def run_id_of(connection: str, airflow_run_id: str) -> str:
    """The run's id in the store: Airflow's run ids repeat from DAG to DAG (all that start at six o'clock share one)."""
    return f"{connection}__{airflow_run_id}"


def request_of(
    context: Context, *, connection_file: str, connection: str, tenant_folder: str | None = None
) -> RunRequest:
    """The run request that belongs to a task's (or a callback's) context.

    Args:
        context: Airflow's context; ``params`` may be missing in a callback.
        connection_file: absolute path of the YAML file.
        connection: the connection's name.
        tenant_folder: folder of the tenant model; unset: as the environment says.
    """
    from crosswalk.steps import RunRequest

    dag_run = context["dag_run"]
    params = dict(context.get("params") or {})
    run_type = getattr(dag_run.run_type, "value", dag_run.run_type)
    return RunRequest(
        connection_file=connection_file,
        run_id=run_id_of(connection, dag_run.run_id),
        mode=params.get("mode") or "apply",
        goals=tuple(params.get("goals") or ()),
        full=bool(params.get("full")),
        since=params.get("since"),
        until=params.get("until"),
        limit=params.get("limit"),
        replay=params.get("replay") or None,
        trigger=TRIGGERS.get(str(run_type), "manual"),
        run_url=_run_url(dag_run.dag_id, dag_run.run_id),
        tenant_folder=tenant_folder,
    )


def _run_url(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    return f"{base}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def resolve(conn_id: str) -> Any:
    """Host, login and secrets of an Airflow connection, wherever Airflow keeps it."""
    from crosswalk.hooks.credentials import resolve as resolve_connection

    return resolve_connection(conn_id)


class StepOperator(BaseOperator):
    """Run one step of one goal.

    Args:
        connection_file: absolute path of the YAML file.
        connection: the connection's name.
        goal: the goal's name; unset for the steps of the whole run.
        tenant_folder: folder of the tenant model; unset: as the environment says.
    """

    step: ClassVar[str]
    template_fields: Sequence[str] = ()

    def __init__(
        self,
        *,
        connection_file: str,
        connection: str,
        goal: str | None = None,
        tenant_folder: str | None = None,
        **kwargs: Any,
    ) -> None:
        what = (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(**{"doc_md": what, **kwargs})  # behind "Task Documentation" on the task's page
        self.connection_file = connection_file
        self.connection = connection
        self.goal = goal
        self.tenant_folder = tenant_folder

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; returns its counts."""
        return self._counts(self._translated(lambda: self._run(context, self.run_step)))

    def _translated(self, work: Callable[[], StepResult]) -> StepResult:
        """Do the work; whatever goes wrong is one of our errors, prepared for Airflow's log."""
        try:
            return work()
        except AirflowException:
            raise
        except Exception as error:  # noqa: BLE001 - Airflow would log its text, which may quote a value
            known = self._known(error)
            raise told(known, self.log) from (known.__cause__ if _debugging() else None)

    def _counts(self, result: StepResult) -> dict[str, Any]:
        if result.state is not None:
            raise AirflowSkipException(f"{result.state}: {result.reason}" if result.reason else result.state)
        return result.summary

    def _known(self, error: Exception) -> CrosswalkError:
        """The error as one of ours; what nobody foresaw is not tried again."""
        if isinstance(error, CrosswalkError):
            return error
        known: CrosswalkError
        if isinstance(error, _NETWORK):
            known = RetryableError(f"The network failed ({type(error).__name__}).")
        else:
            known = FatalError(
                f"Step {self.step} met an unexpected {type(error).__name__}.",
                remedy="This is a fault of Crosswalk or of its set-up; the log above has the places.",
                code="unexpected",
            )
        known.__cause__ = error
        return known.at(connection=self.connection, goal=self.goal)

    def _run(self, context: Context, work: Callable[[RunContext, Context], StepResult]) -> StepResult:
        from crosswalk.steps import open_run

        for library in _CHATTY:
            logging.getLogger(library).setLevel(logging.WARNING)
        request = request_of(
            context,
            connection_file=self.connection_file,
            connection=self.connection,
            tenant_folder=self.tenant_folder,
        )
        with open_run(request, resolve=resolve, progress=self.log.info) as run:
            return work(run, context)

    def run_step(self, run: RunContext, context: Context) -> StepResult:
        """Call the step; operators with more to say override this."""
        from crosswalk.steps import STEPS

        return STEPS[self.step](run, self.goal)


def told(error: CrosswalkError, log: Any) -> CrosswalkError:
    """Prepare an error for Airflow's log: the message is the whole story.

    Below debug level the traceback is taken off. An unexpected error keeps the places it passed (file, line, function)
    as one log line, without the texts of the original error, which may quote a customer's value.
    """
    log.error("Help: docs/troubleshooting.md#%s", error.code)
    if _debugging():
        return error
    cause = error.__cause__
    if isinstance(error, FatalError) and error.code == "unexpected" and cause is not None:
        places = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(cause.__traceback__)
        ]
        log.error("%s at:\n  %s", type(cause).__name__, "\n  ".join(places))
    return error.with_traceback(None)


def _debugging() -> bool:
    """Whether Airflow logs at debug level, where the whole chain of errors may be shown."""
    from airflow.sdk.configuration import conf

    return str(conf.get("logging", "logging_level", fallback="INFO")).upper() == "DEBUG"
