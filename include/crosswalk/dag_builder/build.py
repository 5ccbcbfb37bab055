"""From connection files to DAGs: one DAG per YAML file, one failure per file.

``dags/connections.py`` calls ``build_dags``; everything the DAG processor, the scheduler and each task see of a
connection is made here. Three things shape this module:

- A task parses this too, so it looks at the one file that its DAG comes from, and nothing heavy is imported.
- The same files must give the same DAGs: no clock, no chance, no sets.
- One broken file hides nothing: it becomes a small DAG that shows and raises the findings.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    DAG,
    Asset,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    ExceptionRetryPolicy,
    MultipleCronTriggerTimetable,
    Param,
    RetryAction,
    RetryRule,
    TaskGroup,
)
from airflow.sdk.definitions.param import ParamsDict

from crosswalk.config.checks import check_connection
from crosswalk.config.connection import slug
from crosswalk.config.loader import (
    BrokenConnection,
    LoadedConnection,
    LoadedTenant,
    find_tenant_folder,
    load_connection,
    load_connections,
    load_tenant,
)
from crosswalk.config.schedule import plan_schedule
from crosswalk.connectors import KINDS
from crosswalk.core.errors import ConfigError, FatalError, Finding, RejectedError, RetryableError
from crosswalk.dag_builder.page import DIRECTIONS, document, document_broken, short
from crosswalk.operators.apply import ApplyPlanOperator
from crosswalk.operators.authenticate import AuthenticateOperator
from crosswalk.operators.export_files import ExportFilesOperator
from crosswalk.operators.finish import FinishFilesOperator
from crosswalk.operators.first_step import FirstStepOperator
from crosswalk.operators.join import JoinFilesOperator
from crosswalk.operators.link import LinkIdentifiersOperator
from crosswalk.operators.map_properties import MapPropertiesOperator
from crosswalk.operators.process import ProcessRowsOperator
from crosswalk.operators.refuse import RefuseConnectionOperator
from crosswalk.operators.render_files import RenderFilesOperator
from crosswalk.operators.report import ReportCrash, ReportOperator, finished_uri
from crosswalk.operators.scan import ScanFilesOperator
from crosswalk.operators.select_profiles import SelectProfilesOperator
from crosswalk.operators.step import StepOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosswalk.config.connection import Connection, Goal

log = logging.getLogger(__name__)

AnyConnection = LoadedConnection | BrokenConnection
BROKEN_TAG = "broken"
OFF_TAG = "off"
MAX_RETRY_DELAY = timedelta(minutes=10)
_HEAD = re.compile(r"^(kind|id):[ \t]*[\"']?([A-Za-z0-9_-]+)", re.MULTILINE)
_TASK_NAMES = ("authenticate", "report")
FIRST_OPERATORS: dict[str, type[FirstStepOperator]] = {
    operator.step: operator for operator in (ScanFilesOperator, SelectProfilesOperator)
}
OPERATORS: dict[str, type[StepOperator]] = {
    operator.step: operator
    for operator in (
        JoinFilesOperator,
        ProcessRowsOperator,
        LinkIdentifiersOperator,
        MapPropertiesOperator,
        ApplyPlanOperator,
        FinishFilesOperator,
        RenderFilesOperator,
        ExportFilesOperator,
    )
}


def connections_folder(loader: str) -> Path:
    """Where the connection files are: ``CROSSWALK_CONNECTIONS``, else ``connections`` beside the loader."""
    return Path(os.environ.get("CROSSWALK_CONNECTIONS") or Path(loader).parent / "connections").resolve()


def build_dags(folder: Path, only: str | None = None) -> dict[str, DAG]:
    """Build the DAG of each connection file in a folder.

    Args:
        folder: holds ``*.yaml``.
        only: the one DAG id that is wanted; the other files are then not parsed.

    Returns:
        DAGs by id. A file that cannot be used yields a placeholder that shows why.
    """
    if alone := _only(folder, only):
        return {alone.dag_id: _build_one(alone, list)}  # a task needs no page
    found = load_connections(folder)
    tenant = _load_tenant()
    dags = {item.dag_id: _build_one(item, partial(_findings, item, tenant, found)) for item in found}
    return {only: dags[only]} if only in dags else dags


def _only(folder: Path, dag_id: str | None) -> LoadedConnection | None:
    """The connection behind a DAG id, when its file can be told from the first keys alone and is in order."""
    for path in sorted(folder.glob("*.y*ml")) if dag_id else []:
        if expected_id(path) == dag_id:
            try:
                return load_connection(path)
            except ConfigError:
                return None
    return None


def expected_id(path: Path) -> str:
    """The DAG id that a readable file leads to, told from its first keys without parsing it."""
    try:
        head = dict(reversed(_HEAD.findall(path.read_text(encoding="utf-8", errors="replace"))))
    except OSError:
        head = {}
    return f"{head.get('kind')}__{head.get('id') or slug(path.stem)}"


def _build_one(item: AnyConnection, check: Callable[[], list[Finding]]) -> DAG:
    error: Exception
    if isinstance(item, LoadedConnection):
        try:
            return build_dag(item, check())
        except Exception as unexpected:  # noqa: BLE001 - whatever is wrong with one file must not hide the others
            error = unexpected
    else:
        error = item.error
    log.error("The connection file %s cannot be used: %s", item.path, short(error))
    return broken_dag(item, error)


def build_dag(loaded: LoadedConnection, findings: list[Finding]) -> DAG:
    """The DAG of one connection: authenticate, then each goal in order, then report."""
    connection, name = loaded.model, loaded.name
    tenant_folder = str(find_tenant_folder())
    place = {"connection_file": str(Path(loaded.path).resolve()), "connection": name, "tenant_folder": tenant_folder}
    owner = connection.owner.name if connection.owner else "crosswalk"
    dag = DAG(
        dag_id=loaded.dag_id,
        dag_display_name=connection.title,
        description=connection.description or None,
        doc_md=document(loaded, findings),
        schedule=_timetable(connection),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=not connection.enabled,
        tags=_tags(connection, findings),
        default_args={
            "owner": owner,
            "retries": connection.retries,
            "retry_delay": timedelta(seconds=float(os.environ.get("CROSSWALK_RETRY_SECONDS", "30"))),
            "retry_exponential_backoff": 2,
            "max_retry_delay": MAX_RETRY_DELAY,
            "retry_policy": retry_policy(),
        },
        owner_links={owner: f"mailto:{connection.owner.email}"} if connection.owner and connection.owner.email else {},
        on_failure_callback=ReportCrash(place["connection_file"], name, tenant_folder),
    )
    with dag:
        _add_tasks(connection, place)
    # After the tasks, because a task copies the params that its DAG has when it is made, and serialises them again; and
    # past the validator, which checks the same six schemas for each connection at more cost than all the rest.
    object.__setattr__(dag, "params", ParamsDict(run_params(connection)))
    return dag


def _add_tasks(connection: Connection, place: dict[str, str]) -> None:
    authenticate = AuthenticateOperator(task_id="authenticate", **place)
    report = ReportOperator(task_id="report", trigger_rule="all_done", **place)
    earlier: list[str] = []
    previous: StepOperator | None = None
    for goal in connection.goals:
        with TaskGroup(group_id=_group_id(goal.name), tooltip=_goal_text(goal)):
            first_step, *further_steps = connection.steps_of(goal)
            first = FIRST_OPERATORS[first_step](
                task_id=first_step,
                goal=goal.name,
                authenticated_by="authenticate" if previous else None,
                stop_after=tuple(earlier) if connection.stop_on_failure else (),
                trigger_rule="all_done" if previous else "all_success",
                **place,
            )
            last: StepOperator = first
            for step in further_steps:
                task = _operator(step)(task_id=step, goal=goal.name, **place)
                last >> task
                last = task
        authenticate >> first
        if previous:
            previous >> first
        previous = last
        earlier.append(goal.name)
        last >> report


def _operator(step: str) -> type[StepOperator]:
    """The operator of a step; the one that asks people is imported only by connections that ask."""
    if step == "approve":
        from crosswalk.operators.approve import ApprovePlanOperator

        return ApprovePlanOperator
    return OPERATORS[step]


def _group_id(goal: str) -> str:
    return f"{goal}_goal" if goal in _TASK_NAMES else goal


def retry_policy() -> ExceptionRetryPolicy:
    """Retry what can pass by itself; stop at once where a person must change or look at something."""
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=ConfigError, action=RetryAction.FAIL, reason="the configuration must be changed"),
            RetryRule(exception=[FatalError, RejectedError], action=RetryAction.FAIL, reason="a person must look"),
            RetryRule(
                exception=[RetryableError, ConnectionError, TimeoutError],
                action=RetryAction.RETRY,
                reason="this may pass by itself",
            ),
        ]
    )


def run_params(connection: Connection) -> dict[str, Param]:
    """What a person chooses when triggering a run; the defaults are those of a scheduled run."""
    names = [goal.name for goal in connection.goals]
    return {
        "mode": Param(
            "apply",
            type="string",
            enum=["apply", "plan"],
            values_display={"apply": "Apply: change the profiles", "plan": "Plan: compute everything, change nothing"},
            title="Mode",
            description="What a plan found is in the log of the task report.",
        ),
        "goals": Param(
            [],
            type=["null", "array"],  # without null the form marks it as required
            items={"type": "string", "enum": names},
            examples=names,
            uniqueItems=True,
            title="Goals",
            description="None chosen: all that are switched on.",
        ),
        "full": Param(
            False,
            type="boolean",
            title="Full run",
            description="Read everything again, also files and rows that did not change.",
        ),
        "since": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Files from",
            description="Only with mode Plan: files of this day or later.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Files before",
            description="Only with mode Plan: files of earlier days.",
        ),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Rows",
            description="Only with mode Plan: at most this many.",
        ),
        "replay": Param(
            None,
            type=["null", "string"],
            title="Replay the rejects of run",
            description="Reads again what this run set aside, and nothing else: a run id as crosswalk runs lists it.",
        ),
    }


def _timetable(connection: Connection) -> Any:
    """Airflow's schedule for the connection; none while it is switched off in its file."""
    spec = plan_schedule(connection.schedule, connection.timezone)
    if not connection.enabled or spec.kind == "manual":
        return None
    if spec.kind == "after":
        return [Asset(uri=finished_uri(name)) for name in spec.after]
    if spec.kind == "interval":
        return DeltaTriggerTimetable(timedelta(minutes=spec.minutes or 0))
    if len(spec.crons) == 1:
        return CronTriggerTimetable(spec.crons[0], timezone=spec.timezone)
    return MultipleCronTriggerTimetable(*spec.crons, timezone=spec.timezone)


