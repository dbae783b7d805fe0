-- The record, second form. The first form is frozen; each part below belongs to one subject, in the order of the letters.

-- ---- A: claims of idempotency keys, files without a row -----------------------------------------------------------------

-- Idempotency keys, each claimed before its request acts. An answer that was kept in the first form stays for its day; those of
-- sends have no API key there.
CREATE TABLE claims (
    workspace_id TEXT NOT NULL,
    api_key      BLOB NOT NULL,                        -- who asks
    key          TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    claimed_at   INTEGER NOT NULL,
    owner        TEXT,                                 -- the process at work; none once that ended
    acted        INTEGER NOT NULL DEFAULT 0,           -- whether anything was written for it
    status       INTEGER,                              -- of the answer; none without one
    body         TEXT,
    contact_id   BLOB,                                 -- whom the answer is about, so that it goes with them
    PRIMARY KEY (workspace_id, api_key, key)
) STRICT;
CREATE INDEX claims_old ON claims (claimed_at);
CREATE INDEX claims_at_work ON claims (owner) WHERE owner IS NOT NULL;
CREATE INDEX claims_about ON claims (contact_id) WHERE contact_id IS NOT NULL;
INSERT INTO claims (workspace_id, api_key, key, fingerprint, claimed_at, acted, status, body)
    SELECT workspace_id, CASE WHEN key GLOB 'key_*:*' THEN ifnull(unhex(substr(key, 5, 32)), x'') ELSE x'' END,
           CASE WHEN key GLOB 'key_*:*' THEN substr(key, 38) ELSE key END, fingerprint, kept_at, 1, status, body
    FROM idempotency;
DROP TABLE idempotency;

