//! The contract that every executor meets, real or not: one function for each promise of
//! [`god_core::executor::Executor`].
//!
//! A crate of an executor writes one function that prepares a [`Bed`] and names it in
//! [`executor_contract!`](crate::executor_contract!); each promise becomes one test. What an executor does not have
//! (files, pausing, a second instance) the bed says, and the parts that need it are left out aloud.
//!
//! The scripts are for `/bin/sh` and carry the same order as a `#FAKE` line, so that an executor that runs nothing can
//! obey them as well.

mod bed;
mod ends;
mod files;
mod runs;

pub use bed::Bed;
pub use ends::*;
pub use files::*;
pub use runs::*;

/// Makes one test of each promise. The argument names an `async fn() -> Option<Bed>`; `None` is a test that was
/// skipped. The crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! executor_contract {
    ($bed:path) => {
        $crate::executor_contract! { @each $bed;
            exit_codes_are_told
            a_signal_is_told_apart
            a_script_that_cannot_run_ends
            the_time_limit_ends_a_run
            a_changed_time_limit_holds
            a_warning_comes_before_the_time_limit
            too_much_memory_is_told
            a_batch_is_answered_in_order
            the_same_attempt_makes_one_run
            an_unknown_attempt_is_absent
            observing_keeps_the_order
            kill_without_grace_is_hard
            kill_with_grace_lets_the_script_clean_up
            kill_goes_on_to_the_hard_signal
            kill_of_nothing_is_fine
            kill_of_a_paused_run_ends_it
            list_shows_what_is_not_forgotten
            a_forgotten_attempt_never_runs_again
            an_abandoned_attempt_never_runs
            abandon_says_what_ran
            abandon_and_start_have_one_winner
            pause_stands_still
            events_come_by_themselves
            another_instance_finds_the_runs
            output_goes_to_the_job_directory
            uris_are_listed
            no_output_leaves_nothing
            the_environment_is_complete
            a_child_of_an_array_knows_its_place
            the_script_arrives_byte_for_byte
            the_identity_is_the_owners
            forget_keeps_files_when_asked
        }
    };
    (@each $bed:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                if let Some(bed) = $bed().await {
                    $crate::executor_contract::$promise(&bed).await;
                }
            }
        )*
    };
}
