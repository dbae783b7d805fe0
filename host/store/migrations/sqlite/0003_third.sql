-- The record, third form: fewer pages are written for each message. The first two forms are frozen.

-- The platform's time of the newest event in the conversation that named its contact as the record does. It changes with each
-- message, in a row that changes anyhow; the contact's own row keeps the times of events that changed a name.
ALTER TABLE conversations ADD COLUMN named_at INTEGER NOT NULL DEFAULT 0;

-- Messages with the time that they stand at in their conversation: the platform's, or after everything while they wait to leave.
-- Before, each that left moved all that waited. And without an index of their own for the sequence in a conversation: it is given
-- out by the conversation's row, and whatever reads a conversation goes by messages_thread.
CREATE TABLE next_messages (
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
    stands_at       INTEGER NOT NULL,              -- the greatest number while it waits to leave
    created_at      INTEGER NOT NULL
) STRICT;
INSERT INTO next_messages (n, id, workspace_id, channel_id, conversation_id, contact_id, sequence, direction, origin, status, content,
    platform_id, part, reply_to, client_ref, error, extras, counted, sent_at, stands_at,
    created_at)
    SELECT n, id, workspace_id, channel_id, conversation_id, contact_id, sequence, direction, origin, status, content,
    platform_id, part, reply_to, client_ref, error, extras, counted, sent_at,
        CASE WHEN status IN ('queued', 'sending', 'uncertain') THEN 9223372036854775807 ELSE sent_at END, created_at FROM messages;
DROP TABLE messages;
ALTER TABLE next_messages RENAME TO messages;
CREATE UNIQUE INDEX messages_by_platform_id ON messages (channel_id, platform_id, part) WHERE platform_id IS NOT NULL;
CREATE UNIQUE INDEX messages_by_client_ref ON messages (channel_id, client_ref) WHERE client_ref IS NOT NULL;
CREATE INDEX messages_counted ON messages (conversation_id, sent_at) WHERE counted = 1; -- the budget, however long the talk was
CREATE INDEX messages_unread ON messages (conversation_id, sent_at) WHERE status IN ('sent', 'delivered');
CREATE INDEX messages_thread ON messages (conversation_id, stands_at, sequence);

-- An open attempt is the outbox's row alone, and is written down when it ends, in one write.
DELETE FROM attempts WHERE outcome = 'open';

-- Fewer indexes on the outbox, in which each message is written three times. Those that are in flight are found by
-- outbox_in_flight; they are no more than the workers have in hand.
DROP INDEX outbox_left;
DROP INDEX outbox_leases;
DROP INDEX outbox_uncertain;
CREATE INDEX outbox_uncertain ON outbox (conversation_id, n) WHERE state = 'uncertain';
