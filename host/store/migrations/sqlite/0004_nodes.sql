-- The record, fourth form: several hosts may use one record, where the engine allows it.

-- Hosts, each start of one with a row of its own.
CREATE TABLE nodes (
    id         TEXT PRIMARY KEY,     -- name and epoch: the owner of its leases, claims and duties
    name       TEXT NOT NULL,        -- as configured; several rows may have the same
    epoch      INTEGER NOT NULL,     -- rises with each row, and is never used again
    version    TEXT NOT NULL,        -- of Weir
    started_at INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL,     -- the last heartbeat
    ended_at   INTEGER               -- it stopped or was declared dead: it holds nothing, and beats no more
) STRICT, WITHOUT ROWID;

-- What one node at a time does for all.
CREATE TABLE duties (
    name  TEXT PRIMARY KEY,
    node  TEXT NOT NULL,
    epoch INTEGER NOT NULL,          -- rises with each change of the node
    until INTEGER NOT NULL           -- free from then on, unless renewed
) STRICT, WITHOUT ROWID;

-- What left under each rate of a platform that several hosts count together.
CREATE TABLE rates (
    bucket     TEXT PRIMARY KEY,
    departures TEXT NOT NULL,                -- JSON, by the clock of the record
    held_until INTEGER NOT NULL DEFAULT 0,   -- microseconds: the platform asked for a pause
    left_at    INTEGER NOT NULL DEFAULT 0    -- microseconds: of the last
) STRICT, WITHOUT ROWID;

-- The bytes of connectors' versions, by their digests. Files in `components/` are copies.
CREATE TABLE components (
    digest TEXT PRIMARY KEY,         -- sha256:…
    bytes  BLOB NOT NULL
) STRICT;

-- What nodes keep in memory, and when it was last changed. A node reads again what is newer than it knows.
CREATE TABLE revisions (
    kind     TEXT NOT NULL,          -- app, connector, keys
    name     TEXT NOT NULL,
    revision INTEGER NOT NULL,       -- rises over all rows
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX revisions_newer ON revisions (revision);

-- The nodes that are at work on what is taken or begun and not over.
ALTER TABLE connect_sessions ADD COLUMN node TEXT;
ALTER TABLE version_intents ADD COLUMN node TEXT;

-- What one node at a time does for a channel.
CREATE TABLE work (
    channel_id BLOB NOT NULL,
    kind       TEXT NOT NULL,        -- renewal, poll, history
    due_at     INTEGER,              -- null while it is done, unless it was asked for again
    since      INTEGER,              -- of a history: from when on it is read
    failures   INTEGER NOT NULL DEFAULT 0,
    node       TEXT,                 -- who does it, until then
    epoch      INTEGER NOT NULL DEFAULT 0,
    until      INTEGER,
    PRIMARY KEY (channel_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX work_due ON work (kind, due_at);

-- When the platform's history was last asked about an uncertain message, and how often.
ALTER TABLE outbox ADD COLUMN asked_at INTEGER;
ALTER TABLE outbox ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;

-- Which versions of connectors each node has loaded: one serves when all have it.
CREATE TABLE loaded_versions (
    node      TEXT NOT NULL,
    connector TEXT NOT NULL,
    version   TEXT NOT NULL,
    PRIMARY KEY (node, connector, version)
) STRICT, WITHOUT ROWID;

-- The bytes of media, where the configuration keeps them in the database.
CREATE TABLE media_bytes (
    media_id BLOB NOT NULL,
    part     INTEGER NOT NULL,       -- from 0
    put_at   INTEGER NOT NULL,
    bytes    BLOB NOT NULL,          -- 256 KiB, the last one less
    PRIMARY KEY (media_id, part)
) STRICT;

-- What the calls of a canary run came to at each node. `trials.figures` is of before there were nodes.
CREATE TABLE trial_figures (
    connector TEXT NOT NULL,
    version   TEXT NOT NULL,
    node      TEXT NOT NULL,
    figures   TEXT NOT NULL,
    PRIMARY KEY (connector, version, node)
) STRICT, WITHOUT ROWID;

-- Crashes of versions, for the nodes that did not see them. Kept for minutes.
CREATE TABLE crashes (
    connector TEXT NOT NULL,
    version   TEXT NOT NULL,
    node      TEXT NOT NULL,
    number    INTEGER NOT NULL,      -- of the node
    at        INTEGER NOT NULL,
    PRIMARY KEY (node, number)
) STRICT, WITHOUT ROWID;
