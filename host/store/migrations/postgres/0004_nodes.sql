-- The record, fourth form: several hosts may use one record. As in `../sqlite`.

CREATE TABLE nodes (
    id         TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    epoch      BIGINT NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    beat_at    BIGINT NOT NULL,
    ended_at   BIGINT
);

CREATE TABLE duties (
    name  TEXT COLLATE "C" PRIMARY KEY,
    node  TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    until BIGINT NOT NULL
);

CREATE TABLE rates (
    bucket     TEXT COLLATE "C" PRIMARY KEY,
    departures TEXT COLLATE "C" NOT NULL,
    held_until BIGINT NOT NULL DEFAULT 0,
    left_at    BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE components (
    digest TEXT COLLATE "C" PRIMARY KEY,
    bytes  BYTEA NOT NULL
);

CREATE TABLE revisions (
    kind     TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX revisions_newer ON revisions (revision);

ALTER TABLE connect_sessions ADD COLUMN node TEXT COLLATE "C";
ALTER TABLE version_intents ADD COLUMN node TEXT COLLATE "C";

CREATE TABLE work (
    channel_id BYTEA NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    due_at     BIGINT,
    since      BIGINT,
    failures   BIGINT NOT NULL DEFAULT 0,
    node       TEXT COLLATE "C",
    epoch      BIGINT NOT NULL DEFAULT 0,
    until      BIGINT,
    PRIMARY KEY (channel_id, kind)
);
CREATE INDEX work_due ON work (kind, due_at);

ALTER TABLE outbox ADD COLUMN asked_at BIGINT;
ALTER TABLE outbox ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;

CREATE TABLE loaded_versions (
    node      TEXT COLLATE "C" NOT NULL,
    connector TEXT COLLATE "C" NOT NULL,
    version   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (node, connector, version)
);

CREATE TABLE media_bytes (
    media_id BYTEA NOT NULL,
    part     BIGINT NOT NULL,
    put_at   BIGINT NOT NULL,
    bytes    BYTEA NOT NULL,
    PRIMARY KEY (media_id, part)
);
-- Pictures and films are compressed already.
ALTER TABLE media_bytes ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE trial_figures (
    connector TEXT COLLATE "C" NOT NULL,
    version   TEXT COLLATE "C" NOT NULL,
    node      TEXT COLLATE "C" NOT NULL,
    figures   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (connector, version, node)
);

CREATE TABLE crashes (
    connector TEXT COLLATE "C" NOT NULL,
    version   TEXT COLLATE "C" NOT NULL,
    node      TEXT COLLATE "C" NOT NULL,
    number    BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    PRIMARY KEY (node, number)
);
