"""The whole error tree, ordered by what the caller should do.

::

    CrosswalkError
    ├── ConfigError          fix the file or the setting, then run again
    │   └── AuthenticationError   the system refused the login or its key is not trusted
    ├── RetryableError       try again later; nothing was changed
    │   ├── LeaseTakenError       another run of this connection is writing
    │   └── SourceChangedError    a file moved while it was read
    ├── RejectedError        this file or row only; the rest goes on
    └── FatalError           stop, a person must look
        └── LeaseLostError        this run was overtaken and may no longer write

Every message says who, where, what and what to do. Secrets and personal values never enter a message.
"""

from __future__ import annotations

from dataclasses import dataclass


class CrosswalkError(Exception):
    """Base of every error that Crosswalk raises on purpose.

    Args:
        message: what happened, in one sentence, with the place.
        remedy: what the reader should do about it.
        code: a stable short name, the anchor in ``docs/troubleshooting.md``.
        connection: the connection's name, when known.
        goal: the goal's name, when known.
        file: the file concerned, when there is one.
        line: its 1-based line, when known.
    """

    code = "error"
    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        code: str | None = None,
        connection: str | None = None,
        goal: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.message = message
        self.remedy = remedy
        self.code = code or type(self).code
        self.connection = connection
        self.goal = goal
        self.file = file
        self.line = line
        super().__init__(message)

    def at(self, *, connection: str | None = None, goal: str | None = None) -> CrosswalkError:
        """Fill in the place where the thrower did not know it; returns the same error."""
        self.connection = self.connection or connection
        self.goal = self.goal or goal
        return self

    def __str__(self) -> str:
        place = []
        if self.connection:
            place.append(f'Connection "{self.connection}"')
        if self.goal:
            place.append(f'goal "{self.goal}"')
        if self.file:
            place.append(f"file {self.file}" + (f" line {self.line}" if self.line else ""))
        head = ", ".join(place)
        text = f"{head}: {self.message}" if head else self.message
        return f"{text} {self.remedy}".rstrip()


@dataclass(frozen=True)
class Finding:
    """One problem or hint about a configuration, as ``check`` prints it.

    Attributes:
        severity: ``error``, ``warning`` or ``info``; only errors stop a run.
        code: a stable short name, for example ``existing_property``.
        message: what is wrong and what to do.
        file: the YAML file.
        line: 1-based line in that file, or None where the problem has no line.
    """

    severity: str
    code: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.severity} [{self.code}] {self.message}"


class ConfigError(CrosswalkError):
    """The configuration must be changed; running again as it is cannot help.

    ``findings`` lists all problems that were found, each with its file and line.
    """

    code = "configuration"
    exit_code = 2

    def __init__(self, message: str, *, findings: list[Finding] | None = None, **place: object) -> None:
        self.findings = findings or []
        super().__init__(message, **place)  # type: ignore[arg-type]

    def __str__(self) -> str:
        text = super().__str__()
        return "\n".join([text, *(f"  {finding}" for finding in self.findings)])


class AuthenticationError(ConfigError):
    """A system refused the login, or its host key is unknown or has changed."""

    code = "authentication"


class RetryableError(CrosswalkError):
    """A passing condition (network, lock, full disk): the same call may succeed later."""

    code = "try_again"


class LeaseTakenError(RetryableError):
    """Another run of the same connection holds the lease; this run ends as ``busy``."""

    code = "busy"
    exit_code = 5


class SourceChangedError(RetryableError):
    """A source file changed, grew or vanished while it was read."""

    code = "source_changed"


class RejectedError(CrosswalkError):
    """One file cannot be taken as a whole; it is rejected alone and the others go on."""

    code = "rejected"


class FatalError(CrosswalkError):
    """Stop: a person must look before anything runs again."""

    code = "fatal"


class LeaseLostError(FatalError):
    """The lease of this run passed to another run; nothing of this run may be written any more."""

    code = "lease_lost"
