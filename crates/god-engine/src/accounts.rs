//! What users and projects used, what their live tasks hold, and what they may have. Pure.
//!
//! A live task is *held* from its claim on. When it ends, its usage is booked in the store in the same instant, and the
//! scheduler hears of it later. What it held is given back only with a reading of the books that began after that: so what
//! is booked and held together is never less than the truth, and no quota is exceeded.

use god_core::group::Group;
use god_core::ids::{ProjectId, UserId};
use god_core::policy::Standing;
use god_core::reason::{Code, Reason};
use god_core::units::{Bytes, Timestamp};
use god_core::usage::{Ledger, Used};
use god_core::user::{Project, User};
use std::collections::HashMap;

/// Whose account a task is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    user: u32,
    project: u32,
}

/// What one task puts on its accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charge {
    /// Cores.
    pub cores: u32,
    /// Memory in GB.
    pub ram: u32,
    /// When it was claimed.
    pub claimed: Timestamp,
}

/// Sums of charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    tasks: u64,
    cores: u64,
    ram: u64,
    /// Sum of the times of the claims, in milliseconds.
    claimed: i128,
}

impl Held {
    fn add(&mut self, charge: Charge) {
        self.tasks += 1;
        self.cores += u64::from(charge.cores);
        self.ram += u64::from(charge.ram);
        self.claimed += i128::from(charge.claimed.0);
    }

    fn remove(&mut self, charge: Charge) {
        self.tasks = self.tasks.saturating_sub(1);
        self.cores = self.cores.saturating_sub(u64::from(charge.cores));
        self.ram = self.ram.saturating_sub(u64::from(charge.ram));
        self.claimed -= i128::from(charge.claimed.0);
    }

    /// How long all of them together have run, as far as can be said without the executors.
    fn millis(self, now: Timestamp) -> u64 {
        let sum = i128::from(self.tasks) * i128::from(now.0) - self.claimed;
        u64::try_from(sum.max(0)).unwrap_or(u64::MAX)
    }
}

/// One user or project.
#[derive(Debug, Clone, Default)]
struct Account {
    name: String,
    standing: Standing,
    /// Seconds, cores, GB; 0 is none.
    quotas: [f64; 3],
    held: Held,
}

/// Whether a task may start as far as quotas go.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// No quota is in its way.
    Free,
    /// It has to wait: tasks that run now may use up what is left.
    Wait(Reason),
    /// It can not start any more: the quota is used up, as far as is booked.
    Never(Reason),
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Accounts {
    users: Vec<Account>,
    projects: Vec<Account>,
    user_index: HashMap<UserId, u32>,
    project_index: HashMap<ProjectId, u32>,
    /// Charges of tasks that live no more, to be given back with the next reading.
    ended: Vec<(Who, Charge)>,
    disk_quota: Option<Bytes>,
    window_days: u32,
    /// Whether anybody has a quota.
    limited: bool,
    /// Whether there is an account of which nothing was read yet.
    strangers: bool,
}

/// The charges that a reading of the books, begun now, will settle.
#[derive(Debug)]
#[must_use = "give it back with `settle` or `keep`"]
pub struct Settling(Vec<(Who, Charge)>);

impl Accounts {
    /// Empty accounts. Nobody's job directories may be larger than `disk_quota`; `window_days` is for texts.
    #[must_use]
    pub fn new(disk_quota: Option<Bytes>, window_days: u32) -> Accounts {
        Accounts { disk_quota, window_days, limited: disk_quota.is_some(), ..Accounts::default() }
    }

    /// The accounts of a group's tasks.
    pub fn who(&mut self, group: &Group) -> Who {
        let user = match self.user_index.get(&group.owner) {
            Some(ix) => *ix,
            None => {
                let ix = add(&mut self.users, group.owner.as_str());
                self.strangers = true;
                self.user_index.insert(group.owner.clone(), ix);
                ix
            }
        };
        let project = match self.project_index.get(&group.project) {
            Some(ix) => *ix,
            None => {
                let ix = add(&mut self.projects, group.project.as_str());
                self.strangers = true;
                self.project_index.insert(group.project.clone(), ix);
                ix
            }
        };
        Who { user, project }
    }

    /// The user's and the project's standing.
    #[must_use]
    pub fn standings(&self, who: Who) -> (&Standing, &Standing) {
        (&self.user(who).standing, &self.project(who).standing)
    }

    fn user(&self, who: Who) -> &Account {
        &self.users[who.user as usize]
    }

    fn project(&self, who: Who) -> &Account {
        &self.projects[who.project as usize]
    }

    /// A task was claimed.
    pub fn hold(&mut self, who: Who, charge: Charge) {
        self.users[who.user as usize].held.add(charge);
        self.projects[who.project as usize].held.add(charge);
    }

    /// A claim did not come about.
    pub fn unhold(&mut self, who: Who, charge: Charge) {
        self.users[who.user as usize].held.remove(charge);
        self.projects[who.project as usize].held.remove(charge);
    }

    /// A task lives no more. It goes on being held until the next reading of the books.
    pub fn ended(&mut self, who: Who, charge: Charge) {
        self.ended.push((who, charge));
    }

    /// Whether the books must be read, people included, before anything is judged: there is somebody new.
    #[must_use]
    pub fn has_strangers(&self) -> bool {
        self.strangers
    }

    /// Whether something ended since the last reading.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Call before a reading of the books begins.
    pub fn settling(&mut self) -> Settling {
        Settling(std::mem::take(&mut self.ended))
    }

    /// The reading failed.
    pub fn keep(&mut self, settling: Settling) {
        self.ended.extend(settling.0);
    }

