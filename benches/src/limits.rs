//! What this machine can do at best.

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use std::ffi::CString;
use std::path::Path;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Processes per second: `posix_spawn` and `waitpid` of /bin/true on two threads; with `files`, each in a directory of its
/// own and with two output files.
pub fn spawns(per_thread: usize, files: Option<&Path>) -> Result<f64> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|n| scope.spawn(move || spawn_many(n, per_thread, files))).collect();
        threads.into_iter().try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    Ok(2.0 * per_thread as f64 / began.elapsed().as_secs_f64())
}

fn spawn_many(thread: usize, count: usize, files: Option<&Path>) -> Result<()> {
    for n in 0..count {
        match files {
            None => spawn_one(None)?,
            Some(dir) => {
                let own = dir.join(format!("{thread}-{n}"));
                std::fs::create_dir(&own)?;
                spawn_one(Some(&own))?;
            }
        }
    }
    Ok(())
}

fn spawn_one(dir: Option<&Path>) -> Result<()> {
    let program = c"/bin/true";
    let argv = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
    let envp = [std::ptr::null_mut()];
    let names: Vec<CString> = match dir {
        None => Vec::new(),
        Some(dir) => ["god.log", "god.err"]
            .iter()
            .map(|n| CString::new(dir.join(n).as_os_str().as_encoded_bytes()))
            .collect::<Result<_, _>>()?,
    };
    let mut pid = 0;
    let mut status = 0;
    // SAFETY: the actions are initialised before use and destroyed after; all pointers live until the call returns.
    let spawned = unsafe {
        let mut actions = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&mut actions);
        for (fd, name) in (1..).zip(&names) {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
            libc::posix_spawn_file_actions_addopen(&mut actions, fd, name.as_ptr(), flags, 0o640);
        }
        let answer = libc::posix_spawn(
            &mut pid,
            program.as_ptr(),
            &actions,
            std::ptr::null(),
            argv.as_ptr(),
            envp.as_ptr(),
        );
        libc::posix_spawn_file_actions_destroy(&mut actions);
        answer
    };
    if spawned != 0 {
        bail!("posix_spawn failed with error {spawned}");
    }
    // SAFETY: pid is a child of this process that nobody else waits for.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    if waited != pid || status != 0 {
        bail!("/bin/true ended with status {status}");
    }
    Ok(())
}

type Row = (Vec<u8>, oneshot::Sender<i64>);

/// The minimal server: stores each body as one row, many in one durable commit, and answers with the row's number.
pub async fn serve(dir: &Path) -> Result<()> {
    let (rows, queue) = mpsc::channel::<Row>(4096);
    let file = dir.join("limit.db");
    std::thread::spawn(move || {
        if let Err(err) = write_rows(&file, queue) {
            eprintln!("the minimal server can not write: {err:#}");
            std::process::exit(1);
        }
    });
    let app = Router::new().route("/", post(take)).with_state(rows);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn take(State(rows): State<mpsc::Sender<Row>>, body: axum::body::Bytes) -> Result<String, String> {
    let (answer, number) = oneshot::channel();
    rows.send((body.to_vec(), answer)).await.map_err(|e| e.to_string())?;
    let number = number.await.map_err(|e| e.to_string())?;
    Ok(format!("{{\"msg\":\"Task added\",\"id\":{number}}}"))
}

fn write_rows(file: &Path, mut queue: mpsc::Receiver<Row>) -> Result<()> {
    let db = rusqlite::Connection::open(file).context("opening")?;
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB)",
    )?;
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < 512 {
            let Ok(row) = queue.try_recv() else { break };
            batch.push(row);
        }
        db.execute_batch("BEGIN IMMEDIATE")?;
        let mut numbers = Vec::with_capacity(batch.len());
        for (body, _) in &batch {
            db.prepare_cached("INSERT INTO row (body) VALUES (?1)")?.execute([body])?;
            numbers.push(db.last_insert_rowid());
        }
        db.execute_batch("COMMIT")?;
        for ((_, answer), number) in batch.into_iter().zip(numbers) {
            if answer.send(number).is_err() {
                eprintln!("a client went away before its answer");
            }
        }
    }
    Ok(())
}
