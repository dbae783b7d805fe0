-- The record, first form. Ids are the sixteen bytes of their UUID: an index of them is less than half the size of the text's.
-- Moments are milliseconds since the epoch. Words are spelled as in the API. Documents are JSON. What is sealed is opened only
-- with the master key and only in its own row.
--
-- Tables that grow with traffic have an INTEGER key of their own, so that their other indexes carry a small number and new
-- rows go to the end. Queues are indexed only while something waits, so that what is settled costs nothing.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workspaces (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO workspaces (id, created_at) VALUES ('default', 0);

-- ---- keys, apps, connectors ------------------------------------------------------------------------------------------

CREATE TABLE keys (
    id           BLOB PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL UNIQUE,
    digest       BLOB NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_of_workspace ON keys (workspace_id, id);

-- Browsers that are signed in with a key. The session itself is a secret: only its SHA-256 is here.
CREATE TABLE sessions (
    digest     BLOB PRIMARY KEY,
    key_id     BLOB NOT NULL REFERENCES keys (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_key ON sessions (key_id, expires_at);

CREATE TABLE apps (
    name         TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    connector    TEXT NOT NULL,
    settings     TEXT NOT NULL,
    secrets      BLOB NOT NULL,
    origins      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    old_secrets_until INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    connector  TEXT NOT NULL,
    version    TEXT NOT NULL,
    release    INTEGER NOT NULL,
    manifest   TEXT NOT NULL,
    digest     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    signature  TEXT NOT NULL,
    source     TEXT,                               -- where it is published; none for a file
    stage      TEXT NOT NULL,
    canary     TEXT,                               -- its trial, while it is on one
    staged_at  INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (connector, version)
) STRICT;

CREATE TABLE version_changes (
    n         INTEGER PRIMARY KEY,
    connector TEXT NOT NULL,
    version   TEXT NOT NULL,
    stage     TEXT NOT NULL,
    reason    TEXT NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX version_changes_of_connector ON version_changes (connector, n);

-- Calls that were written down: a ring for each connector.
CREATE TABLE transcripts (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB NOT NULL UNIQUE,
    connector  TEXT NOT NULL,
    version    TEXT NOT NULL,
    call       TEXT NOT NULL,
    channel_id BLOB,
    broke_off  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    transcript TEXT NOT NULL
) STRICT;
CREATE INDEX transcripts_of_connector ON transcripts (connector, n);

CREATE TABLE grants (
    connector  TEXT PRIMARY KEY,
    grants     TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ---- connecting -------------------------------------------------------------------------------------------------------

CREATE TABLE connect_sessions (
    id           BLOB PRIMARY KEY,
    state_digest BLOB NOT NULL UNIQUE, -- SHA-256 of the OAuth state, which is a secret
    status       TEXT NOT NULL,
    end          TEXT NOT NULL,
    session      BLOB NOT NULL,        -- sealed
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX connect_sessions_over ON connect_sessions (expires_at);

CREATE TABLE channels (
    id           BLOB PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    app          TEXT NOT NULL,
    platform_id  TEXT NOT NULL,
    status       TEXT NOT NULL,
    channel      TEXT NOT NULL,
    poll_cursor  TEXT,                                 -- where asking goes on, of a platform without webhooks
    UNIQUE (app, platform_id)
) STRICT;
CREATE INDEX channels_of_workspace ON channels (workspace_id, id);

CREATE TABLE credentials (
    channel_id BLOB PRIMARY KEY REFERENCES channels (id),
    sealed     BLOB NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_due ON credentials (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE state (
    channel_id BLOB NOT NULL REFERENCES channels (id),
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    PRIMARY KEY (channel_id, key)
) STRICT;

-- Whose state it is, where it was ever handed from one version to another, and what it was before.
CREATE TABLE state_owners (
    channel_id   BLOB PRIMARY KEY REFERENCES channels (id),
    connector    TEXT NOT NULL,
    version      TEXT NOT NULL,
    copy_version TEXT,
    copy         TEXT,
    reason       TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX state_owners_of_connector ON state_owners (connector, version);

-- ---- conversations ----------------------------------------------------------------------------------------------------

CREATE TABLE contacts (
    id           BLOB PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    channel_id   BLOB NOT NULL REFERENCES channels (id),
    platform_id  TEXT NOT NULL,
    username     TEXT,
    display_name TEXT,
    avatar_url   TEXT,
    created_at   INTEGER NOT NULL,
    UNIQUE (channel_id, platform_id)
) STRICT;
CREATE INDEX contacts_of_channel ON contacts (channel_id, id);
CREATE INDEX contacts_of_workspace ON contacts (workspace_id, id);

CREATE TABLE conversations (
    id               BLOB PRIMARY KEY,
    workspace_id     TEXT NOT NULL,
    channel_id       BLOB NOT NULL REFERENCES channels (id),
    contact_id       BLOB NOT NULL REFERENCES contacts (id),
    platform_id      TEXT NOT NULL,
    status           TEXT NOT NULL,
    opened_by        TEXT NOT NULL,
    answered         INTEGER NOT NULL DEFAULT 0,
    replied          INTEGER NOT NULL DEFAULT 0,   -- whether the contact wrote after that
    contact_wrote_at INTEGER,
    we_wrote_at      INTEGER,                      -- the newest message of ours that the platform has
    read_up_to       INTEGER,                      -- what the contact has read, for messages whose answer is still to come
    budget_used      INTEGER NOT NULL DEFAULT 0 CHECK (budget_used >= 0),
    images_allowed   INTEGER,
    images_until     INTEGER,
    sequence         INTEGER NOT NULL DEFAULT 0,   -- of the last message
    unread           INTEGER NOT NULL DEFAULT 0,   -- messages of the contact since somebody here looked or answered
    last_message_at  INTEGER NOT NULL DEFAULT 0,   -- 0 while there is none, so that lists have an order
    news_at          INTEGER,                      -- when time alone has news: the window closing, then closed
    created_at       INTEGER NOT NULL,
    UNIQUE (channel_id, platform_id)
) STRICT;
CREATE INDEX conversations_of_channel ON conversations (channel_id, last_message_at, id);
CREATE INDEX conversations_of_contact ON conversations (contact_id);
CREATE INDEX conversations_news ON conversations (news_at) WHERE news_at IS NOT NULL;
CREATE INDEX conversations_of_workspace ON conversations (workspace_id, last_message_at, id);

-- Workspace, channel and contact are the conversation's: keys of their own would be looked up for each message, and have all
-- messages read for each contact that is erased.
CREATE TABLE messages (
    n               INTEGER PRIMARY KEY,
    id              BLOB NOT NULL UNIQUE,
    workspace_id    TEXT NOT NULL,
    channel_id      BLOB NOT NULL,
    conversation_id BLOB NOT NULL REFERENCES conversations (id),
    contact_id      BLOB NOT NULL,
    sequence        INTEGER NOT NULL,
    direction       TEXT NOT NULL,
    origin          TEXT NOT NULL,
    status          TEXT NOT NULL,
    content         TEXT NOT NULL,
    platform_id     TEXT,
    part            INTEGER NOT NULL DEFAULT 0,
    reply_to        BLOB,
    client_ref      TEXT,
    error           TEXT,
    extras          TEXT,                          -- referral, warnings, answers, platform_data; none if all are empty
    counted         INTEGER NOT NULL DEFAULT 0,    -- whether it counts against the budget of its window
    sent_at         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (conversation_id, sequence)
) STRICT;
CREATE UNIQUE INDEX messages_by_platform_id ON messages (channel_id, platform_id, part) WHERE platform_id IS NOT NULL;
CREATE UNIQUE INDEX messages_by_client_ref ON messages (channel_id, client_ref) WHERE client_ref IS NOT NULL;
CREATE INDEX messages_counted ON messages (conversation_id, sent_at) WHERE counted = 1; -- the budget, however long the talk was
CREATE INDEX messages_unread ON messages (conversation_id, sent_at) WHERE status IN ('sent', 'delivered');

-- By spans of time, so that old keys lie together.
CREATE TABLE seen (
    span       INTEGER NOT NULL,
    channel_id BLOB NOT NULL,
    key        TEXT NOT NULL,
    PRIMARY KEY (span, channel_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE referrals (
    id              BLOB PRIMARY KEY,
    workspace_id    TEXT NOT NULL,
    channel_id      BLOB NOT NULL,
    conversation_id BLOB NOT NULL REFERENCES conversations (id),
    contact_id      BLOB NOT NULL,
    referral        TEXT NOT NULL,
    prefilled_text  TEXT,                          -- by which a link's state is found
    ad              TEXT                           -- what was found out of the ad, kept for a while
) STRICT;
CREATE INDEX referrals_of_conversation ON referrals (conversation_id);
CREATE INDEX referrals_by_prefill ON referrals (channel_id, prefilled_text, id) WHERE prefilled_text IS NOT NULL;

-- ---- outbox -----------------------------------------------------------------------------------------------------------

-- What is not settled; a settled message has no row. due_at is none while an older message of the conversation is in the way.
CREATE TABLE outbox (
    n               INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of acceptance
    message_id      BLOB NOT NULL UNIQUE,
    channel_id      BLOB NOT NULL,
    conversation_id BLOB NOT NULL,
    state           TEXT NOT NULL,                     -- queued, sending, uncertain
    since           INTEGER NOT NULL,                  -- when it was accepted
    not_before      INTEGER NOT NULL,                  -- queued: its next try; sending: the lease's end; uncertain: the wait's end
    held            INTEGER NOT NULL DEFAULT 0,        -- waits for the channel's authorisation
    due_at          INTEGER,
    expires_at      INTEGER,
    tries           INTEGER NOT NULL DEFAULT 0,        -- those that count
    epoch           INTEGER NOT NULL DEFAULT 0,        -- the number of the last attempt
    owner           TEXT,
    dispatched_at   INTEGER
) STRICT;
CREATE INDEX outbox_of_conversation ON outbox (conversation_id, n);
CREATE UNIQUE INDEX outbox_in_flight ON outbox (conversation_id) WHERE state = 'sending';
CREATE UNIQUE INDEX outbox_head ON outbox (conversation_id) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_left ON outbox (conversation_id, n) WHERE state IN ('sending', 'uncertain');
CREATE INDEX outbox_due ON outbox (channel_id, due_at, n) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_of_channel ON outbox (channel_id, n);
CREATE INDEX outbox_leases ON outbox (not_before) WHERE state = 'sending';
CREATE INDEX outbox_uncertain ON outbox (n) WHERE state = 'uncertain';
CREATE INDEX outbox_expiring ON outbox (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;

-- The channels' turns. due_at is none while nothing of the channel may leave.
CREATE TABLE turns (
    channel_id BLOB PRIMARY KEY REFERENCES channels (id),
    app        TEXT NOT NULL,
    turn       INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX turns_order ON turns (turn, due_at, app) WHERE due_at IS NOT NULL;
CREATE INDEX turns_due ON turns (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX turns_last ON turns (turn);

CREATE TABLE attempts (
    message_id BLOB NOT NULL,
    number     INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT NOT NULL,
    error      TEXT,
    requests   TEXT NOT NULL,
    PRIMARY KEY (message_id, number)
) STRICT;

-- ---- media ------------------------------------------------------------------------------------------------------------

CREATE TABLE media (
    id           BLOB PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    message_id   BLOB,
    kind         TEXT,
    remote       TEXT,
    mime_type    TEXT,
    size         INTEGER,
    filename     TEXT,
    status       TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER,                              -- the next fetch, or the end of the lease of this one
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX media_of_message ON media (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX media_due ON media (due_at) WHERE due_at IS NOT NULL;

-- ---- events -----------------------------------------------------------------------------------------------------------

CREATE TABLE events (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT, -- a place is never given twice, even when the log was emptied
    id              BLOB NOT NULL UNIQUE,
    workspace_id    TEXT NOT NULL,
    channel_id      BLOB,
    conversation_id BLOB,
    type            TEXT NOT NULL,
    at              INTEGER NOT NULL,
    data            TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_workspace ON events (workspace_id, sequence);
CREATE INDEX events_of_conversation ON events (conversation_id) WHERE conversation_id IS NOT NULL; -- for erasing a contact

CREATE TABLE endpoints (
    id               BLOB PRIMARY KEY,
    workspace_id     TEXT NOT NULL,
    url              TEXT NOT NULL,
    description      TEXT NOT NULL,
    filter           TEXT NOT NULL,
    ordered          INTEGER NOT NULL,
    enabled          INTEGER NOT NULL,
    disabled_reason  TEXT,
    secrets          BLOB NOT NULL,                    -- sealed
    old_secret_until INTEGER,
    failing_since    INTEGER,
    failing_told     INTEGER NOT NULL DEFAULT 0,
    max_in_flight    INTEGER NOT NULL,
    max_per_second   INTEGER,
    paced_until      INTEGER NOT NULL DEFAULT 0,       -- what its rate has given out already
    turn             INTEGER NOT NULL DEFAULT 0,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoints_of_workspace ON endpoints (workspace_id, id);

-- due_at is none when it is settled, and while an older event of the same conversation is in the way.
CREATE TABLE deliveries (
    n            INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    workspace_id TEXT NOT NULL,
    endpoint_id  BLOB NOT NULL,                        -- may be gone: what was settled stays
    event        INTEGER NOT NULL,
    lane         BLOB,                                 -- the conversation whose order is kept
    status       TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER,
    epoch        INTEGER NOT NULL DEFAULT 0,
    owner        TEXT,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at, n) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_lanes ON deliveries (endpoint_id, lane, event) WHERE status = 'pending' AND lane IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (endpoint_id, due_at) WHERE owner IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (n) WHERE status = 'pending';
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id, n);
CREATE INDEX deliveries_of_event ON deliveries (event);

CREATE TABLE delivery_attempts (
    delivery_id BLOB NOT NULL,
    number      INTEGER NOT NULL,
    attempt     TEXT NOT NULL,
    PRIMARY KEY (delivery_id, number)
) STRICT;

-- ---- the rest ---------------------------------------------------------------------------------------------------------

CREATE TABLE dead_letters (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB NOT NULL UNIQUE,
    app         TEXT NOT NULL,
    version     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    head        TEXT NOT NULL,
    body        BLOB NOT NULL
) STRICT;
CREATE INDEX dead_letters_of_app ON dead_letters (app, n);

-- How many are kept and were given up, so that nobody has to count them.
CREATE TABLE dead_letter_counts (
    app     TEXT PRIMARY KEY,
    kept    INTEGER NOT NULL,
    dropped INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
    id           BLOB PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    at           INTEGER NOT NULL,
    refusal      TEXT NOT NULL
) STRICT;
CREATE INDEX refusals_of_workspace ON refusals (workspace_id, id);
CREATE INDEX refusals_old ON refusals (at);

-- How often each rule said no, and to whom: a row for each rule that a channel or a connector met.
CREATE TABLE refusal_counts (
    workspace_id TEXT NOT NULL,
    about        TEXT NOT NULL,
    whom         TEXT NOT NULL,
    rule         TEXT NOT NULL,
    count        INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    last         BLOB NOT NULL,
    PRIMARY KEY (workspace_id, about, whom, rule)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    n            INTEGER PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    at           INTEGER NOT NULL,
    entry        TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_workspace ON audit (workspace_id, n);
CREATE INDEX audit_old ON audit (at);

CREATE TABLE idempotency (
    workspace_id TEXT NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    status       INTEGER NOT NULL,
    body         TEXT NOT NULL,
    kept_at      INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, key)
) STRICT;
CREATE INDEX idempotency_old ON idempotency (kept_at);
