//! Slows guesses down, by login and by address.
//!
//! A few wrong tries are free. Each further one shuts the door for twice as long, up to a quarter of an hour, and while it
//! is shut nothing that can be guessed is looked at. Who came in from an address before is not held up there by strangers
//! who try the same login from elsewhere. A wrong try is never answered at once, so that the time tells nothing.

use god_core::UserId;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Wrong tries of one login that are free.
const FREE: u32 = 5;
/// Wrong tries from one address that are free: many people may share it.
const FREE_ADDRESS: u32 = 50;
/// The door is shut this long at first.
const FIRST: Duration = Duration::from_secs(1);
/// It is never shut for longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Wrong tries are forgotten after this long without another.
const MEMORY: Duration = Duration::from_secs(3600);
/// A wrong try is answered this long after its begin, or later.
const FLOOR: Duration = Duration::from_millis(300);
/// A try that waits longer for others of the same login is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// Logins, addresses, and pairs of them that are remembered.
const REMEMBERED: usize = 10_000;

/// What is known of wrong tries. One for a process: it outlives reloads of the configuration.
#[derive(Debug, Default)]
pub struct Throttle {
    books: Mutex<Books>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Books {
    users: HashMap<UserId, Record>,
    addresses: HashMap<IpAddr, Record>,
    /// Who came in from where, and wrong tries there since.
    good: HashMap<(UserId, IpAddr), Record>,
}

/// Wrong tries of a login, or from an address.
#[derive(Debug, Clone, Copy)]
struct Record {
    wrong: u32,
    under_way: u32,
    last: Instant,
    until: Instant,
}

/// One try, to be told how it went.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    throttle: &'a Throttle,
    login: UserId,
    address: IpAddr,
    begun: Instant,
    /// Whether it is counted as under way.
    is_counted: bool,
    is_shut: bool,
}

/// A door was shut just now for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// Wrong tries so far.
    pub(crate) wrong: u32,
}

