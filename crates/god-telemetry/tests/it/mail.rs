//! Mail at a real SMTP server.

use crate::world::{SUBMITTED, World};
use god_core::state::{Event, Outcome};
use god_telemetry::outbox::mail::{Mailer, Options, Protection};
use god_telemetry::outbox::{Channel, Delivery, Item};
use god_testkit::smtp::{self, Mode, Received, Sink};
use std::sync::Arc;
use std::time::Duration;

/// How to send mail to a sink.
fn options(sink: &Sink) -> Options {
    let (protection, login) = match sink.mode() {
        Mode::Plain => (Protection::None, None),
        Mode::StartTls => (Protection::StartTls, Some((smtp::LOGIN.0.to_owned(), smtp::LOGIN.1.to_owned()))),
        Mode::Tls => (Protection::Tls, None),
    };
    Options {
        host: "127.0.0.1".into(),
        port: sink.port(),
        protection,
        authority: sink.authority().map(|file| std::fs::read(file).expect("a certificate")),
        login,
        from: "GO-Docker <god@example.org>".into(),
    }
}

fn mailer(world: &World, options: &Options) -> Arc<dyn Channel> {
    Arc::new(Mailer::new(Arc::clone(&world.store), options).expect("good options"))
}

#[tokio::test]
async fn a_life_is_told_over_tls_with_a_login() {
    let Some(sink) = Sink::start(Mode::StartTls).await else { return };
    let world = World::new();
    world.user("bob", "bob@example.org").await;
    let _sending = world.send(vec![mailer(&world, &options(&sink))]);
    let task = world.submit(|spec| spec.name = "Zählung – α".into()).await;
    world.live(&task, 3).await;
    world.sent().await;
    let received = sink.received();
    let subjects: Vec<&str> = received.iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["Task 1: running", "Task 1: over"]);
    for mail in &received {
        assert!(mail.tls && mail.user.as_deref() == Some("god"), "{mail:?}");
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("god@example.org", ["bob@example.org".into()].as_slice())
        );
    }
    let body = received[1].body();
    assert!(body.starts_with("Task 1 (Zählung – α) switched to status over.\r\n"), "{body}");
    assert!(body.contains("\r\nExit code: 3\r\n") && body.contains("(ran 5.0 s)"), "{body}");
    assert_eq!(received[1].header("Message-ID"), format!("<1.1.end.{SUBMITTED}@example.org>"));
}

#[tokio::test]
async fn tls_from_the_first_byte_on() {
    let Some(sink) = Sink::start(Mode::Tls).await else { return };
    let world = World::new();
    world.user("bob", "bob@example.org").await;
    let _sending = world.send(vec![mailer(&world, &options(&sink))]);
    let task = world.submit(|_| {}).await;
    world.live(&task, 0).await;
    world.sent().await;
    assert_eq!(sink.received().len(), 2);
}

#[tokio::test]
async fn who_can_not_prove_its_name_gets_no_mail() {
    let Some(sink) = Sink::start(Mode::StartTls).await else { return };
    let world = World::new();
    world.user("bob", "bob@example.org").await;
    let task = world.submit(|_| {}).await;
    world.live(&task, 0).await;
    let notice = world.store.notices(1).await.expect("reads").remove(0);
    let message = serde_json::from_value(notice.body).expect("a message");
    let item = Item { id: notice.id, task: notice.task, message };
    let why = async |options: Options| {
        let mailer = Mailer::new(Arc::clone(&world.store), &options).expect("good options");
        format!("{:?}", mailer.deliver(std::slice::from_ref(&item)).await)
    };
    // An authority nobody knows.
    let answer = why(Options { authority: None, ..options(&sink) }).await;
    assert!(answer.starts_with("[Down(") && answer.to_lowercase().contains("certificate"), "{answer}");
    // A certificate for another name.
    let answer = why(Options { host: "localhost".into(), ..options(&sink) }).await;
    assert!(answer.starts_with("[Down(") && answer.to_lowercase().contains("certificate"), "{answer}");
    // The wrong password, and none at all: the server's business, not this mail's.
    let answer = why(Options { login: Some(("god".into(), "wrong".into())), ..options(&sink) }).await;
    assert!(answer.starts_with("[Down("), "{answer}");
    let answer = why(Options { login: None, ..options(&sink) }).await;
    assert!(answer.starts_with("[Down("), "{answer}");
    // A server without TLS where TLS is wanted.
    let plain = Sink::start(Mode::Plain).await.expect("it was there before");
    let answer = why(Options { port: plain.port(), ..options(&sink) }).await;
    assert!(answer.starts_with("[Down("), "{answer}");
    assert!(sink.received().is_empty() && plain.received().is_empty());
}