def _tags(connection: Connection, findings: list[Finding]) -> list[str]:
    directions = [DIRECTIONS[direction] for direction in sorted({goal.direction for goal in connection.goals})]
    states = [OFF_TAG] if not connection.enabled else []
    if any(finding.severity == "error" for finding in findings):
        states.append(BROKEN_TAG)
    return list(dict.fromkeys([connection.kind, *directions, *states, *connection.labels]))


def _load_tenant() -> LoadedTenant | ConfigError:
    try:
        return load_tenant(find_tenant_folder())
    except ConfigError as error:
        return error


def _findings(loaded: AnyConnection, tenant: LoadedTenant | ConfigError, others: list[AnyConnection]) -> list[Finding]:
    """What the check says about the connection; a tenant model that cannot be read is an error of each connection."""
    if isinstance(loaded, BrokenConnection):
        return loaded.error.findings
    if isinstance(tenant, ConfigError):
        return tenant.findings or [Finding("error", tenant.code, str(tenant))]
    return check_connection(loaded, tenant, others, kinds=KINDS.names)


def _goal_text(goal: Goal) -> str:
    state = "" if goal.enabled else " (switched off)"
    return f"{DIRECTIONS[goal.direction]} goal {goal.name}{state}"


def broken_dag(broken: AnyConnection, error: Exception) -> DAG:
    """A DAG that stands for a file that cannot be used: its page and its only task say why."""
    with DAG(
        dag_id=broken.dag_id,
        dag_display_name=f"{broken.path.stem} (broken)",
        description="This connection file cannot be used.",
        doc_md=document_broken(broken.path, error),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=[BROKEN_TAG],
    ) as dag:
        RefuseConnectionOperator(task_id="check", message=short(error), retries=0, owner="crosswalk")
    return dag
