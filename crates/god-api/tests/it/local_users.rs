//! Local users over a store in memory.

use auth_local::{LocalAuth, NewUser, UserError};
use god_core::auth::{Auth, AuthError};
use god_core::keys::{self, Purpose, Secret};
use god_core::store::Store;
use god_core::{Timestamp, UserId};
use god_store::MemoryStore;
use std::sync::Arc;

fn setup() -> (Arc<MemoryStore>, LocalAuth) {
    let store = Arc::new(MemoryStore::new());
    (store.clone(), LocalAuth::new(store))
}

fn new(login: &str) -> NewUser {
    NewUser { login: login.to_owned(), uid: Some(5000), gid: Some(5001), ..NewUser::default() }
}

#[tokio::test]
async fn users_are_made_from_what_is_given_or_the_system() {
    let (_store, auth) = setup();
    let given = NewUser {
        groups: Some(vec!["root".to_owned(), "77".to_owned()]),
        home: Some("/h".to_owned()),
        ..new("not-in-the-system")
    };
    let user = auth.create_user(given).await.expect("made");
    assert_eq!((user.uid, user.gid, user.sgids), (5000, 5001, vec![0, 77]));
    let system = NewUser { login: "root".to_owned(), ..NewUser::default() };
    let user = auth.create_user(system).await.expect("made");
    assert_eq!((user.uid, user.gid), (0, 0));
    assert!(!user.home.is_empty());

    let refused = |new: NewUser| {
        let auth = auth.clone();
        async move { auth.create_user(new).await.expect_err("refused") }
    };
    assert!(matches!(refused(new("root")).await, UserError::Exists(_)));
    assert!(matches!(refused(new("a/b")).await, UserError::Invalid(_)));
    let unknown = NewUser { uid: None, ..new("nobody-knows-me") };
    assert!(matches!(refused(unknown).await, UserError::Invalid(_)));
    let group = NewUser { groups: Some(vec!["no-such-group-here".to_owned()]), ..new("x") };
    assert!(matches!(refused(group).await, UserError::Invalid(_)));
    let empty = NewUser { password: Some(String::new()), ..new("x") };
    assert!(matches!(refused(empty).await, UserError::Invalid(_)));
}

#[tokio::test]
async fn passwords() {
    let (store, auth) = setup();
    let bob = UserId::new("bob");
    auth.create_user(NewUser { password: Some("old".to_owned()), ..new("bob") }).await.expect("made");
    assert_eq!(auth.by_password(&bob, "old").await.expect("right").uid, 5000);
    auth.set_password(&bob, "new".to_owned()).await.expect("set");
    for (login, password) in [("bob", "old"), ("bob", ""), ("eve", "new"), ("eve", "")] {
        let denied = auth.by_password(&UserId::new(login), password).await;
        assert!(matches!(denied, Err(AuthError::Denied)), "{login} {password}");
    }
    assert!(auth.by_password(&bob, "new").await.is_ok());
    let mut user = store.user(&bob).await.expect("answers").expect("exists");
    assert_eq!(user.key_version, 1, "older tokens end");
    assert!(!format!("{user:?}").contains("\"new\""));
    user.active = false;
    assert!(store.put_user(&user).await.expect("answers"));
    assert!(matches!(auth.by_password(&bob, "new").await, Err(AuthError::Denied)));
    assert!(matches!(
        auth.set_password(&UserId::new("eve"), "x".to_owned()).await,
        Err(UserError::Unknown(_))
    ));
}

#[tokio::test]
async fn users_of_another_directory_are_not_local() {
    let (store, auth) = setup();
    auth.create_user(NewUser { password: Some("pw".to_owned()), ..new("bob") }).await.expect("made");
    let bob = UserId::new("bob");
    let mut user = store.user(&bob).await.expect("answers").expect("exists");
    assert!(auth.lookup(&bob).await.expect("answers").is_some());
    user.kind = "goauth".to_owned();
    assert!(store.put_user(&user).await.expect("answers"));
    assert!(auth.lookup(&bob).await.expect("answers").is_none());
    assert!(matches!(auth.by_password(&bob, "pw").await, Err(AuthError::Denied)));
}

#[tokio::test]
async fn keys_add_up_until_they_are_replaced() {
    let (store, auth) = setup();
    let secret = Secret::derive(b"secret", Purpose::ApiKeys);
    let bob = UserId::new("bob");
    auth.create_user(new("bob")).await.expect("made");
    let one = auth.make_key(&bob, &secret, false, Timestamp(1)).await.expect("made");
    let two = auth.make_key(&bob, &secret, false, Timestamp(2)).await.expect("made");
    assert_ne!(one, two);
    let records = || async { store.user(&bob).await.expect("answers").expect("exists").keys };
    assert!(keys::verify(&secret, &one, &records().await) && keys::verify(&secret, &two, &records().await));
    let three = auth.make_key(&bob, &secret, true, Timestamp(3)).await.expect("made");
    assert!(
        !keys::verify(&secret, &one, &records().await) && keys::verify(&secret, &three, &records().await)
    );
    assert_eq!(store.user(&bob).await.expect("answers").expect("exists").key_version, 1);
    let nobody = UserId::new("eve");
    assert!(matches!(auth.make_key(&nobody, &secret, true, Timestamp(1)).await, Err(UserError::Unknown(_))));
    auth.remove_user(&bob).await.expect("removed");
    assert!(matches!(auth.remove_user(&bob).await, Err(UserError::Unknown(_))));
}
