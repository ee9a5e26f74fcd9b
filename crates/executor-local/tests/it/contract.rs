//! The contract of all executors: counted only, and held by control groups where this machine has them.

mod plain {
    god_testkit::executor_contract!(crate::bed::plain);
}

mod limited {
    god_testkit::executor_contract!(crate::bed::limited);
}
