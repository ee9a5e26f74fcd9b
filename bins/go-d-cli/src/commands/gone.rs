//! A server that is away for a while: jobs go on without it, so whoever waits for one tries on.

use crate::failure::{Failure, warn};
use std::time::{Duration, Instant};

/// How long a server may be away before we give up.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Pauses while it is away, doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// How long the server has not been there. One that never answered is not waited for: the address may be wrong.
#[derive(Debug, Default)]
pub struct Gone {
    answered: bool,
    since: Option<Instant>,
    pause: Duration,
}

impl Gone {
    /// For a server that has answered in this command.
    pub fn after_an_answer() -> Gone {
        Gone { answered: true, ..Gone::default() }
    }

    /// It answered, with whatever; the next absence is waited out.
    pub fn has_answered(&mut self) {
        self.answered = true;
    }

    /// It is there.
    pub fn is_back(&mut self) {
        *self = Gone::after_an_answer();
    }

    /// Pauses after a failure that may pass.
    ///
    /// # Errors
    /// The failure itself, when it will not pass or has lasted too long.
    pub async fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        if !matches!(failure, Failure::Unreachable(_) | Failure::Lost(_)) || !self.answered {
            return Err(failure);
        }
        let since = *self.since.get_or_insert_with(|| {
            warn(&format!("{failure}; trying on"));
            Instant::now()
        });
        if since.elapsed() > PATIENCE {
            return Err(failure);
        }
        self.pause = (self.pause * 2).clamp(PAUSES.0, PAUSES.1);
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}
