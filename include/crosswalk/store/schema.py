"""The store's tables, as one list of migrations that both backends run.

Words in braces differ by backend (``Backend.tokens``): ``{text}``, ``{json}``, ``{blob}``, ``{real}`` and ``{serial}``
are column types; ``{keyed}`` ends a table that is stored in the order of its primary key, ``{roomy}`` one whose rows
change in place, ``{keyed_roomy}`` one that is both. Times are epoch milliseconds. A released migration is never
edited; a change is a new entry at the end.

Why it is shaped like this:

- The change log, the consent log and the history of files point to a ``batch`` by number instead of repeating run, goal
  and time in every row. ``(batch_no, profile_id)`` grows at its end only, which is what makes a million entries cheap;
  one profile's history is one look-up per batch.
- ``row_log`` holds what a batch overwrote in ``row_state`` (``written_by``: the batch that had written it); a row that
  a batch wrote and did not overwrite was new. So a batch can be undone whatever came after it.
- ``event_log``, ``purchase_log`` and ``product_log`` do the same for events, purchases and the descriptions of products
  (``logged.py``). What expired is no longer needed there either.
- ``group_`` and ``group_identifier`` are to groups what ``profile`` and ``profile_identifier`` are to profiles; the
  change log and row state serve both, for ids of groups and profiles never meet.
- ``profile_identifier`` is its own unique index; the other direction (identifiers of a profile) is in the document.
- A lease's row is never deleted, so its fencing number only grows.
- ``goal_run.place`` counts the saves of a run, for a clock cannot tell two within one millisecond apart.
- Batches are numbered in the order they commit (``Backend.serialise``), so the number of the last one is a position in
  the change log: what an export with that cursor has not seen has a higher number.
- An event names the batch that wrote it last: no batch writes an event twice, so the number is its version too.
- A merged profile keeps its row and its document; ``replaced_by`` leads to the profile that lives on. Row state follows
  that link when it is read, so a merge rewrites none of it. ``merge_log`` keeps what a merge overwrote and no document
  holds, ``merged_event`` which events moved: both for undo.
- A purchase outlives its event: what was bought does not change because a profile has room for 250 events. The counts
  of a product are made anew from its purchases whenever one of them changes, so nothing is ever counted twice.
"""

from __future__ import annotations

