"""``ApprovePlanOperator``: the ``approve`` step as a task that waits for a person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import HITLOperator

from crosswalk.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from crosswalk.steps import RunContext, StepResult

AGREE, REJECT = "Agree", "Reject"


def waiting_time() -> timedelta:
    """How long a question stays open: ``CROSSWALK_APPROVAL_HOURS``, else 24."""
    return timedelta(hours=float(os.environ.get("CROSSWALK_APPROVAL_HOURS", "24")))


class ApprovePlanOperator(StepOperator, HITLOperator):
    """Ask a person whether the plan may be written.

    Goes on at once when there is nothing to ask. Else the task waits for input, which takes no worker: Airflow shows
    counts and reasons under *Required Actions*. A plan that is rejected, or that nobody answers for, stays unwritten.

    Example:
        >>> task = ApprovePlanOperator(task_id="approve", connection_file="/x/s.yaml", connection="shop", goal="orders")
        >>> task.options
        ['Agree', 'Reject']
    """

    step: ClassVar[str] = "approve"
    template_fields: Sequence[str] = ()
    ui_color = "#f7d9d9"

    def __init__(self, **kwargs: Any) -> None:
        question = f"May the plan of goal {kwargs.get('goal')} be written?"
        super().__init__(subject=question, options=[AGREE, REJECT], response_timeout=waiting_time(), **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Go on, or put the question and wait; ``execute_complete`` takes the answer."""
        result = self._translated(lambda: self._run(context, self.run_step))
        if result.state != "held":
            return self._counts(result)
        HITLOperator.execute(self, context)
        raise AssertionError("unreachable: a question ends this process")

    def run_step(self, run: RunContext, context: Context) -> StepResult:
        """Run the step; when a person must be asked, prepare the question and mail it."""
        from crosswalk.steps.approve import tell
        from crosswalk.steps.mail import goal_lines

        result = super().run_step(run, context)
        if result.state == "held":
            if run.connection.goal(str(self.goal)).direction == "out":
                self.subject = f"May the file of goal {self.goal} be sent?"
            goals = (run.store.run(run.run_id) or {}).get("goals", [])
            lines = [line for goal in goals if goal["goal"] == self.goal for line in goal_lines(goal, run.name)[1:]]
            self.body = "\n".join(f"- {_plain(line)}" for line in lines)
            for line in lines:
                self.log.info("%s", line.strip())
            self.log.info("Mail: %s", tell(run, str(self.goal), self.generate_link_to_ui_from_context(context=context)))
        return result

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take the answer: go on, or end the goal as ``held``."""
        agrees = event.get("chosen_options") == [AGREE]
        user = event.get("responded_by_user") or {}
        by = None if "error" in event else str(user.get("name") or user.get("id") or "a person")

        def take(run: RunContext, context: Context) -> StepResult:
            from crosswalk.steps import record_outcome
            from crosswalk.steps.approve import answer

            return record_outcome(run, self.step, self.goal, lambda run, goal: answer(run, goal, by=by, agrees=agrees))

        return self._counts(self._translated(lambda: self._run(context, take)))


def _plain(line: str) -> str:
    """A line as text of Markdown: names of reasons hold underscores, titles may hold anything."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!" else letter for letter in line.strip())
