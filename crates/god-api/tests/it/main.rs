//! The interface over a store in memory: through the router, and through a real listener where bytes matter.

mod acts;
mod bodies;
mod files;
mod listener;
mod lists;
mod live;
mod local_users;
mod login;
mod paths;
mod submit;
mod users;
mod world;
