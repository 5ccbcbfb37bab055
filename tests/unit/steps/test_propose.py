"""Which file is the primary one, what recognises a profile, and how properties are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosswalk.config.tenant import Property
from crosswalk.core.names import fold
from crosswalk.engine.decode import LocalFile
from crosswalk.engine.detect_values import Column
from crosswalk.engine.session import open_session
from crosswalk.steps.propose import Proposal, property_ids, propose
from crosswalk.steps.sample import sample_local


def proposal(folder: Path, known: dict[str, Property] | None = None, **files: str) -> Proposal:
    paths = []
    for name, text in files.items():
        path = folder / f"{name}.csv"
        path.write_text(text)
        paths.append(LocalFile(path, f"/in/{name}.csv"))
    with open_session(folder / "tmp", threads=1) as session:
        return propose(sample_local(session, paths, folder / "work").files, known or {})


def identifiers(found: Proposal) -> list[tuple[str, str]]:
    return [(target.field, target.property_id) for target in found.identifiers]


def test_a_declared_identifier_goes_before_the_values(tmp_path: Path) -> None:
    known = {"Card": Property(type="text", identifier="unique"), "mail": Property(type="text")}
    found = proposal(tmp_path, known, p="mail;card\nan@x.org;7\nbo@x.org;8\n")
    assert identifiers(found) == [("p.card", "Card")]


def test_addresses_go_to_the_declared_property_of_that_kind(tmp_path: Path) -> None:
    known = {"email": Property(type="email", identifier="unique")}
    assert identifiers(proposal(tmp_path, known, p="contact;n\nan@x.org;7\n")) == [("p.contact", "email")]


@pytest.mark.parametrize(
    ("text", "field", "uncertain"),
    [
        ("name;member_id\nAn;7\nBo;8\n", "p.member_id", False),
        ("name;member_id\nAn;7\nBo;7\n", "p.name", True),
        ("name;city\nAn;Gent\nAn;Gent\n", "p.name", True),
    ],
)
def test_a_key_must_be_filled_and_unique_or_it_is_said_to_be_open(
    tmp_path: Path, text: str, field: str, uncertain: bool
) -> None:
    (target,) = proposal(tmp_path, p=text).identifiers
    assert (target.field, "UNCERTAIN" in target.reason) == (field, uncertain)


def test_a_row_key_is_only_proposed_where_it_is_one(tmp_path: Path) -> None:
    assert proposal(tmp_path, p="email;n\nan@x.org;7\nbo@x.org;8\n").row_key == "p.email"
    assert proposal(tmp_path, p="email;n\nan@x.org;7\nan@x.org;8\n").row_key is None


def test_an_id_of_the_other_file_links_by_the_files_name(tmp_path: Path) -> None:
    found = proposal(
        tmp_path,
        customers="id,email\n1,an@x.org\n2,bo@x.org\n",
        orders="id,customer_id\n10,1\n11,1\n12,2\n",
    )
    assert [sample.name for sample in found.files] == ["orders", "customers"]
    link = found.links["customers"]
    assert (link.column, f"{link.to_file}.{link.to_column}") == ("id", "orders.customer_id")


@pytest.mark.parametrize(
    "customers",
    ["customer_nr,email\n7,an@x.org\n8,bo@x.org\n", "customer_nr,email\n1,an@x.org\n1,bo@x.org\n"],
    ids=["values that are not found", "a key that is twice"],
)
def test_a_link_that_the_sample_does_not_show_is_not_proposed(tmp_path: Path, customers: str) -> None:
    found = proposal(tmp_path, customers=customers, orders="order_nr,customer_nr\n10,1\n11,1\n12,2\n")
    assert found.links == {}
    assert len(found.notes) == 1


def test_two_files_never_write_one_property(tmp_path: Path) -> None:
    found = proposal(
        tmp_path,
        customers="customer_nr,email,title\n1,an@x.org,Mrs\n2,bo@x.org,Mr\n",
        orders="order_nr,customer_nr,title\n10,1,Lamp\n11,1,Lamp\n12,2,Bed\n",
    )
    written = [target.property_id for target in found.mappings]
    assert written == ["order_nr", "customer_nr", "title", "customers_title"]


def test_ids_of_properties_are_plain_and_distinct() -> None:
    columns = [Column(name) for name in ("Caf\u00e9 & Bar", "caf\u00e9-bar", "\u65e5\u672c", "x" * 300)]
    found = property_ids(columns, {"CAFE_BAR": Property()})
    assert list(found.values()) == ["CAFE_BAR", "CAFE_BAR_2", "column_3", "x" * 60]
    assert fold("  \u00c9t\u00e9 2026! ") == "ete_2026"
