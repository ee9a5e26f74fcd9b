//! The wire document.
