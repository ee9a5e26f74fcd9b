//! Requests to the server: one token for a command, one new login when it has run out, and errors in words that say
//! what to do.

use crate::credentials::Credentials;
use crate::failure::Failure;
use crate::server::Server;
use crate::text;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::time::Duration;

/// The exact text by which a listing differs from a file that happens to be JSON.
pub const JSON_TYPE: &str = "application/json; charset=UTF-8";

/// How long we wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent within an answer. Streams of the server say something every few seconds.
const SILENCE: Duration = Duration::from_secs(90);
/// Most bytes of an error that are read.
const ERROR_MAX: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What we are doing, to what, for messages: `killing task 7`.
    pub doing: String,
    method: Method,
    url: Url,
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

impl Ask {
    /// With a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Ask {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.headers.push((name, value.into()));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Ask {
        self.body = Some(body);
        self
    }
}

/// A server on which we are, or can be, logged in.
#[derive(Debug)]
pub struct Api {
    http: Client,
    server: Server,
    credentials: Option<Credentials>,
    token: RefCell<Option<SecretString>>,
}

impl Api {
    /// For routes that need a login. Nothing is sent yet.
    ///
    /// # Errors
    /// The HTTP client cannot be made: no certificates of authorities on this machine, for `https`.
    pub fn new(credentials: Credentials) -> Result<Api, Failure> {
        let token = RefCell::new(credentials.cached_token());
        let server = credentials.server.clone();
        Ok(Api { http: http_client(&server)?, server, credentials: Some(credentials), token })
    }

    /// For routes that need none.
    ///
    /// # Errors
    /// As [`Api::new`].
    pub fn anonymous(server: Server) -> Result<Api, Failure> {
        Ok(Api { http: http_client(&server)?, server, credentials: None, token: RefCell::new(None) })
    }

    /// Login name; empty without a login.
    pub fn user(&self) -> &str {
        self.credentials.as_ref().map_or("", |credentials| credentials.user.as_str())
    }

    /// Where we ask.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A request to be sent.
    pub fn ask(&self, method: Method, parts: &[&str], doing: impl Into<String>) -> Ask {
        let url = self.server.route(parts.iter().copied());
        Ask { doing: doing.into(), method, url, body: None, headers: Vec::new() }
    }

    /// A request to the typed interface, which older servers do not have.
    pub fn ask_typed(&self, method: Method, parts: &[&str], doing: impl Into<String>) -> Ask {
        let url = self.server.typed_route(parts.iter().copied());
        Ask { doing: doing.into(), method, url, body: None, headers: Vec::new() }
    }

    /// A request that reads from the typed interface.
    pub fn get_typed(&self, parts: &[&str], doing: impl Into<String>) -> Ask {
        self.ask_typed(Method::GET, parts, doing)
    }

    /// A request that reads.
    pub fn get(&self, parts: &[&str], doing: impl Into<String>) -> Ask {
        self.ask(Method::GET, parts, doing)
    }

    /// Sends it and reads the whole answer as JSON.
    ///
    /// # Errors
    /// As [`Api::send`], and [`Failure::Garbled`].
    pub async fn json(&self, ask: &Ask) -> Result<Value, Failure> {
        let response = self.send(ask).await?;
        let bytes = response.bytes().await.map_err(|err| self.unreachable(&err))?;
        serde_json::from_slice(&bytes).map_err(|err| garbled(ask, &format!("no JSON: {err}")))
    }

    /// As [`Api::json`]; `None` when there is no such thing, or no such address.
    ///
    /// # Errors
    /// As [`Api::json`], but [`Failure::Missing`].
    pub async fn json_if_there(&self, ask: &Ask) -> Result<Option<Value>, Failure> {
        match self.json(ask).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::Missing { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Sends it and gives the answer once it is known to be a good one. A token that the server no longer takes is
    /// replaced once.
    ///
    /// # Errors
    /// Every kind but the local ones.
    pub async fn send(&self, ask: &Ask) -> Result<Response, Failure> {
        let Some(credentials) = &self.credentials else {
            return self.judge(ask, self.transmit(ask, None).await?).await;
        };
        let kept = self.token.borrow().clone();
        let was_kept = kept.is_some();
        let token = match kept {
            Some(token) => token,
            None => self.authenticate(credentials).await?,
        };
        let response = self.transmit(ask, Some(&token)).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !was_kept {
            return self.judge(ask, response).await;
        }
        let token = self.authenticate(credentials).await?;
        self.judge(ask, self.transmit(ask, Some(&token)).await?).await
    }

    /// Exchanges the key for a token, which is kept.
    ///
    /// # Errors
    /// [`Failure::NotLoggedIn`] when the key is not accepted; else as [`Api::send`].
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<SecretString, Failure> {
        let body = json!({"user": credentials.user, "apikey": credentials.apikey.expose_secret()});
        let doing = format!("logging in as {} at {}", credentials.user, self.server);
        let ask = self.ask(Method::POST, &["authenticate"], doing).body(body);
        let response = self.transmit(&ask, None).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Failure::NotLoggedIn(format!(
                "{} does not accept the API key of {}. Log in with the right one: go-d-cli login --server {} \
                 --user {}",
                self.server, credentials.user, self.server, credentials.user
            )));
        }
        let response = self.judge(&ask, response).await?;
        let bytes = response.bytes().await.map_err(|err| self.unreachable(&err))?;
        let answer: Value =
            serde_json::from_slice(&bytes).map_err(|err| garbled(&ask, &format!("no JSON: {err}")))?;
        let token = answer["token"].as_str().filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        let token = SecretString::from(token.ok_or_else(|| garbled(&ask, "no token in it"))?);
        credentials.cache_token(&token);
        self.token.replace(Some(token.clone()));
        Ok(token)
    }

