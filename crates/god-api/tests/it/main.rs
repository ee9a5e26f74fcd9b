//! The interface over a store in memory: through the router, and through a real listener where bytes matter.

mod acts;
mod archive;
mod audit;
mod bodies;
mod clients;
mod directory;
mod files;
mod guessing;
mod listener;
mod lists;
mod live;
mod local_users;
mod login;
mod matrix;
mod openapi;
mod paths;
mod projects;
mod proxy;
mod pushed;
mod removal;
mod sessions;
mod submit;
mod typed;
mod users;
mod world;
