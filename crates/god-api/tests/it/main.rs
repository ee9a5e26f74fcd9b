//! The interface over a store in memory: through the router, and through a real listener where bytes matter.

mod acts;
mod archive;
mod audit;
mod bodies;
mod clients;
mod files;
mod listener;
mod lists;
mod live;
mod local_users;
mod login;
mod matrix;
mod paths;
mod projects;
mod pushed;
mod removal;
mod submit;
mod typed;
mod users;
mod world;
