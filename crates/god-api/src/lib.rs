//! The REST interface: routes, tokens, and who may do what.
//!
//! It works on [`god_core::store::Store`] alone: a submit, a kill or a list is a read or a write of the store, and the
//! daemons do the rest. It keeps no state that is worth saving. What existing clients rely on (header spellings, status
//! codes, words) is in [`http`] and [`god_core::wire`].

mod access;
mod app;
mod audit;
mod bulk;
mod config;
mod error;
mod fresh;
mod guard;
mod http;
mod hub;
mod identity;
mod openapi;
mod origin;
mod removal;
mod route;
mod routes;
mod serve;
mod session;
mod subject;
mod throttle;
mod token;
mod typed;
mod why;

pub use app::{App, Parts};
pub use config::{ApiConfig, Cadvisor, Doors, ImageOffer, PushKey, VolumeOffer};
pub use route::{Kind, RouteInfo, Who};
pub use routes::{router, routes};
pub use serve::serve;
pub use throttle::Throttle;
