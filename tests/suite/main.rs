//! The whole suite as its users and its administrators meet it: real processes, real signals, real files.

mod bad_input;
mod disk_full;
mod keeper;
mod kill9;
mod recorder;
mod restart;
mod rng;
mod site;
mod web;
