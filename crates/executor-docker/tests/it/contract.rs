//! What every executor promises.

god_testkit::executor_contract!(crate::bed::bed);
