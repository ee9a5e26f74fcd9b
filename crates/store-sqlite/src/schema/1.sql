-- Numbers that must never go back.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('next_id', 1), ('epoch', 0);

-- Children of an array have a row once they were first written; the ids after their parent's are theirs.
CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    parent INTEGER,
    owner TEXT NOT NULL,
    phase INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    op INTEGER NOT NULL,
    submitted INTEGER NOT NULL,
    ended INTEGER,                -- null as long as the task is not over
    killing INTEGER NOT NULL,     -- whether its end is wanted
    kids INTEGER NOT NULL,        -- size of the array, 0 for no parent
    made INTEGER NOT NULL DEFAULT 0,
    over INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    fields INTEGER,               -- hash of the specification's fields, null for children
    submit_key TEXT,
    body BLOB NOT NULL            -- state, wish, attempts, failures
) STRICT;
CREATE INDEX task_phase ON task (phase) WHERE ended IS NULL;
CREATE INDEX task_active ON task (owner) WHERE ended IS NULL;
CREATE INDEX task_over ON task (ended) WHERE ended IS NOT NULL;
CREATE INDEX task_over_owner ON task (owner, ended) WHERE ended IS NOT NULL;
CREATE INDEX task_array ON task (id) WHERE kids > 0;
CREATE UNIQUE INDEX task_key ON task (owner, submit_key) WHERE submit_key IS NOT NULL;

-- Apart from the task, so that a transition does not rewrite the script.
CREATE TABLE spec (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Numbers of tasks by phase; the owner '' is all together.
CREATE TABLE counter (
    owner TEXT NOT NULL,
    phase INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (owner, phase)
) STRICT, WITHOUT ROWID;

CREATE TABLE note (
    seq INTEGER PRIMARY KEY,
    task INTEGER NOT NULL,
    parent INTEGER,
    phase INTEGER NOT NULL,
    wished INTEGER NOT NULL,
    rev INTEGER NOT NULL
) STRICT;

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT,
    epoch INTEGER NOT NULL,
    beat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id TEXT PRIMARY KEY,
    rev INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE project (
    id TEXT PRIMARY KEY,
    rev INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What each attempt used; stays when its task is purged.
CREATE TABLE ledger (
    task INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    owner TEXT NOT NULL,
    project TEXT NOT NULL,
    day INTEGER NOT NULL,
    cores INTEGER NOT NULL,
    ram INTEGER NOT NULL,
    millis INTEGER NOT NULL,
    PRIMARY KEY (task, attempt)
) STRICT, WITHOUT ROWID;

-- Sums of the ledger by day; kind 0 is a user, 1 a project.
CREATE TABLE used (
    kind INTEGER NOT NULL,
    who TEXT NOT NULL,
    day INTEGER NOT NULL,
    cores INTEGER NOT NULL,
    ram INTEGER NOT NULL,
    millis INTEGER NOT NULL,
    PRIMARY KEY (kind, who, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE image (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE notice (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    task INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE pin (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
