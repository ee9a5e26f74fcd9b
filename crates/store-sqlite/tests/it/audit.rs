//! Looks at a database from outside: whole, and every counter equal to a recount.

use rusqlite::Connection;
use std::path::Path;

/// Pairs of queries that must give the same rows.
const AGREE: [(&str, &str, &str); 11] = [
    (
        "numbers by owner and phase",
        "SELECT owner, phase, sum(n) FROM (
             SELECT owner, phase, count(*) n FROM task GROUP BY 1, 2
             UNION ALL SELECT owner, 0, sum(kids - made) FROM task WHERE kids > 0 AND ended IS NULL GROUP BY 1
         ) GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2",
        "SELECT owner, phase, n FROM counter WHERE owner <> '' AND n <> 0 ORDER BY 1, 2",
    ),
    (
        "numbers of all by phase",
        "SELECT phase, sum(n), 0 FROM counter WHERE owner <> '' GROUP BY 1 ORDER BY 1",
        "SELECT phase, n, 0 FROM counter WHERE owner = '' ORDER BY 1",
    ),
    (
        "children",
        "SELECT parent, count(*), sum(ended IS NOT NULL) FROM task WHERE parent IS NOT NULL GROUP BY 1 ORDER BY 1",
        "SELECT id, made, over FROM task WHERE made > 0 ORDER BY 1",
    ),
    (
        "sums of users",
        "SELECT owner, day, sum(millis) FROM ledger GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT who, day, millis FROM used WHERE kind = 0 ORDER BY 1, 2",
    ),
    (
        "sums of projects",
        "SELECT project, day, sum(cores) FROM ledger GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT who, day, cores FROM used WHERE kind = 1 ORDER BY 1, 2",
    ),
    (
        "bytes of users",
        "SELECT owner, sum(disk), 0 FROM task WHERE phase = 5 GROUP BY 1 HAVING sum(disk) > 0 ORDER BY 1",
        "SELECT owner, bytes, 0 FROM disk WHERE bytes <> 0 ORDER BY 1",
    ),
    (
        "requests to remove",
        "SELECT id, 0, 0 FROM task WHERE ended IS NOT NULL
             AND json_extract(CAST(body AS TEXT), '$.w.status') = 'requested' ORDER BY 1",
        "SELECT id, 0, 0 FROM task WHERE to_remove = 1 ORDER BY 1",
    ),
    (
        "what lists filter by",
        "SELECT task.id, s.body ->> '$.owner.project', s.body ->> '$.name' FROM task
             JOIN (SELECT id, CAST(body AS TEXT) AS body FROM spec) s ON s.id = coalesce(parent, task.id) ORDER BY 1",
        "SELECT id, project, name FROM task ORDER BY 1",
    ),
    (
        "tags",
        "SELECT DISTINCT task.id, t.value, task.outcome IS NULL
             FROM task JOIN spec ON spec.id = coalesce(task.parent, task.id),
             json_each(CAST(spec.body AS TEXT), '$.tags') AS t ORDER BY 1, 2",
        "SELECT task, tag, (SELECT ended IS NULL FROM task t WHERE t.id = tag.task) FROM tag ORDER BY 1, 2",
    ),
    (
        "specifications",
        "SELECT id, 0, 0 FROM task WHERE parent IS NULL ORDER BY 1",
        "SELECT id, 0, 0 FROM spec ORDER BY 1",
    ),
    (
        "notes are dense",
        "SELECT max(seq) - min(seq) + 1, 0, 0 FROM note WHERE true HAVING count(*) > 0",
        "SELECT count(*), 0, 0 FROM note WHERE true HAVING count(*) > 0",
    ),
];

/// Panics unless the database is whole.
pub(crate) fn audit(path: &Path) {
    let conn = Connection::open(path).expect("opens");
    conn.busy_timeout(std::time::Duration::from_secs(10)).expect("sets");
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(check, "ok");
    // Both sides of a pair are of the same moment.
    conn.execute_batch("BEGIN").expect("begins");
    for (what, left, right) in AGREE {
        assert_eq!(rows(&conn, left), rows(&conn, right), "{what}");
    }
    let reopened = "SELECT id, parent, 0 FROM task t WHERE ended IS NULL AND parent IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM task p WHERE p.id = t.parent AND p.ended IS NULL)";
    assert_eq!(rows(&conn, reopened), Vec::<String>::new(), "live children of parents that are over");
    let highest: i64 =
        conn.query_row("SELECT coalesce(max(id + kids), 0) FROM task", [], |row| row.get(0)).expect("reads");
    let next: i64 =
        conn.query_row("SELECT n FROM meta WHERE name = 'next_id'", [], |row| row.get(0)).expect("reads");
    assert!(next > highest, "the next id {next} is free");
}

fn rows(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).expect(sql);
    let rows = statement.query_map([], |row| {
        let cell = |i| row.get::<_, rusqlite::types::Value>(i);
        Ok(format!("{:?} {:?} {:?}", cell(0)?, cell(1)?, cell(2)?))
    });
    rows.expect("reads").collect::<Result<_, _>>().expect("reads")
}
