//! One row of the table of routes: the address, who may come in, what it does, and the handler. The router, the interface's
//! description and the tests that walk all routes are made from the same rows.

use crate::app::App;
use crate::guard::guard;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use std::sync::Arc;

/// Who may come in. What a handler lets its caller do with a certain object is decided by [`crate::access`] besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody, also without a login.
    Anyone,
    /// Every user who is logged in and active.
    User,
    /// The owner of what the address names, those the owner shares it with, and admins.
    Owner,
    /// Admins.
    Admin,
    /// Programs of ours, by a key in the body.
    Key,
}

/// What a route does, as far as everybody around it must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers, and that is all.
    Reads,
    /// It answers for as long as the client listens.
    Streams,
    /// It changes what is stored, and leaves one record in the audit trail under this name.
    Changes(&'static str),
}

/// What is known of a route beside its handler.
#[derive(Debug, Clone)]
pub struct RouteInfo {
    /// The method.
    pub method: Method,
    /// The whole path, with parameters in braces.
    pub path: &'static str,
    /// Who may come in.
    pub who: Who,
    /// What it does.
    pub kind: Kind,
    /// One sentence for its users.
    pub summary: &'static str,
    /// Whether its body may hold a script.
    pub has_large_body: bool,
}

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) info: RouteInfo,
    handler: MethodRouter<App>,
}

impl Route {
    fn new<H, T>(filter: MethodFilter, info: RouteInfo, handler: H) -> Route
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Route { info, handler: on(filter, handler) }
    }

    /// A route that only answers.
    pub(crate) fn get<H, T>(path: &'static str, who: Who, summary: &'static str, handler: H) -> Route
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let info =
            RouteInfo { method: Method::GET, path, who, kind: Kind::Reads, summary, has_large_body: false };
        Route::new(MethodFilter::GET, info, handler)
    }

    /// A route that only answers, and is asked with a body.
    pub(crate) fn ask<H, T>(path: &'static str, who: Who, summary: &'static str, handler: H) -> Route
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let info =
            RouteInfo { method: Method::POST, path, who, kind: Kind::Reads, summary, has_large_body: false };
        Route::new(MethodFilter::POST, info, handler)
    }

    /// A route that answers for as long as the client listens.
    pub(crate) fn stream<H, T>(path: &'static str, who: Who, summary: &'static str, handler: H) -> Route
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let info =
            RouteInfo { method: Method::GET, path, who, kind: Kind::Streams, summary, has_large_body: false };
        Route::new(MethodFilter::GET, info, handler)
    }

    /// A route that changes something; `action` is its name in the audit trail.
    pub(crate) fn change<H, T>(
        method: Method,
        path: &'static str,
        who: Who,
        action: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Route
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("one of the common methods");
        let info =
            RouteInfo { method, path, who, kind: Kind::Changes(action), summary, has_large_body: false };
        Route::new(filter, info, handler)
    }

    /// A route that changes something by `POST`, and by `GET` because existing clients ask for it so.
    pub(crate) fn change_by_both<H, T>(
        path: &'static str,
        who: Who,
        action: &'static str,
        summary: &'static str,
        handler: H,
    ) -> [Route; 2]
    where
        H: Handler<T, App>,
        T: 'static,
    {
        [Method::GET, Method::POST]
            .map(|method| Route::change(method, path, who, action, summary, handler.clone()))
    }

    /// With a body that may hold a script.
    pub(crate) fn large(mut self) -> Route {
        self.info.has_large_body = true;
        self
    }

    /// Puts it into a router, with the guard before its handler.
    pub(crate) fn add(self, router: Router<App>, app: &App) -> Router<App> {
        let layer = from_fn_with_state((app.clone(), Arc::new(self.info.clone())), guard);
        router.route(self.info.path, self.handler.route_layer(layer))
    }
}
