//! The contract that every store passes.
