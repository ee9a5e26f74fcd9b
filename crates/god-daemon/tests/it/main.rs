//! The crate as programs see it.

mod pidfile;
