//! Process tests of the built binaries.