MIGRATIONS: list[list[str]] = [
    [
        """CREATE TABLE profile (
            profile_id {text} PRIMARY KEY,
            version BIGINT NOT NULL,
            properties {json} NOT NULL,
            permission_level BIGINT NOT NULL DEFAULT 2,
            legislation {text} NOT NULL DEFAULT 'NONE',
            domain_group {text} NOT NULL DEFAULT 'DEFAULT',
            created_at BIGINT NOT NULL,
            modified_at BIGINT NOT NULL,
            replaced_by {text}
        ) {roomy}""",
        """CREATE TABLE profile_identifier (
            property_id {text} NOT NULL,
            value {text} NOT NULL,
            profile_id {text} NOT NULL,
            PRIMARY KEY (property_id, value)
        ) {keyed}""",
        """CREATE TABLE group_ (
            group_id {text} PRIMARY KEY,
            version BIGINT NOT NULL,
            properties {json} NOT NULL,
            created_at BIGINT NOT NULL,
            modified_at BIGINT NOT NULL
        ) {roomy}""",
        """CREATE TABLE group_identifier (
            property_id {text} NOT NULL,
            value {text} NOT NULL,
            group_id {text} NOT NULL,
            PRIMARY KEY (property_id, value)
        ) {keyed}""",
        """CREATE TABLE goal (
            goal_id {serial} PRIMARY KEY,
            connection {text} NOT NULL,
            goal {text} NOT NULL,
            state_version BIGINT NOT NULL DEFAULT 0,
            config_hash {text},
            last_good_run_id {text},
            last_good_run_at BIGINT,
            UNIQUE (connection, goal)
        )""",
        """CREATE TABLE row_state (
            goal_id BIGINT NOT NULL,
            row_key {blob} NOT NULL,
            row_hash {blob} NOT NULL,
            profile_id {text},
            amounts {text},
            batch_no BIGINT NOT NULL,
            PRIMARY KEY (goal_id, row_key)
        ) {keyed_roomy}""",
        """CREATE TABLE row_log (
            batch_no BIGINT NOT NULL,
            row_key {blob} NOT NULL,
            row_hash {blob} NOT NULL,
            profile_id {text},
            amounts {text},
            written_by BIGINT NOT NULL,
            PRIMARY KEY (batch_no, row_key)
        ) {keyed}""",
        """CREATE TABLE source_file (
            goal_id BIGINT NOT NULL,
            path {text} NOT NULL,
            size BIGINT NOT NULL,
            modified BIGINT NOT NULL,
            sha256 {text} NOT NULL,
            seen_at {real} NOT NULL,
            role {text} NOT NULL,
            undone_by {text},
            PRIMARY KEY (goal_id, path)
        )""",
        """CREATE TABLE run (
            run_id {text} PRIMARY KEY,
            connection {text} NOT NULL,
            mode {text} NOT NULL,
            started_by {text} NOT NULL,
            config_hash {text},
            state {text} NOT NULL,
            error {text},
            started_at BIGINT NOT NULL,
            finished_at BIGINT
        )""",
        "CREATE INDEX run_by_connection ON run (connection, started_at)",
        """CREATE TABLE goal_run (
            run_id {text} NOT NULL,
            goal {text} NOT NULL,
            place BIGINT NOT NULL,
            state {text} NOT NULL,
            result {text} NOT NULL,
            PRIMARY KEY (run_id, goal)
        )""",
        """CREATE TABLE report_claim (
            run_id {text} PRIMARY KEY,
            claimed_at BIGINT NOT NULL
        )""",
        """CREATE TABLE batch (
            batch_no {serial} PRIMARY KEY,
            batch_id {text} NOT NULL UNIQUE,
            run_id {text} NOT NULL,
            connection {text} NOT NULL,
            goal_id BIGINT NOT NULL,
            config_hash {text} NOT NULL,
            counts {text} NOT NULL,
            applied_at BIGINT NOT NULL,
            is_logged BIGINT NOT NULL DEFAULT 1,
            undoes BIGINT,
            undone_by {text},
            collection {text} NOT NULL DEFAULT 'profile'
        )""",
        "CREATE INDEX batch_by_run ON batch (run_id)",
        """CREATE TABLE batch_file (
            batch_no BIGINT NOT NULL,
            path {text} NOT NULL,
            size BIGINT NOT NULL,
            modified BIGINT NOT NULL,
            sha256 {text} NOT NULL,
            role {text} NOT NULL,
            PRIMARY KEY (batch_no, path)
        )""",
        """CREATE TABLE lease (
            connection {text} PRIMARY KEY,
            run_id {text},
            fencing BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            term_ms BIGINT NOT NULL
        )""",
        """CREATE TABLE change_log (
            batch_no BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            version BIGINT NOT NULL,
            kind {text} NOT NULL,
            changes {json},
            PRIMARY KEY (batch_no, profile_id)
        ) {keyed}""",
        """CREATE TABLE consent_log (
            batch_no BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            objective {text} NOT NULL,
            state {text} NOT NULL,
            file {text},
            line BIGINT
        )""",
        "CREATE INDEX consent_log_by_profile ON consent_log (profile_id)",
        """CREATE TABLE quarantine (
            run_id {text} NOT NULL,
            goal {text} NOT NULL,
            row_id BIGINT,
            file {text},
            line BIGINT,
            field {text},
            stage {text},
            scope {text},
            reason {text},
            message {text},
            raw {text},
            replayed_by {text}
        )""",
        "CREATE INDEX quarantine_by_run ON quarantine (run_id, goal)",
        """CREATE TABLE export_cursor (
            goal_id BIGINT PRIMARY KEY,
            batch_no BIGINT NOT NULL,
            read_at BIGINT NOT NULL,
            config_hash {text} NOT NULL
        )""",
        """CREATE TABLE outbox (
            outbox_no {serial} PRIMARY KEY,
            run_id {text} NOT NULL,
            goal_id BIGINT NOT NULL,
            state {text} NOT NULL,
            batch_no BIGINT NOT NULL,
            read_at BIGINT NOT NULL,
            config_hash {text} NOT NULL,
            counts {text} NOT NULL,
            planned_at BIGINT NOT NULL,
            changed_at BIGINT NOT NULL
        )""",
        "CREATE INDEX outbox_by_goal ON outbox (goal_id, state)",
        """CREATE TABLE outbox_file (
            outbox_no BIGINT NOT NULL,
            path {text} NOT NULL,
            size BIGINT NOT NULL,
            sha256 {text} NOT NULL,
            PRIMARY KEY (outbox_no, path)
        )""",
        """CREATE TABLE exported_profile (
            goal_id BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            outbox_no BIGINT NOT NULL,
            PRIMARY KEY (goal_id, profile_id)
        ) {keyed}""",
        """CREATE TABLE event (
            profile_id {text} NOT NULL,
            type {text} NOT NULL,
            event_id {text} NOT NULL,
            date BIGINT NOT NULL,
            priority BIGINT NOT NULL,
            expires_at BIGINT,
            batch_no BIGINT NOT NULL,
            data {json} NOT NULL,
            file {text},
            line BIGINT,
            PRIMARY KEY (profile_id, type, event_id)
        ) {roomy}""",
        "CREATE INDEX event_by_expiry ON event (expires_at) WHERE expires_at IS NOT NULL",
        """CREATE TABLE event_log (
            batch_no BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            type {text} NOT NULL,
            event_id {text} NOT NULL,
            date BIGINT NOT NULL,
            priority BIGINT NOT NULL,
            expires_at BIGINT,
            data {json} NOT NULL,
            file {text},
            line BIGINT,
            written_by BIGINT NOT NULL,
            PRIMARY KEY (batch_no, profile_id, type, event_id)
        ) {keyed}""",
        "CREATE INDEX event_log_by_expiry ON event_log (expires_at) WHERE expires_at IS NOT NULL",
        """CREATE TABLE purchase (
            product_id {text} NOT NULL,
            profile_id {text} NOT NULL,
            type {text} NOT NULL,
            event_id {text} NOT NULL,
            bought_at BIGINT NOT NULL,
            items BIGINT NOT NULL,
            batch_no BIGINT NOT NULL,
            PRIMARY KEY (profile_id, type, event_id, product_id)
        ) {keyed}""",
        """CREATE TABLE purchase_log (
            batch_no BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            type {text} NOT NULL,
            event_id {text} NOT NULL,
            product_id {text} NOT NULL,
            bought_at BIGINT NOT NULL,
            items BIGINT NOT NULL,
            written_by BIGINT NOT NULL,
            PRIMARY KEY (batch_no, profile_id, type, event_id, product_id)
        ) {keyed}""",
        "CREATE INDEX purchase_by_product ON purchase (product_id, bought_at, items)",
        """CREATE TABLE product (
            product_id {text} PRIMARY KEY,
            name {text},
            details {json} NOT NULL,
            described_at BIGINT NOT NULL,
            bought_count BIGINT,
            last_bought_at BIGINT,
            batch_no BIGINT NOT NULL
        ) {roomy}""",
        """CREATE TABLE product_log (
            batch_no BIGINT NOT NULL,
            product_id {text} NOT NULL,
            name {text},
            details {json} NOT NULL,
            described_at BIGINT NOT NULL,
            written_by BIGINT NOT NULL,
            PRIMARY KEY (batch_no, product_id)
        ) {keyed}""",
    ],
    [
        "CREATE INDEX profile_by_successor ON profile (replaced_by) WHERE replaced_by IS NOT NULL",
        """CREATE TABLE merge_log (
            batch_no BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            living_id {text} NOT NULL,
            permission_level BIGINT NOT NULL,
            legislation {text} NOT NULL,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (batch_no, profile_id)
        ) {keyed}""",
        """CREATE TABLE merged_event (
            batch_no BIGINT NOT NULL,
            profile_id {text} NOT NULL,
            type {text} NOT NULL,
            event_id {text} NOT NULL,
            event_batch BIGINT NOT NULL,
            PRIMARY KEY (batch_no, profile_id, type, event_id)
        ) {keyed}""",
    ],
]

LATEST = len(MIGRATIONS)
