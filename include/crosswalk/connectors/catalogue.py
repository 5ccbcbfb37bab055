"""The catalogue of connection kinds: what each connects to, for a person who looks for one."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass


@dataclass(frozen=True)
class KindEntry:
    """One kind of connection.

    Attributes:
        name: as ``kind`` says it.
        title: as people call the system.
        description: what flows, in which direction.
        terms: other words under which it is looked for.
    """

    name: str
    title: str
    description: str
    terms: tuple[str, ...] = ()

    def matches(self, term: str) -> bool:
        """Whether every word of a search is found somewhere in the entry, in any case."""
        text = " ".join((self.name, self.title, self.description, *self.terms)).casefold()
        return all(word in text for word in term.casefold().split())


CATALOGUE = (
    KindEntry(
        "sftp",
        "SFTP",
        "Delimited files on an SFTP server: profiles, groups and events in, segments out.",
        ("csv", "file", "ssh", "tsv"),
    ),
    KindEntry("copernica", "Copernica", "Subscribers of a Copernica database, both ways.", ("mail", "marketing")),
    KindEntry("salesforce", "Salesforce", "Contacts and leads, both ways.", ("crm",)),
    KindEntry("blueconic", "BlueConic tenant", "Profiles that another tenant exposes, in.", ("cdp", "tenant")),
)


def find_kinds(term: str, available: Container[str], *, show_all: bool = False) -> list[KindEntry]:
    """The kinds that match a search; those that this release cannot run only when all are wanted."""
    return [entry for entry in CATALOGUE if (show_all or entry.name in available) and entry.matches(term)]
