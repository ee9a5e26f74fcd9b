//! The watcher `fake`: refuses to start tasks that are named `norun`. For trying what a watcher's refusal looks like.

use god_core::task::Task;
use god_core::watcher::WatcherPlugin;

/// The name in the configuration.
pub const NAME: &str = "fake";

/// The name of tasks that may not start.
const REFUSED: &str = "norun";

/// Refuses tasks by their name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fake;

impl WatcherPlugin for Fake {
    fn name(&self) -> &'static str {
        NAME
    }

    fn can_start(&self, task: &Task) -> Result<(), String> {
        if task.spec.name == REFUSED {
            return Err(format!("The watcher fake starts no task named {REFUSED}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::{TaskId, Timestamp};
    use god_testkit::build::{owner, spec};
    use std::sync::Arc;

    #[test]
    fn one_name_is_refused() {
        let task = |name: &str| {
            let spec = god_core::TaskSpec { name: name.to_owned(), ..spec(owner(1000, 1000), "true") };
            Task::new(TaskId(1), Arc::new(spec), Timestamp(0))
        };
        let why = Fake.can_start(&task("norun")).expect_err("refused");
        assert!(why.contains("norun"), "{why}");
        Fake.can_start(&task("run")).expect("any other name");
    }
}