    /// Takes over what was read of the books, and gives back what is in it. `people` is left out when it was not read.
    pub fn settle(&mut self, settling: Settling, ledger: &Ledger, people: Option<(&[User], &[Project])>) {
        for (who, charge) in settling.0 {
            self.unhold(who, charge);
        }
        for (id, ix) in &self.user_index {
            self.users[*ix as usize].standing.used = ledger.users.get(id).copied().unwrap_or_default();
        }
        for (id, ix) in &self.project_index {
            self.projects[*ix as usize].standing.used = ledger.projects.get(id).copied().unwrap_or_default();
        }
        let Some((users, projects)) = people else { return };
        self.strangers = false;
        // Who has no record has no quota, and the middle priority.
        for account in self.users.iter_mut().chain(&mut self.projects) {
            account.quotas = [0.0; 3];
            account.standing.prio = Standing::default().prio;
        }
        let prio = |prio: u32| f64::from(prio.min(100)) / 100.0;
        for user in users {
            if let Some(ix) = self.user_index.get(&user.id) {
                let account = &mut self.users[*ix as usize];
                (account.quotas, account.standing.prio) = (user.quotas, prio(user.prio));
            }
        }
        for project in projects.iter().filter(|project| project.id.as_str() != ProjectId::DEFAULT) {
            if let Some(ix) = self.project_index.get(&project.id) {
                let account = &mut self.projects[*ix as usize];
                (account.quotas, account.standing.prio) = (project.quotas, prio(project.prio));
            }
        }
        let mut all = self.users.iter().chain(&self.projects);
        self.limited = self.disk_quota.is_some() || all.any(|a| a.quotas.iter().any(|quota| *quota > 0.0));
    }

    /// Whether anybody has a quota; if not, every verdict is free.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether a task that asks for so much may start now.
    #[must_use]
    pub fn judge(&self, who: Who, cores: u32, ram: u32, now: Timestamp) -> Verdict {
        if !self.limited {
            return Verdict::Free;
        }
        let (user, project) = (self.user(who), self.project(who));
        if let Some(reason) = self.disk(user) {
            return Verdict::Never(reason);
        }
        let mut wait = None;
        for (account, kind) in [(user, Kind::User), (project, Kind::Project)] {
            for what in [What::Time, What::Cpu, What::Ram] {
                let quota = account.quotas[what as usize];
                // Not a number is no quota either.
                if quota.is_nan() || quota <= 0.0 {
                    continue;
                }
                let Used { millis, cores: booked_cores, ram: booked_ram, .. } = account.standing.used;
                // How long a task will run is not known, so time may be exceeded by the last tasks, as it always could.
                let (booked, held, asked) = match what {
                    What::Time => (millis as f64 / 1000.0, account.held.millis(now) as f64 / 1000.0, 0.0),
                    What::Cpu => (booked_cores as f64, account.held.cores as f64, f64::from(cores)),
                    What::Ram => (booked_ram as f64, account.held.ram as f64, f64::from(ram)),
                };
                let numbers = Numbers { kind, what, quota, booked, held, asked, days: self.window_days };
                if booked + asked > quota {
                    return Verdict::Never(numbers.reason(&account.name, true));
                }
                if wait.is_none() && booked + held + asked > quota {
                    wait = Some(numbers.reason(&account.name, false));
                }
            }
        }
        wait.map_or(Verdict::Free, Verdict::Wait)
    }

    fn disk(&self, user: &Account) -> Option<Reason> {
        let (quota, used) = (self.disk_quota?, Bytes(user.standing.used.disk));
        if used <= quota {
            return None;
        }
        let text = format!(
            "Quota reached: job directories of user {} hold {used} and may hold {quota}; archive some of them",
            user.name
        );
        Some(Reason::new(Code::QuotaDisk, text).with("quota_bytes", quota.0).with("used_bytes", used.0))
    }
}

fn add(accounts: &mut Vec<Account>, name: &str) -> u32 {
    accounts.push(Account { name: name.to_owned(), ..Account::default() });
    u32::try_from(accounts.len() - 1).expect("there are fewer than four billion users")
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    User,
    Project,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Time,
    Cpu,
    Ram,
}

/// The numbers of one quota.
struct Numbers {
    kind: Kind,
    what: What,
    quota: f64,
    booked: f64,
    held: f64,
    asked: f64,
    days: u32,
}

impl Numbers {
    fn reason(&self, name: &str, never: bool) -> Reason {
        let Numbers { kind, what, quota, booked, held, asked, days } = self;
        let (code, kind) = match (kind, what) {
            (Kind::User, What::Time) => (Code::QuotaUserTime, "user"),
            (Kind::User, What::Cpu) => (Code::QuotaUserCpu, "user"),
            (Kind::User, What::Ram) => (Code::QuotaUserRam, "user"),
            (Kind::Project, What::Time) => (Code::QuotaProjectTime, "project"),
            (Kind::Project, What::Cpu) => (Code::QuotaProjectCpu, "project"),
            (Kind::Project, What::Ram) => (Code::QuotaProjectRam, "project"),
        };
        let unit = match what {
            What::Time => "seconds of run time",
            What::Cpu => "cores",
            What::Ram => "GB of memory",
        };
        let begin = if never { "Quota reached" } else { "Waits for quota" };
        let mut text =
            format!("{begin}: {kind} {name} may use {quota} {unit} in {days} days, used {booked:.0}");
        if !never {
            text.push_str(&format!(", tasks that run hold {held:.0}"));
        }
        if *asked > 0.0 {
            text.push_str(&format!(", this task asks for {asked}"));
        }
        Reason::new(code, text)
            .with_amount("quota", *quota)
            .with_amount("used", *booked)
            .with_amount("held", *held)
            .with_amount("asked", *asked)
            .with("days", *days)
    }
}

#[cfg(test)]
mod tests;
