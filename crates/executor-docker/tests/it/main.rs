//! Against a real engine: the one that `DOCKER_HOST` names, with the images of `cargo xtask up docker`, and the static
//! go-d-init of `cargo xtask init-static`. Root is needed: containers run as other users.

mod bed;
mod containers;
mod contract;
mod images;
mod private;
mod secure;
mod trouble;