#[tokio::test]
async fn mails_share_connections_and_each_goes_where_it_should() {
    let Some(sink) = Sink::start(Mode::Plain).await else { return };
    let world = World::new();
    for (login, email) in [
        ("bob", "bob@example.org"),
        ("evil", "evil@example.org\r\nBcc: all@example.org"),
        ("nobody", ""),
        ("gone", "reject@example.org"),
        ("grey", "grey@example.org"),
        ("quiet", "quiet@example.org"),
    ] {
        world.user(login, email).await;
    }
    for login in ["evil", "nobody", "gone", "grey", "quiet"] {
        let task = world
            .submit(|spec| {
                spec.owner.id = god_core::UserId::new(login);
                spec.notify_email = login != "quiet";
            })
            .await;
        world.happen(&task, &[Event::EndedUnstarted(Outcome::Quota("quota of cpu".into()))]).await;
    }
    // A user without a record is written to at the address of the submit.
    let task = world
        .submit(|spec| {
            spec.owner.id = god_core::UserId::new("guest");
            spec.owner.email = Some("guest@example.org".into());
        })
        .await;
    world.happen(&task, &[Event::EndedUnstarted(Outcome::Refused("no such image".into()))]).await;
    for _ in 0..40 {
        let task = world.submit(|_| {}).await;
        world.live(&task, 0).await;
    }
    let _sending = world.send(vec![mailer(&world, &options(&sink))]);
    world.sent().await;
    let received = sink.received();
    let to = |login: &str| received.iter().filter(|mail| mail.to == [format!("{login}@example.org")]).count();
    assert_eq!((to("bob"), to("guest"), to("grey")), (80, 1, 1));
    assert_eq!(received.len(), 82, "nobody else got any");
    let quota = received.iter().find(|mail| mail.to[0].starts_with("grey")).expect("its mail");
    assert!(quota.body().contains("status over/quota reached.\r\n\r\nReason: quota of cpu\r\n"), "{quota:?}");
    let connections = received.iter().map(|mail| mail.connections).max().unwrap_or_default();
    // Four at a time; the driver gives one back a moment after its mail, so a few more are opened.
    assert!(connections <= 40, "{connections} connections for 82 mails");
}

#[tokio::test]
async fn an_array_is_one_mail_that_names_what_failed() {
    let Some(sink) = Sink::start(Mode::Plain).await else { return };
    let world = World::new();
    world.user("bob", "bob@example.org").await;
    let parent = world.submit(|spec| spec.array = Some("1:4".parse().expect("an array"))).await;
    let parent = world.happen(&parent, &[Event::Unfolded]).await;
    for ordinal in 0..4 {
        let child = parent.child(ordinal).expect("a child");
        world.live(&child, if ordinal == 2 { 7 } else { 0 }).await;
    }
    let parent = world.task(parent.id).await;
    world.happen(&parent, &[Event::Gathered { failed: 1 }]).await;
    let _sending = world.send(vec![mailer(&world, &options(&sink))]);
    world.sent().await;
    let received = sink.received();
    let subjects: Vec<&str> = received.iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["Task 1: running", "Task 1: over"]);
    let body = received[1].body();
    let expected =
        "Array of 4 tasks: 4 ended, 3 succeeded, 1 did not.\r\n  Task 4: ended with exit code 7\r\n";
    assert!(body.contains(expected), "{body}");
}

#[tokio::test]
async fn a_server_that_is_away_gets_its_mail_when_it_is_back_each_once() {
    let Some(mut sink) = Sink::start(Mode::Plain).await else { return };
    sink.kill();
    let world = World::new();
    world.user("bob", "bob@example.org").await;
    let sending = world.send(vec![mailer(&world, &options(&sink))]);
    for _ in 0..5 {
        let task = world.submit(|_| {}).await;
        world.live(&task, 0).await;
    }
    // Everything else has gone, the mails wait.
    let waiting = async || {
        let waiting = world.store.notices(100).await.expect("reads");
        waiting.iter().all(|notice| notice.body.get("mail").is_some()).then_some(waiting.len())
    };
    assert_eq!(god_testkit::until(Duration::from_secs(10), "the rest has gone", waiting).await, 10);
    sink.again().await;
    world.sent().await;
    let ids = |received: Vec<Received>| {
        let mut ids: Vec<String> = received.iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
        ids.sort();
        let n = ids.len();
        ids.dedup();
        (n, ids.len())
    };
    assert_eq!(ids(sink.received()), (10, 10));
    drop(sending);
}

#[tokio::test]
async fn a_mail_that_is_sent_again_after_a_crash_is_known_as_the_same() {
    let Some(sink) = Sink::start(Mode::Plain).await else { return };
    let world = World::new();
    world.user("bob", "bob@example.org").await;
    let task = world.submit(|_| {}).await;
    world.happen(&task, &[Event::EndedUnstarted(Outcome::Skipped("task 9 failed".into()))]).await;
    let notice = world.store.notices(1).await.expect("reads").remove(0);
    let message = serde_json::from_value(notice.body).expect("a message");
    let item = Item { id: notice.id, task: notice.task, message };
    // Two processes, of which the first died after the server had taken the mail.
    for _ in 0..2 {
        let answers = mailer(&world, &options(&sink)).deliver(std::slice::from_ref(&item)).await;
        assert_eq!(answers, [Delivery::Done]);
    }
    let received = sink.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("Message-ID"), received[1].header("Message-ID"));
    assert_eq!(received[0].data, received[1].data);
}
