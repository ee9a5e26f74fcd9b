use super::*;
use god_core::Timestamp;
use god_core::UserId;
use god_store::MemoryStore;

fn mailer(from: &str) -> Result<Mailer, BadChannel> {
    let options = Options {
        host: "127.0.0.1".into(),
        port: 1,
        protection: Protection::None,
        authority: None,
        login: Some(("u".into(), "s3cret".into())),
        from: from.into(),
    };
    assert!(!format!("{options:?}").contains("s3cret"));
    Mailer::new(Arc::new(MemoryStore::new()), &options)
}

fn item(name: &str, address: &str) -> Item {
    Item {
        id: "7.1.end".into(),
        task: TaskId(7),
        message: Message::Mail(Mail {
            user: UserId::new("bob"),
            address: Some(address.into()),
            name: name.into(),
            moment: "end".into(),
            primary: "over".into(),
            secondary: String::new(),
            reason: String::new(),
            exit_code: Some(0),
            array: None,
            submitted: Timestamp(1_700_000_000_000),
            started: None,
            at: Some(Timestamp(1_700_000_001_000)),
        }),
    }
}

#[tokio::test]
async fn a_letter_is_the_same_each_time_and_holds_no_header_of_a_user() {
    let mailer = mailer("GO-Docker <god@example.org>").expect("an address");
    let item = item("x\r\nBcc: eve@example.org\r\n\r\nhello ü", "bob@example.org");
    let Message::Mail(mail) = &item.message else { panic!("a mail") };
    let letter = || {
        let to = "bob@example.org".parse().expect("an address");
        mailer.letter(&item, mail, to, &[]).expect("a letter").formatted()
    };
    let text = String::from_utf8(letter()).expect("ASCII");
    assert_eq!(text.as_bytes(), letter());
    let (head, _) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("Subject: Task 7: over\r\n"), "{head}");
    assert!(head.contains("Message-ID: <7.1.end.1700000000000@example.org>\r\n"), "{head}");
    assert!(head.contains("Date: Tue, 14 Nov 2023 22:13:21 +0000\r\n"), "{head}");
    assert!(head.contains("From: GO-Docker <god@example.org>\r\n"), "{head}");
    assert!(head.contains("Auto-Submitted: auto-generated\r\n"), "{head}");
    assert!(head.contains("charset=utf-8"), "{head}");
    assert!(!head.contains("eve") && !head.contains("Bcc"), "{head}");
}

#[tokio::test]
async fn an_address_that_is_none_gets_no_mail() {
    let mailer = mailer("god@example.org").expect("an address");
    for address in [
        "bob@example.org\r\nBcc: eve@example.org",
        "bob@example.org\nX: y",
        "bob@example.org, eve@example.org",
        "bob@example.org eve@example.org",
        "Bob <bob@example.org>",
        "bob@example.org>\r\nRCPT TO:<eve@example.org",
        "bob\0@example.org",
        "bob",
        "@example.org",
        "\"bob\r\nBcc: eve\"@example.org",
        "bob@exa mple.org",
        "bob@[127.0.0.1\r\n]",
    ] {
        let got = mailer.deliver(&[item("x", address)]).await;
        assert!(matches!(got.as_slice(), [Delivery::Never(_)]), "{address:?}: {got:?}");
    }
    for empty in ["", "  "] {
        assert_eq!(mailer.deliver(&[item("x", empty)]).await, [Delivery::Done]);
    }
    // Nobody listens at that port.
    let got = mailer.deliver(&[item("x", "bob@example.org"), item("y", "bob@example.org")]).await;
    assert!(matches!(got.as_slice(), [Delivery::Down(_), Delivery::Down(_)]), "{got:?}");
}

#[test]
fn a_sender_that_is_none_is_said() {
    for from in ["", "god", "god@example.org\r\nBcc: x@y.z", "a@b.c, d@e.f"] {
        let err = mailer(from).expect_err(from).to_string();
        assert!(err.starts_with("email_from:"), "{err}");
    }
}