    async fn transmit(&self, ask: &Ask, token: Option<&SecretString>) -> Result<Response, Failure> {
        let mut request: RequestBuilder = self.http.request(ask.method.clone(), ask.url.clone());
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        request.send().await.map_err(|err| self.unreachable(&err))
    }

    /// Passes a good answer on and turns any other into words.
    async fn judge(&self, ask: &Ask, mut response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            let text = format!(
                "{} sends us to {}: give the address of the server itself, go-d-cli login --server URL",
                self.server,
                text::short(to, 200)
            );
            return Err(Failure::Server { doing: ask.doing.clone(), text });
        }
        let said = error_text(&mut response).await;
        let or = |default: &str| said.clone().unwrap_or_else(|| default.to_owned());
        let doing = ask.doing.clone();
        Err(match status {
            StatusCode::UNAUTHORIZED => Failure::NotLoggedIn(format!(
                "{doing}: {} takes us for nobody ({}). Log in again: go-d-cli login --server {}",
                self.server,
                or("no reason given"),
                self.server
            )),
            StatusCode::FORBIDDEN => Failure::Refused { doing, text: or("not allowed") },
            StatusCode::NOT_FOUND => Failure::Missing { doing, text: or("there is no such thing") },
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Failure::Lost(format!(
                    "{doing}: what stands before the server at {} cannot reach it ({status}). Try again later",
                    self.server
                ))
            }
            status => Failure::Server { doing, text: or(&format!("the server answered {status}")) },
        })
    }

    /// Words for an answer that did not come, or not to its end.
    pub fn unreachable(&self, err: &reqwest::Error) -> Failure {
        let server = &self.server;
        let cause = text::short(&deepest(err), 300);
        if is_refused(err) {
            return Failure::Unreachable(format!(
                "no server answers at {server} (connection refused). Start one there with `go-d up`, or name \
                 another: go-d-cli login --server URL"
            ));
        }
        if err.is_dns() {
            return Failure::Unreachable(format!(
                "the host of {server} is not known ({cause}). Is the address right?"
            ));
        }
        if err.is_connect() {
            let why = if err.is_timeout() { format!("none in {} s", CONNECT.as_secs()) } else { cause };
            return Failure::Unreachable(format!(
                "no connection to {server} ({why}). Is the address right? The certificate of an authority of \
                 your own is named by SSL_CERT_FILE"
            ));
        }
        if err.is_timeout() {
            return Failure::Lost(format!("{server} said nothing for {} s", SILENCE.as_secs()));
        }
        Failure::Lost(format!("the connection to {server} broke ({cause})"))
    }
}

fn http_client(server: &Server) -> Result<Client, Failure> {
    // The key and the token are for this server alone, so no redirect is followed.
    let mut client = Client::builder()
        .user_agent(concat!("go-d-cli/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE);
    if !server.is_tls() {
        // Nothing to verify; the certificates of this machine are then neither read nor required.
        client = client.tls_certs_only([]);
    } else if server.insecure() {
        client = client.tls_danger_accept_invalid_certs(true);
    }
    client.build().map_err(|err| {
        Failure::Usage(format!(
            "cannot prepare connections to {server}: {}. For https the certificates of authorities are needed \
             (package ca-certificates)",
            deepest(&err)
        ))
    })
}

/// An answer that makes no sense.
pub fn garbled(ask: &Ask, why: &str) -> Failure {
    let mut url = ask.url.clone();
    url.set_query(None);
    Failure::Garbled { doing: ask.doing.clone(), url: url.to_string(), why: text::short(why, 300) }
}

/// The server's own words, if there are any to show.
async fn error_text(response: &mut Response) -> Option<String> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_page = kind.is_some_and(|kind| kind.starts_with("text/html"));
    let mut bytes = Vec::new();
    // A break within an error leaves the status to tell.
    while let Ok(Some(piece)) = response.chunk().await {
        bytes.extend_from_slice(&piece);
        if bytes.len() > ERROR_MAX {
            break;
        }
    }
    let said = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(map)) => map.get("error").or(map.get("msg"))?.as_str()?.to_owned(),
        Ok(Value::String(text)) => text,
        _ if is_page => return None,
        _ => String::from_utf8(bytes).ok()?,
    };
    let lines: Vec<String> = said.lines().map(|line| text::short(line, 1000)).collect();
    let said = lines.join("\n  ");
    (!said.trim().is_empty()).then_some(said)
}

fn is_refused(err: &reqwest::Error) -> bool {
    causes(err).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == io::ErrorKind::ConnectionRefused)
    })
}

fn deepest(err: &reqwest::Error) -> String {
    causes(err).last().map_or_else(|| err.to_string(), ToString::to_string)
}

fn causes(err: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(err.source(), |err: &&(dyn Error + 'static)| (*err).source())
}