-- Files whose rows are gone, until they are gone too.
CREATE TABLE files_to_remove (
    media_id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Connect sessions that have no end yet; one at which the host is at work is found too.
CREATE INDEX connect_sessions_open ON connect_sessions (expires_at) WHERE status <> 'ended';
UPDATE connect_sessions SET status = 'taken' WHERE end = '{"status":"taken"}';

-- ---- B: credentials, connecting -----------------------------------------------------------------------------------------

-- What the platform gave for a session's code, sealed, until its channel has it.
ALTER TABLE connect_sessions ADD COLUMN tokens BLOB;
-- Found by their status at a start, which ends them; before, they were never found again.
UPDATE connect_sessions SET status = 'taken' WHERE end = '{"status":"taken"}';
-- Since when the platform is asked for another credential; null once the answer is here.
ALTER TABLE credentials ADD COLUMN renewing_since INTEGER;
-- When a channel's set-up at its platform is due; null once it is done. And how often it failed.
ALTER TABLE channels ADD COLUMN set_up_at INTEGER;
ALTER TABLE channels ADD COLUMN set_up_tries INTEGER NOT NULL DEFAULT 0;
CREATE INDEX channels_to_set_up ON channels (set_up_at) WHERE set_up_at IS NOT NULL;

-- ---- C: versions of connectors ------------------------------------------------------------------------------------------

-- A change of a connector's versions that has begun: written before the first state moves, and removed in the transaction that
-- changes the stages. A start finishes or undoes it.
CREATE TABLE version_intents (
    connector TEXT PRIMARY KEY,
    act       TEXT NOT NULL,
    version   TEXT NOT NULL,                           -- the one that is put ahead, tried or taken back
    taker     TEXT NOT NULL,                           -- the one that takes the states over
    before    TEXT,                                    -- the one that was active
    canary    TEXT,                                    -- the trial that is to begin
    failed    INTEGER NOT NULL,                        -- whether it goes back for its failures
    reason    TEXT NOT NULL,
    begun_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- States as they were before the open intent of their connector moved them, and whose they were.
CREATE TABLE moved_states (
    channel_id   BLOB PRIMARY KEY REFERENCES channels (id),
    connector    TEXT NOT NULL,
    state        TEXT NOT NULL,
    version      TEXT NOT NULL,
    copy_version TEXT,
    copy         TEXT,
    reason       TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX moved_states_of_connector ON moved_states (connector);

-- Every state has an owner: what had none was written by the version that served then, as far as the record knows it.
INSERT INTO state_owners (channel_id, connector, version)
    SELECT c.id, a.connector, (SELECT v.version FROM versions v WHERE v.connector = a.connector
        ORDER BY v.stage = 'active' DESC, v.stage = 'quarantined' DESC,
            (SELECT max(s.n) FROM version_changes s
                WHERE s.connector = v.connector AND s.version = v.version AND s.stage = 'active') DESC,
            v.changed_at DESC, v.release DESC LIMIT 1)
    FROM channels c JOIN apps a ON a.name = c.app
    WHERE EXISTS (SELECT 1 FROM state s WHERE s.channel_id = c.id)
        AND NOT EXISTS (SELECT 1 FROM state_owners o WHERE o.channel_id = c.id)
        AND EXISTS (SELECT 1 FROM versions v WHERE v.connector = a.connector);
-- Why the version that owns the state cannot run, and since when the account is held for that; none while it can.
ALTER TABLE state_owners ADD COLUMN held TEXT;
ALTER TABLE state_owners ADD COLUMN held_at INTEGER;

-- Whether a version became active again by a roll-back; none where that was not written down.
ALTER TABLE version_changes ADD COLUMN rolled_back INTEGER;

-- Why a version last went back by itself or was quarantined.
ALTER TABLE versions ADD COLUMN failure TEXT;
ALTER TABLE versions ADD COLUMN failed_at INTEGER;

-- The last trial of each version, also after its end.
CREATE TABLE trials (
    connector TEXT NOT NULL,
    version   TEXT NOT NULL,
    canary    TEXT NOT NULL,
    figures   TEXT,                                    -- what its calls came to, written every few seconds
    ended_at  INTEGER,
    reason    TEXT,                                    -- of the end
    PRIMARY KEY (connector, version)
) STRICT, WITHOUT ROWID;
INSERT INTO trials (connector, version, canary)
    SELECT connector, version, canary FROM versions WHERE canary IS NOT NULL;

-- ---- D: dead letters, polling, catching up ------------------------------------------------------------------------------

-- ---- E: endpoints, deliveries, the event log ----------------------------------------------------------------------------

-- Events that an endpoint was owed and that became too old to be kept before it took them.
ALTER TABLE endpoints ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;

-- Recoveries under way. An endpoint gets nothing until its recovery is over, so that the oldest event goes first.
CREATE TABLE endpoint_recoveries (
    endpoint_id BLOB PRIMARY KEY,
    place       INTEGER NOT NULL,                      -- up to here the log was looked at
    until       INTEGER NOT NULL,                      -- the end of the log when it was asked for
    stepped_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Places of events that were removed from between others that are kept, so that a reader who saw one last goes on from there.
CREATE TABLE removed_events (
    sequence     INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    workspace_id TEXT NOT NULL
) STRICT;
CREATE TRIGGER events_removed AFTER DELETE ON events BEGIN
    INSERT OR REPLACE INTO removed_events (sequence, id, workspace_id) VALUES (old.sequence, old.id, old.workspace_id);
END;

CREATE INDEX deliveries_of_workspace ON deliveries (workspace_id, n);
CREATE INDEX endpoints_failing ON endpoints (failing_since) WHERE failing_since IS NOT NULL AND failing_told = 0 AND enabled = 1;

-- ---- F: messages, conversations, referrals ------------------------------------------------------------------------------

-- What follows from messages in whatever order they come. What was unread were always the last places of a conversation.
ALTER TABLE conversations ADD COLUMN first_wrote_at INTEGER;          -- the oldest message of ours that the platform has
ALTER TABLE conversations ADD COLUMN echoed_at INTEGER;               -- the newest that was written elsewhere
ALTER TABLE conversations ADD COLUMN seen_sequence INTEGER NOT NULL DEFAULT 0; -- the last place that somebody here looked at
ALTER TABLE conversations ADD COLUMN begun_at INTEGER;                -- the platform's time of what opened_by names
UPDATE conversations SET seen_sequence = sequence - unread, first_wrote_at = CASE WHEN answered = 1 THEN coalesce(
    (SELECT min(m.sent_at) FROM messages m WHERE m.conversation_id = conversations.id AND m.direction = 'outbound'
        AND m.status IN ('sent', 'delivered', 'read')), we_wrote_at) END;
CREATE INDEX messages_thread ON messages (conversation_id, sent_at, sequence);

ALTER TABLE conversations ADD COLUMN referral TEXT;                   -- how the contact last came
ALTER TABLE referrals ADD COLUMN at INTEGER;                          -- by the platform's time
CREATE INDEX referrals_of_workspace ON referrals (workspace_id, id);
CREATE INDEX referrals_of_channel ON referrals (channel_id, id);

-- The platform's time of each name.
ALTER TABLE contacts ADD COLUMN username_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contacts ADD COLUMN display_name_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contacts ADD COLUMN avatar_at INTEGER NOT NULL DEFAULT 0;

-- Receipts that came before what they are about; read when it comes.
CREATE TABLE early_receipts (
    channel_id  BLOB NOT NULL,
    message     TEXT NOT NULL,                         -- the platform's id of it, or '' for a mark of the conversation
    thread      TEXT NOT NULL,                         -- the platform's id of the conversation
    status      TEXT NOT NULL,
    up_to       INTEGER,
    error       TEXT,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (channel_id, message, thread, status)
) STRICT, WITHOUT ROWID;
CREATE INDEX early_receipts_old ON early_receipts (received_at);

-- Conversations whose history the platform refused to show; due_at is none once it was asked for in vain often enough.
CREATE TABLE history_gaps (
    channel_id   BLOB NOT NULL REFERENCES channels (id),
    conversation TEXT NOT NULL,                        -- the platform's id of it
    contact      TEXT,                                 -- and of the person
    answered     INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    due_at       INTEGER,
    detail       TEXT NOT NULL,
    PRIMARY KEY (channel_id, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX history_gaps_due ON history_gaps (due_at) WHERE due_at IS NOT NULL;

-- ---- G: erasing, retention ----------------------------------------------------------------------------------------------

-- Erasures that are not over: documents that may name the person are still to be read.
CREATE TABLE erasures (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    channel_id BLOB NOT NULL,
    contact_id BLOB NOT NULL,
    marks      BLOB NOT NULL,                          -- sealed: what names the person
    place      INTEGER NOT NULL DEFAULT 0,             -- which documents are read
    before     INTEGER                                 -- up to which of them; none at the newest
) STRICT;
CREATE INDEX events_without_conversation ON events (sequence) WHERE conversation_id IS NULL;

-- Who wrote in a conversation that is with another contact.
CREATE TABLE authors (
    conversation_id BLOB NOT NULL,
    contact_id      BLOB NOT NULL,
    PRIMARY KEY (conversation_id, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX authors_by_contact ON authors (contact_id);
INSERT INTO authors (conversation_id, contact_id)
    SELECT DISTINCT m.conversation_id, m.contact_id FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.direction = 'inbound' AND m.contact_id <> c.contact_id;

-- Uploads that were sent, and to whom.
CREATE TABLE sent_uploads (
    conversation_id BLOB NOT NULL,
    media_id        BLOB NOT NULL,
    PRIMARY KEY (conversation_id, media_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_uploads_by_media ON sent_uploads (media_id);
INSERT OR IGNORE INTO sent_uploads (conversation_id, media_id)
    SELECT conversation_id, unhex(substr(json_extract(content, '$.media.id'), 5)) FROM messages
    WHERE direction = 'outbound' AND json_extract(content, '$.media.id') LIKE 'med!_%' ESCAPE '!';

-- ---- H: keys, workspaces ------------------------------------------------------------------------------------------------

ALTER TABLE keys ADD COLUMN channels TEXT;            -- those that it is bound to; null is all of the workspace
-- Since when it is being removed: nothing in it is found any more, and all of it is deleted in steps, this row last.
ALTER TABLE workspaces ADD COLUMN removed_at INTEGER;
CREATE INDEX uploads_of_workspace ON media (workspace_id) WHERE message_id IS NULL;

-- ---- I: clocks ----------------------------------------------------------------------------------------------------------

-- How far the clock of an app's platform is from ours, where it is; what waits for a moment of the platform was set by it.
CREATE TABLE platform_clocks (
    app       TEXT PRIMARY KEY,
    offset_ms INTEGER NOT NULL,                        -- the platform's minus ours
    noted_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
