//! The real program: as PID 1 of a container-like place, and as keeper of local jobs.

mod adoption;
mod cgroups;
mod container;
mod ends;
mod hostile;
mod images;
mod queue;
mod requests;
mod runs;
mod support;
mod users;
