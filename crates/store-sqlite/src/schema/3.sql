-- What lists filter by. `outcome` is the class of the end, null until then; 0 is success.
ALTER TABLE task ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN outcome INTEGER;
UPDATE task SET project = coalesce(s.project, ''), name = coalesce(s.name, '')
    FROM (SELECT id, json_extract(CAST(body AS TEXT), '$.owner.project') AS project,
                 json_extract(CAST(body AS TEXT), '$.name') AS name FROM spec) AS s
    WHERE s.id = coalesce(task.parent, task.id);
UPDATE task SET outcome = CASE
        WHEN o.text IN ('{"exited":0}', '{"gathered":{"failed":0}}') THEN 0
        WHEN o.text LIKE '{"exited"%' OR o.text LIKE '{"signalled"%' OR o.text LIKE '{"gathered"%' THEN 1
        WHEN o.text LIKE '{"killed"%' THEN 2
        WHEN o.text = 'timed_out' THEN 3
        WHEN o.text = 'out_of_memory' THEN 4
        WHEN o.text LIKE '{"lost"%' THEN 5
        WHEN o.text LIKE '{"quota"%' THEN 6
        WHEN o.text LIKE '{"refused"%' THEN 7
        WHEN o.text LIKE '{"skipped"%' THEN 8
    END
    FROM (SELECT id, coalesce(json_extract(CAST(body AS TEXT), '$.s.over.outcome'),
                              json_extract(CAST(body AS TEXT), '$.s.archived.outcome')) AS text
          FROM task WHERE ended IS NOT NULL) AS o
    WHERE o.id = task.id;

-- Only what is over is in an index: a submit pays for none of them. The row's id follows the columns.
CREATE INDEX task_over_of ON task (owner) WHERE ended IS NOT NULL;
CREATE INDEX task_project ON task (project) WHERE ended IS NOT NULL AND project <> 'default';
CREATE INDEX task_name ON task (name) WHERE ended IS NOT NULL;
CREATE INDEX task_outcome ON task (outcome) WHERE outcome > 0;
CREATE INDEX task_outcome_of ON task (owner, outcome) WHERE outcome > 0;

-- Tags of tasks that have any, children of arrays included.
CREATE TABLE tag (
    tag TEXT NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (tag, task)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO tag
    SELECT t.value, task.id FROM task JOIN spec ON spec.id = coalesce(task.parent, task.id),
        json_each(CAST(spec.body AS TEXT), '$.tags') AS t;
