//! The programs as users meet them: real processes, the REST interface, signals.

mod alive;
mod archive;
mod daemons;
mod hostile;
mod names;
mod notices;
mod people;
mod site;
mod up;
