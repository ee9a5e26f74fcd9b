-- Open requests to remove what is over: 1 while there is one. Bytes of the job directory, null until they are measured.
ALTER TABLE task ADD COLUMN to_remove INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN disk INTEGER;
CREATE INDEX task_to_remove ON task (id) WHERE to_remove = 1;

-- Whether the change made its task over; until now every change of one that is over did.
ALTER TABLE note ADD COLUMN ends INTEGER NOT NULL DEFAULT 0;
UPDATE note SET ends = 1 WHERE phase = 5;

-- Sums of the ledger by day, in an order in which a window of days is one range; kind 0 is a user, 1 a project.
ALTER TABLE used RENAME TO used_before;
CREATE TABLE used (
    day INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    who TEXT NOT NULL,
    cores INTEGER NOT NULL,
    ram INTEGER NOT NULL,
    millis INTEGER NOT NULL,
    PRIMARY KEY (day, kind, who)
) STRICT, WITHOUT ROWID;
INSERT INTO used SELECT day, kind, who, cores, ram, millis FROM used_before ORDER BY day, kind, who;
DROP TABLE used_before;
CREATE INDEX used_who ON used (kind, who, day);

-- Bytes of finished tasks that are not archived.
CREATE TABLE disk (
    owner TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows are added, never changed.
CREATE TABLE audit (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL
) STRICT;
