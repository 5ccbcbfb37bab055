"""Names of connection kinds, processors and stores, each with the class that stands behind it.

A class is imported when it is first asked for, so that listing the names costs nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from crosswalk.core.errors import ConfigError
from crosswalk.core.names import display

_TARGET = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


class Registry:
    """Names and the places of their classes; a name taken twice is an error, never a silent override.

    Args:
        subject: what the names stand for, in the singular, as messages say it: ``processor``.
        entries: pairs of a name and ``module:Class``. Pairs rather than a dict, so that a name given twice is seen.

    Example:
        >>> kinds = Registry("connection kind", [("sftp", "crosswalk.connectors.sftp:Sftp")])
        >>> kinds.names
        ('sftp',)
    """

    def __init__(self, subject: str, entries: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        self.subject = subject
        self._targets: dict[str, str] = {}
        for name, target in entries.items() if isinstance(entries, Mapping) else entries:
            self.add(name, target)

    def add(self, name: str, target: str) -> None:
        """Register ``module:Class`` under a name.

        Raises:
            ConfigError: the name is taken, or the target is not of that form.
        """
        if not _TARGET.match(target):
            raise ConfigError(
                f'The {self.subject} "{display(name)}" points at "{display(target)}".',
                remedy="Write it as module:Class.",
                code="bad_registration",
            )
        if name in self._targets:
            raise ConfigError(
                f'The {self.subject} "{display(name)}" is registered twice: {self._targets[name]} and {target}.',
                remedy="Give one of them another name.",
                code="duplicate_registration",
            )
        self._targets[name] = target

    def get(self, name: str) -> Any:
        """The class behind a name.

        Raises:
            ConfigError: nobody registered that name (near matches are named), or its module cannot be imported.
        """
        target = self._targets.get(name)
        if target is None:
            raise self._unknown(name)
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f'The {self.subject} "{display(name)}" could not be loaded from {target}: {display(error)}.',
                remedy="Correct the registration, or install what it needs.",
                code="unloadable_registration",
            ) from error

    def _unknown(self, name: str) -> ConfigError:
        near = difflib.get_close_matches(name.lower(), self._targets, n=1, cutoff=0.6)
        hint = f'Did you mean "{near[0]}"? ' if near else ""
        known = ", ".join(self.names) or "none"
        return ConfigError(
            f'There is no {self.subject} "{display(name)}".',
            remedy=f"{hint}Known: {known}.",
            code=f"unknown_{self.subject.replace(' ', '_')}",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._targets))

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self._targets)
