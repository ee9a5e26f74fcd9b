//! `go-d-clean`: asks for finished tasks to be archived, the old ones or those that are named. For cron, and for hands.
//!
//! It only stores requests; the archiver removes the files.

use anyhow::{Context, Result};
use clap::Parser;
use god_core::query::{Span, TaskQuery};
use god_core::state::{Ask, Phase};
use god_core::store::{AuditRecord, Store};
use god_core::{OpId, Task, TaskId, Timestamp};
use god_daemon::clock::now;
use god_daemon::{Kind, Overrides, Setup, front};
use god_engine::ask::ask_all;
use god_engine::lease::ARCHIVER;
use god_engine::world::Ops;
use std::path::PathBuf;
use std::process::ExitCode;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Tasks asked for in one write.
const PAGE: usize = 500;

/// Archives finished tasks: removes their files and keeps their records.
///
/// Without ids, all tasks and arrays that ended more than `clean_old` days ago (key of the configuration) and are not
/// archived. The archiver (go-d-archive, or go-d up) does the work. Exit status: 0 when all was asked for, 1 when
/// something was not, 2 for a wrong command line.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: GOD_CONFIG, then go-d.ini here, then the one in the data directory]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say what would be archived
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// These tasks, however long ago they ended
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    front::tell("go-d-clean", false, front::block_on(clean(&cli)).map_err(Failed))
}

/// An error as the front tells it.
struct Failed(anyhow::Error);

impl AsRef<dyn std::error::Error + 'static> for Failed {
    fn as_ref(&self) -> &(dyn std::error::Error + 'static) {
        self.0.as_ref()
    }
}

async fn clean(cli: &Cli) -> Result<ExitCode> {
    let overrides = Overrides { config: cli.config.clone(), ..Overrides::default() };
    let setup = Setup::read(Kind::Archiver, overrides)?;
    let store = god_plugins::store(&setup.config).await?;
    let seed = getrandom::u64().context("cannot get random numbers")?;
    let cleaner = Cleaner { store: &*store, ops: Ops::new(seed), dry_run: cli.dry_run };
    let (n, is_well) = if cli.ids.is_empty() {
        (cleaner.old(setup.config.base.clean_old_days).await?, true)
    } else {
        cleaner.named(&cli.ids).await?
    };
    if cli.dry_run {
        println!("{n} would be archived");
    } else {
        println!("{n} will be archived");
        if n > 0 && !lives(&*store).await? {
            eprintln!("go-d-clean: note: no archiver works now; start go-d-archive (or go-d up)");
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Cleaner<'a> {
    store: &'a dyn Store,
    ops: Ops,
    dry_run: bool,
}

impl Cleaner<'_> {
    /// All that ended so many days ago; an array goes as a whole. Answers how many.
    async fn old(&self, days: u32) -> Result<usize> {
        let until = Timestamp(now().0.saturating_sub(i64::from(days) * DAY));
        let ended = Span { from: None, until: Some(until) };
        let phases = vec![Phase::Over];
        let mut query = TaskQuery { phases, ended, no_children: true, limit: PAGE, ..TaskQuery::default() };
        let mut n = 0;
        loop {
            let page = self.store.find(&query).await?;
            n += self.archive(&page.tasks).await?;
            query.before = page.next;
            if query.before.is_none() {
                break;
            }
        }
        if n > 0 && !self.dry_run {
            self.audit(&format!("tasks over for {days} days"), n).await?;
        }
        Ok(n)
    }

    /// These; answers how many, and whether all of them could be asked for.
    async fn named(&self, ids: &[TaskId]) -> Result<(usize, bool)> {
        let (mut n, mut is_well) = (0, true);
        for ids in ids.chunks(PAGE) {
            let mut tasks = Vec::new();
            for (id, task) in ids.iter().zip(self.store.get(ids).await?) {
                let refused = match &task {
                    None => Some("there is no such task"),
                    Some(task) if !task.phase().is_over() => Some("it is not over"),
                    Some(_) => None,
                };
                if let Some(why) = refused {
                    eprintln!("go-d-clean: task {id}: {why}");
                    is_well = false;
                } else {
                    tasks.extend(task);
                }
            }
            let asked = self.archive(&tasks).await?;
            if asked > 0 && !self.dry_run {
                let ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
                self.audit(&ids.join(","), asked).await?;
            }
            n += asked;
        }
        Ok((n, is_well))
    }

    /// Asks for the archive of those of which it was not asked yet; answers how many that are.
    async fn archive(&self, tasks: &[Task]) -> Result<usize> {
        if self.dry_run {
            let meant = tasks.iter().filter(|task| task.asked(Ask::Archive, None, now()).is_some());
            return Ok(meant
                .inspect(|task| println!("{} {} {}", task.id, task.spec.owner.id, task.spec.name))
                .count());
        }
        let op = || -> OpId { self.ops.next() };
        Ok(ask_all(self.store, tasks, Ask::Archive, now(), op).await?.len())
    }

    async fn audit(&self, object: &str, n: usize) -> Result<()> {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten();
        let record = AuditRecord {
            at: now(),
            who: user.map_or_else(|| nix::unistd::Uid::current().to_string(), |user| user.name),
            from: "go-d-clean".to_owned(),
            action: "task.archive".to_owned(),
            object: object.to_owned(),
            before: None,
            after: Some(serde_json::json!({ "asked": n })),
        };
        Ok(self.store.audit(&[record]).await?)
    }
}

/// Whether an archiver works, as far as its lease tells.
async fn lives(store: &dyn Store) -> Result<bool> {
    let leases = store.leases(ARCHIVER).await?;
    Ok(leases.iter().any(|lease| lease.name == ARCHIVER && lease.holder.is_some() && !store.is_gone(lease)))
}
