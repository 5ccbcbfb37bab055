"""The first step: prove host key, login and rights before anything else, and fix the configuration of the run."""

from __future__ import annotations

from crosswalk.config.checks import check_connection
from crosswalk.config.connection import ImportGoal
from crosswalk.core.errors import AuthenticationError, ConfigError
from crosswalk.processors import parse_processors
from crosswalk.steps.context import RunContext, keep_configuration
from crosswalk.steps.result import StepResult


def authenticate(context: RunContext, goal: str | None = None) -> StepResult:
    """Refuse a configuration with errors, then log in and check each right the goals need.

    Raises:
        ConfigError: the request has no meaning, or the configuration has errors; all of them are listed.
        AuthenticationError: login refused, host key unknown, or a right is missing.
    """
    request = context.request
    request.check()
    for name in request.goals:
        context.goal(name)
    errors = [
        finding for finding in check_connection(context.loaded, context.tenant, []) if finding.severity == "error"
    ]
    if errors:
        raise ConfigError(f"The configuration has {len(errors)} error(s).", findings=errors, connection=context.name)
    for wanted in context.connection.goals:
        if isinstance(wanted, ImportGoal):
            parse_processors(wanted)
    keep_configuration(context)
    context.store.begin_run(context.run_id, context.name, request.mode, request.trigger, context.loaded.fingerprint)
    goals = [goal for goal in context.connection.goals if context.wants(goal)]
    if not goals:
        off = "No goal of this connection is switched on."
        return StepResult(
            state="skipped", reason=off if context.connection.enabled else "The connection is switched off."
        )
    with context.connector() as connector:
        rights = connector.check(goals, try_writing=context.writes)
    missing = [right for right in rights if not right.ok]
    if missing and missing[0].error is not None and len(missing) == 1:
        raise missing[0].error
    if missing:
        text = "; ".join(f"{right.name}: {right.message}" for right in missing)
        raise AuthenticationError(f"The login works, but rights are missing: {text}.", connection=context.name)
    return StepResult(summary={"rights": [right.name for right in rights]})
