//! Mail to the owners of tasks.
//!
//! A mail has one recipient, whose address was parsed, and a subject of our own words; texts of users stand in its body
//! only. Its name is made from the notice's, so that a mail sent twice is known as one.

mod text;

use super::{BadChannel, Channel, Delivery, Item, chain};
use async_trait::async_trait;
use futures::StreamExt;
use god_core::TaskId;
use god_core::notice::{Mail, Message};
use god_core::state::Outcome;
use god_core::store::{Scan, Store, StoreError};
use lettre::address::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(20);
/// How long one mail may take as a whole.
const WHOLE: Duration = Duration::from_secs(60);
/// Mails sent side by side, each over a connection that is kept for the next.
const PARALLEL: u32 = 4;
/// How long a connection is kept without a mail.
const IDLE: Duration = Duration::from_secs(30);
/// How long a mail is tried.
const PATIENCE: Duration = Duration::from_secs(2 * 86_400);
/// Tasks of an array that did not succeed and are named in its mail.
const NAMED: usize = 20;
/// Children looked at to find them.
const LOOKED_AT: usize = 10_000;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    None,
    /// STARTTLS, required.
    StartTls,
    /// TLS from the first byte on.
    Tls,
}

/// How mail is sent.
#[derive(Clone)]
pub struct Options {
    /// Host name or address of the mail server; its certificate must be for this name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub protection: Protection,
    /// PEM text of an authority to trust beside the system's.
    pub authority: Option<Vec<u8>>,
    /// User and password at the server.
    pub login: Option<(String, String)>,
    /// Sender: an address, possibly with a name.
    pub from: String,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protection", &self.protection)
            .finish_non_exhaustive()
    }
}

/// Sends mail.
#[derive(Debug)]
pub struct Mailer {
    store: Arc<dyn Store>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// A sender of mail; it connects with the first one. The store tells addresses, and what became of an array's tasks.
    ///
    /// # Errors
    /// The sender's address or the authority can not be read.
    pub fn new(store: Arc<dyn Store>, options: &Options) -> Result<Mailer, BadChannel> {
        let from = options.from.parse::<Mailbox>().map_err(|err| BadChannel {
            key: "email_from",
            what: format!("`{}` is not an address; accepted: name@host, or Name <name@host>", options.from),
            source: Some(err.into()),
        })?;
        let bad_tls = |source: lettre::transport::smtp::Error| BadChannel {
            key: "email_smtp_ca_cert",
            what: "TLS can not be set up".to_owned(),
            source: Some(source.into()),
        };
        let parameters = || {
            let mut tls = TlsParameters::builder(options.host.clone());
            if let Some(pem) = &options.authority {
                tls = tls.add_root_certificate(Certificate::from_pem(pem).map_err(bad_tls)?);
            }
            tls.build().map_err(bad_tls)
        };
        let tls = match options.protection {
            Protection::None => Tls::None,
            Protection::StartTls => Tls::Required(parameters()?),
            Protection::Tls => Tls::Wrapper(parameters()?),
        };
        // Nothing is dangerous about the builder itself: it leaves TLS to the line below.
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(options.host.clone())
            .port(options.port)
            .tls(tls)
            .timeout(Some(ANSWER))
            .pool_config(PoolConfig::new().max_size(PARALLEL).idle_timeout(IDLE));
        if let Some((user, password)) = &options.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Mailer { store, transport: builder.build(), from })
    }

    async fn send(&self, item: &Item) -> Delivery {
        let Message::Mail(mail) = &item.message else { return Delivery::Done };
        let address = match self.address(mail).await {
            Ok(Some(address)) => address,
            Ok(None) => return Delivery::Done,
            Err(err) => return Delivery::Later(chain(&err)),
        };
        let to = match address.parse::<Address>() {
            Ok(to) => to,
            Err(err) => return Delivery::Never(format!("the address of user {}: {err}", mail.user)),
        };
        let failed = match self.failed_children(item.task, mail).await {
            Ok(failed) => failed,
            Err(err) => return Delivery::Later(chain(&err)),
        };
        let letter = match self.letter(item, mail, to, &failed) {
            Ok(letter) => letter,
            Err(err) => return Delivery::Never(chain(&err)),
        };
        match timeout(WHOLE, self.transport.send(letter)).await {
            Ok(Ok(_)) => Delivery::Done,
            Ok(Err(err)) => judge(&err),
            Err(_) => Delivery::Down(format!("no answer within {} s", WHOLE.as_secs())),
        }
    }

    async fn send_in_order(
        &self,
        items: &[Item],
        group: &[usize],
        is_down: &AtomicBool,
    ) -> Vec<(usize, Delivery)> {
        let mut answers = Vec::new();
        for n in group {
            let answer = if is_down.load(Ordering::Relaxed) {
                Delivery::Down("the mail before it could not be sent".to_owned())
            } else {
                self.send(&items[*n]).await
            };
            if matches!(answer, Delivery::Down(_)) {
                is_down.store(true, Ordering::Relaxed);
            }
            answers.push((*n, answer));
        }
        answers
    }

    /// Where the owner's mail goes now; `None` when there is no address.
    async fn address(&self, mail: &Mail) -> Result<Option<String>, StoreError> {
        let known = self.store.user(&mail.user).await?;
        let address = match known {
            Some(user) => Some(user.email),
            None => mail.address.clone(),
        };
        Ok(address.map(|address| address.trim().to_owned()).filter(|address| !address.is_empty()))
    }

    /// The first tasks of an ended array that did not succeed, as far as they are still stored.
    async fn failed_children(&self, id: TaskId, mail: &Mail) -> Result<Vec<(TaskId, Outcome)>, StoreError> {
        let mut found = Vec::new();
        if mail.array.is_none_or(|array| array.failed == 0) {
            return Ok(found);
        }
        let (mut after, mut looked_at) = (None, 0);
        while looked_at < LOOKED_AT && found.len() < NAMED {
            let page = self.store.scan(&Scan::ChildrenOf(id), after, 500).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            looked_at += page.len();
            let ends = page.iter().filter_map(|task| Some((task.id, task.state.outcome()?)));
            found.extend(ends.filter(|(_, end)| !end.is_success()).map(|(id, end)| (id, end.clone())));
        }
        found.truncate(NAMED);
        Ok(found)
    }

    fn letter(
        &self,
        item: &Item,
        mail: &Mail,
        to: Address,
        failed: &[(TaskId, Outcome)],
    ) -> Result<Letter, lettre::error::Error> {
        // From what is stored, so that it is the same whenever and however often it is sent.
        let domain = self.from.email.domain();
        let name = format!("<{}.{}@{domain}>", item.id, mail.submitted.0);
        let date = mail.at.and_then(|at| u64::try_from(at.0).ok()).map(Duration::from_millis);
        let date = date.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        Letter::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(format!("Task {}: {}", item.task, mail.primary))
            .message_id(Some(name))
            .date(date.unwrap_or_else(SystemTime::now))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(text::of(item.task, mail, failed))
    }
}

