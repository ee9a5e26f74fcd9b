//! What one process alone cannot show: the latch between processes.

mod latch_race;
