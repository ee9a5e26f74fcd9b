//! The programs as users meet them: real processes, the REST interface, signals.

mod daemons;
mod people;
mod site;
mod up;