impl Throttle {
    /// Begins a try. At most as many are under way for a login as it has free ones left; others wait.
    pub(crate) async fn begin(&self, login: &UserId, address: Option<IpAddr>) -> Try<'_> {
        let begun = Instant::now();
        let address = network(address);
        loop {
            let ended = self.ended.notified();
            let place = self.books().place(login, address, begun);
            let waited_enough = begun.elapsed() >= PATIENCE;
            if !matches!(place, Place::Wait) || waited_enough {
                return Try {
                    throttle: self,
                    login: login.clone(),
                    address,
                    begun,
                    is_counted: matches!(place, Place::Free),
                    is_shut: !matches!(place, Place::Free),
                };
            }
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep_until(begun + PATIENCE) => {}
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Place {
    Free,
    /// Others of the same login must end first.
    Wait,
    Shut,
}

impl Books {
    fn place(&mut self, login: &UserId, address: IpAddr, now: Instant) -> Place {
        let is_good = self.good.contains_key(&(login.clone(), address));
        let is_shut = |record: Option<&Record>| record.is_some_and(|record| now < record.until);
        if !is_good && (is_shut(self.users.get(login)) || is_shut(self.addresses.get(&address))) {
            return Place::Shut;
        }
        let record = entry(&mut self.users, login.clone(), now);
        let wrong = if is_good { 0 } else { record.wrong };
        if record.under_way > 0 && wrong + record.under_way >= FREE {
            return Place::Wait;
        }
        record.under_way += 1;
        Place::Free
    }

    fn wrong(&mut self, login: &UserId, address: IpAddr, now: Instant) -> Option<Alarm> {
        let pair = (login.clone(), address);
        if let Some(record) = self.good.get_mut(&pair) {
            record.wrong += 1;
            if record.wrong >= FREE {
                self.good.remove(&pair);
            }
        }
        let of_user = count(entry(&mut self.users, login.clone(), now), FREE, now);
        let of_address = count(entry(&mut self.addresses, address, now), FREE_ADDRESS, now);
        of_user.or(of_address)
    }

    fn right(&mut self, login: &UserId, address: IpAddr, now: Instant) {
        // Who is known here says nothing of those who try the login elsewhere.
        if !self.good.contains_key(&(login.clone(), address))
            && let Some(record) = self.users.get_mut(login)
        {
            record.wrong = 0;
            record.until = now;
        }
        let record = entry(&mut self.good, (login.clone(), address), now);
        record.wrong = 0;
        record.last = now;
    }
}

/// One wrong try more; an alarm when that shuts the door for the first time.
fn count(record: &mut Record, free: u32, now: Instant) -> Option<Alarm> {
    record.wrong = record.wrong.saturating_add(1);
    record.last = now;
    let beyond = record.wrong.checked_sub(free)?;
    let shut = FIRST.saturating_mul(1 << beyond.min(20)).min(LONGEST);
    record.until = now + shut;
    (beyond == 0).then_some(Alarm { wrong: record.wrong })
}

/// The record of this key, forgotten when it is old. There is always room for another one.
fn entry<K: Hash + Eq + Clone>(book: &mut HashMap<K, Record>, key: K, now: Instant) -> &mut Record {
    if book.len() >= REMEMBERED && !book.contains_key(&key) {
        book.retain(|_, record| !record.is_old(now));
        if book.len() >= REMEMBERED
            && let Some(oldest) = book.iter().min_by_key(|(_, record)| (record.until, record.last))
        {
            let oldest = oldest.0.clone();
            book.remove(&oldest);
        }
    }
    let new = Record { wrong: 0, under_way: 0, last: now, until: now };
    let record = book.entry(key).or_insert(new);
    if record.is_old(now) {
        *record = new;
    }
    record
}

impl Record {
    fn is_old(&self, now: Instant) -> bool {
        self.under_way == 0 && now >= self.until && now.duration_since(self.last) >= MEMORY
    }
}

impl Try<'_> {
    /// Whether nothing that can be guessed may be looked at.
    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// The key or password was right.
    pub(crate) fn right(self) {
        self.throttle.books().right(&self.login, self.address, Instant::now());
    }

    /// It was wrong; returns when that may be said.
    pub(crate) async fn wrong(self) -> Option<Alarm> {
        let alarm = self.throttle.books().wrong(&self.login, self.address, Instant::now());
        let answer = self.begun + FLOOR;
        drop(self);
        tokio::time::sleep_until(answer).await;
        alarm
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.is_counted {
            if let Some(record) = self.throttle.books().users.get_mut(&self.login) {
                record.under_way = record.under_way.saturating_sub(1);
            }
            self.throttle.ended.notify_waiters();
        }
    }
}

/// What counts as one address: whoever has one of version 6 has 2^64 of them.
fn network(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    async fn guess(throttle: &Throttle, login: &UserId, from: u8) -> bool {
        let attempt = throttle.begin(login, address(from)).await;
        let is_looked_at = !attempt.is_shut();
        if is_looked_at {
            attempt.wrong().await;
        }
        is_looked_at
    }

    #[tokio::test(start_paused = true)]
    async fn a4_the_door_is_shut_twice_as_long_each_time() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        for _ in 0..FREE {
            assert!(guess(&throttle, &bob, 1).await);
        }
        let mut shut = Vec::new();
        for _ in 0..14 {
            let begun = Instant::now();
            while !guess(&throttle, &bob, 1).await {
                tokio::time::advance(Duration::from_millis(500)).await;
            }
            shut.push(begun.elapsed().as_secs());
        }
        assert_eq!(shut[..5], [1, 2, 4, 8, 16]);
        assert_eq!(shut[12..], [900, 900]);
        tokio::time::advance(LONGEST + MEMORY).await;
        for _ in 0..FREE {
            assert!(guess(&throttle, &bob, 1).await, "forgotten");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a4_guesses_at_once_are_not_more_than_guesses_in_turn() {
        let throttle = Throttle::default();
        let (bob, looked_at) = (UserId::new("bob"), AtomicU32::new(0));
        let guesses = (0..1000).map(|_| async {
            if guess(&throttle, &bob, 1).await {
                looked_at.fetch_add(1, Ordering::Relaxed);
            }
        });
        futures::future::join_all(guesses).await;
        assert_eq!(looked_at.load(Ordering::Relaxed), FREE);
    }

    #[tokio::test(start_paused = true)]
    async fn a4_one_address_can_not_try_all_logins() {
        let throttle = Throttle::default();
        let mut looked_at = 0;
        for n in 0..1000 {
            looked_at += u32::from(guess(&throttle, &UserId::new(format!("u{n}")), 1).await);
        }
        // While the guesses were answered, the door opened a few times.
        assert!((FREE_ADDRESS..FREE_ADDRESS + 10).contains(&looked_at), "{looked_at}");
        assert!(guess(&throttle, &UserId::new("u999"), 2).await, "others are not touched");
    }

    #[tokio::test(start_paused = true)]
    async fn a4_strangers_do_not_lock_out_who_was_here_before() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        throttle.begin(&bob, address(7)).await.right();
        for _ in 0..100 {
            guess(&throttle, &bob, 1).await;
        }
        assert!(!guess(&throttle, &bob, 2).await, "shut for everybody else");
        throttle.begin(&bob, address(7)).await.right();
        assert!(!guess(&throttle, &bob, 2).await, "that opened nothing");
        // Somebody else at bob's address has a few tries, and then none.
        let mut looked_at = 0;
        for _ in 0..100 {
            looked_at += u32::from(guess(&throttle, &bob, 7).await);
        }
        assert_eq!(looked_at, FREE);
    }

    #[tokio::test(start_paused = true)]
    async fn right_ones_are_not_slowed_down_and_wrong_ones_take_their_time() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        let begun = Instant::now();
        let many = (0..500).map(|_| async { throttle.begin(&bob, address(1)).await.right() });
        futures::future::join_all(many).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        guess(&throttle, &bob, 1).await;
        assert_eq!(begun.elapsed(), FLOOR);
        assert_eq!(throttle.begin(&bob, address(9)).await.wrong().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_is_given_once_for_each_shut_door() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        let mut alarms = 0;
        for _ in 0..20 {
            alarms += u32::from(throttle.begin(&bob, address(1)).await.wrong().await.is_some());
        }
        assert_eq!(alarms, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_books_do_not_grow_without_end_and_keep_the_shut_doors() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        for _ in 0..FREE + 8 {
            throttle.begin(&bob, address(1)).await.wrong().await;
        }
        for n in 0..REMEMBERED + 100 {
            throttle.begin(&UserId::new(format!("u{n}")), address(2)).await.right();
        }
        assert!(throttle.books().users.len() <= REMEMBERED);
        assert!(!guess(&throttle, &bob, 3).await, "still shut");
    }

    #[test]
    fn whoever_has_a_network_has_one_address() {
        let of = |text: &str| network(Some(text.parse().expect("an address")));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
