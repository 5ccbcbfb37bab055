"""The two collections of documents that batches write: profiles, and groups.

A group is stored, planned and changed as a profile is; only its tables differ. Plans call the id of either
``profile_id``.
"""

from __future__ import annotations

from dataclasses import dataclass

from crosswalk.store.backend import RowStatement

INSERT_PROFILE = RowStatement(
    "profile_insert",
    {"profile_id": "text", "version": "int", "properties": "json", "created_at": "int", "modified_at": "int"},
    "INSERT INTO profile (profile_id, version, properties, created_at, modified_at) "
    "{select} {profile_id}, {version}, {properties}, {created_at}, {modified_at} {rows}",
    plain_insert="profile",
)
UPDATE_PROFILE = RowStatement(
    "profile_update",
    {"profile_id": "text", "version": "int", "properties": "json", "at": "int"},
    "UPDATE profile SET version = {version} + 1, properties = {properties}, modified_at = {at} {from} "
    "WHERE profile.profile_id = {profile_id} AND profile.version = {version} AND profile.replaced_by IS NULL",
)
LOG_CHANGE = RowStatement(
    "change",
    {"batch_no": "int", "profile_id": "text", "version": "int", "kind": "text", "changes": "json"},
    "INSERT INTO change_log (batch_no, profile_id, version, kind, changes) "
    "{select} {batch_no}, {profile_id}, {version}, {kind}, {changes} {rows}",
    plain_insert="change_log",
)
_IDENTIFIER = {"property_id": "text", "value": "text", "profile_id": "text"}
REMOVE_IDENTIFIER = RowStatement(
    "identifier_remove",
    _IDENTIFIER,
    "DELETE FROM profile_identifier {using} WHERE profile_identifier.property_id = {property_id} "
    "AND profile_identifier.value = {value} AND profile_identifier.profile_id = {profile_id}",
)
ADD_IDENTIFIER = RowStatement(
    "identifier_add",
    _IDENTIFIER,
    "INSERT INTO profile_identifier (property_id, value, profile_id) "
    "{select} {property_id}, {value}, {profile_id} {rows}",
    plain_insert="profile_identifier",
)
# A row of the same profile counts as written; a row of another profile does not, which is how a conflict shows.
CLAIM_IDENTIFIER = RowStatement(
    "identifier_claim",
    _IDENTIFIER,
    "INSERT INTO profile_identifier (property_id, value, profile_id) "
    "{select} {property_id}, {value}, {profile_id} {rows} ON CONFLICT (property_id, value) DO UPDATE "
    "SET profile_id = excluded.profile_id WHERE profile_identifier.profile_id = excluded.profile_id",
)
INSERT_GROUP = RowStatement(
    "group_insert",
    {"profile_id": "text", "version": "int", "properties": "json", "created_at": "int", "modified_at": "int"},
    "INSERT INTO group_ (group_id, version, properties, created_at, modified_at) "
    "{select} {profile_id}, {version}, {properties}, {created_at}, {modified_at} {rows}",
)
UPDATE_GROUP = RowStatement(
    "group_update",
    {"profile_id": "text", "version": "int", "properties": "json", "at": "int"},
    "UPDATE group_ SET version = {version} + 1, properties = {properties}, modified_at = {at} {from} "
    "WHERE group_.group_id = {profile_id} AND group_.version = {version}",
)
REMOVE_GROUP_IDENTIFIER = RowStatement(
    "group_identifier_remove",
    _IDENTIFIER,
    "DELETE FROM group_identifier {using} WHERE group_identifier.property_id = {property_id} "
    "AND group_identifier.value = {value} AND group_identifier.group_id = {profile_id}",
)
_ADD_GROUP_IDENTIFIER = (
    "INSERT INTO group_identifier (property_id, value, group_id) {select} {property_id}, {value}, {profile_id} {rows}"
)
ADD_GROUP_IDENTIFIER = RowStatement("group_identifier_add", _IDENTIFIER, _ADD_GROUP_IDENTIFIER)
NEW_GROUP_IDENTIFIER = RowStatement(
    "group_identifier_new", _IDENTIFIER, f"{_ADD_GROUP_IDENTIFIER} ON CONFLICT (property_id, value) DO NOTHING"
)
CLAIM_GROUP_IDENTIFIER = RowStatement(
    "group_identifier_claim",
    _IDENTIFIER,
    f"{_ADD_GROUP_IDENTIFIER} ON CONFLICT (property_id, value) DO UPDATE SET group_id = excluded.group_id "
    "WHERE group_identifier.group_id = excluded.group_id",
)


@dataclass(frozen=True)
class Collection:
    """Where a batch's documents go.

    Attributes:
        table: the documents.
        key: the column with their id.
        living: what holds for a document that is not merged away.
        insert, update: of documents.
        remove, add, claim: of the values of unique identifiers; ``claim`` leaves values of others where they are.
    """

    table: str
    key: str
    living: str
    insert: RowStatement
    update: RowStatement
    remove: RowStatement
    add: RowStatement
    claim: RowStatement


PROFILE = Collection(
    "profile",
    "profile_id",
    "replaced_by IS NULL",
    INSERT_PROFILE,
    UPDATE_PROFILE,
    REMOVE_IDENTIFIER,
    ADD_IDENTIFIER,
    CLAIM_IDENTIFIER,
)
GROUP = Collection(
    "group_",
    "group_id",
    "group_id IS NOT NULL",
    INSERT_GROUP,
    UPDATE_GROUP,
    REMOVE_GROUP_IDENTIFIER,
    ADD_GROUP_IDENTIFIER,
    CLAIM_GROUP_IDENTIFIER,
)
COLLECTIONS = {"profile": PROFILE, "group": GROUP}
