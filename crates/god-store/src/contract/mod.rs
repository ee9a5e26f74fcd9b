//! The contract that every store passes: each check is one function over fresh, empty stores, so that a failure names
//! itself. [`crate::contract_tests`] makes one test of each check; [`store_contract`] runs them all in one go.
//!
//! Nothing here knows how a store works: only what [`god_core::store::Store`] promises is asked.

mod arrays;
mod books;
mod changes;
mod feed;
mod finds;
pub mod fixture;
mod leases;
mod ledger;
mod purges;
mod reads;
mod removals;
mod submits;

pub use arrays::*;
pub use books::*;
pub use changes::*;
pub use feed::*;
pub use finds::*;
pub use leases::*;
pub use ledger::*;
pub use purges::*;
pub use reads::*;
pub use removals::*;
pub use submits::*;

use god_core::store::Store;
use std::sync::Arc;

/// How the fresh store that a check asks for shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Entries of the change sequence to keep, about; `None` is the store's own number.
    pub notes_kept: Option<u64>,
}

/// Runs every check, one after the other.
///
/// # Panics
/// When a check fails.
pub async fn store_contract(make: impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    crate::contract_tests!(@table all (make));
}

/// Makes one `#[tokio::test]` of each check. The argument is an expression that makes a fresh store: an
/// `AsyncFn(Wanted) -> Arc<dyn Store>`, such as the name of an `async fn`. A check that hangs fails after two minutes.
#[macro_export]
macro_rules! contract_tests {
    ($make:expr) => {
        $crate::contract_tests!(@table tests ($make));
    };
    (@table $kind:ident $args:tt) => {
        $crate::contract_tests! { @$kind $args
            ids_grow_and_arrays_set_theirs_aside
            what_was_submitted_is_read_back
            a_key_makes_one_task
            limits_count_arrays_whole
            limits_hold_against_each_other
            concurrent_submits_get_different_ids
            a_change_needs_the_version_it_was_made_from
            a_repeated_change_is_stale
            each_change_is_answered_by_itself
            later_changes_see_earlier_ones
            every_document_is_read_back_whole
            what_is_over_stays_over
            identity_is_what_is_stored
            a_changed_specification_is_written
            racing_changes_have_one_winner
            a_lost_lease_stops_a_write
            children_exist_without_documents
            the_first_write_of_a_child_needs_its_place
            counters_of_the_parent_follow
            a_parent_ends_after_its_children
            nothing_is_made_below_a_parent_that_is_over
            a_wanted_end_lets_only_ended_children_in
            made_children_are_told_as_ranges
            children_share_their_parents_specification
            racing_children_and_parent_agree
            scans_go_up_in_pages
            scans_know_owner_and_phase
            finished_tasks_come_newest_first
            counts_equal_a_recount
            pages_hold_what_a_query_asks_for
            pages_follow_changes
            every_write_gives_a_note_in_order
            notes_come_in_pages
            what_is_at_hand_is_what_was_written
            what_is_at_hand_of_a_child_follows_its_parent
            a_position_too_old_is_told
            a_position_that_never_was_is_told
            the_bell_wakes_a_waiter
            nothing_written_rings_nothing
            a_lease_is_taken_renewed_given_back
            a_lease_is_taken_only_as_it_was_found
            epochs_grow_for_ever
            racing_takers_have_one_winner
            leases_are_listed_by_prefix
            users_are_written_over_their_version
            projects_are_written_over_their_version
            an_attempt_is_booked_once
            usage_is_summed_by_day
            images_that_worked_are_known
            notices_wait_until_acknowledged
            pins_are_found_by_prefix
            only_finished_tasks_are_purged
            a_purged_array_takes_its_children_along
            purged_ids_stay_used
            usage_of_everybody_is_read_at_once
            a_reset_forgets_what_was_counted
            the_audit_trail_keeps_every_act
            bytes_count_while_the_files_are_there
            bytes_come_with_the_end_as_well
            bytes_of_children_go_with_the_array
            requests_on_finished_tasks_are_found
            an_end_is_told_once
            a_child_that_was_never_written_has_nothing_to_remove
        }
    };
    (@tests ($make:expr) $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let limit = std::time::Duration::from_secs(120);
                tokio::time::timeout(limit, $crate::contract::$name(&$make))
                    .await
                    .expect("the check comes to an end");
            }
        )*
    };
    (@all ($make:ident) $($name:ident)*) => {
        $( $name(&$make).await; )*
    };
}