/// What an error of the mail server means for this mail and for the others.
fn judge(err: &lettre::transport::smtp::Error) -> Delivery {
    let why = chain(err);
    let code = err.status().map(|code| code.to_string());
    match code.as_deref() {
        // It goes away, or it does not let us in: nothing about this mail.
        Some("421" | "530" | "534" | "535" | "538") => Delivery::Down(why),
        _ if err.is_permanent() => Delivery::Never(why),
        _ if err.is_transient() => Delivery::Later(why),
        _ => Delivery::Down(why),
    }
}

#[async_trait]
impl Channel for Mailer {
    fn name(&self) -> &'static str {
        "mail"
    }

    fn takes(&self, message: &Message) -> bool {
        matches!(message, Message::Mail(_))
    }

    fn batch(&self) -> usize {
        20
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn deliver(&self, items: &[Item]) -> Vec<Delivery> {
        // Mails of different tasks go side by side; those of one task keep their order.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (n, item) in items.iter().enumerate() {
            match groups.iter_mut().find(|group| items[group[0]].task == item.task) {
                Some(group) => group.push(n),
                None => groups.push(vec![n]),
            }
        }
        // Once the server does not answer, nobody waits for it again in this round.
        let is_down = AtomicBool::new(false);
        let sends: Vec<_> = groups.iter().map(|group| self.send_in_order(items, group, &is_down)).collect();
        let answers: Vec<_> = futures::stream::iter(sends).buffered(PARALLEL as usize).collect().await;
        let mut answers: Vec<(usize, Delivery)> = answers.into_iter().flatten().collect();
        answers.sort_by_key(|(n, _)| *n);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// `Auto-Submitted: auto-generated`, so that no machine answers.
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(<AutoSubmitted as Header>::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests;
