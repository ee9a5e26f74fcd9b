//! From a login to a filter, and from an entry to an identity. Pure.

use god_core::UserId;
use god_core::auth::{Identity, plain_email};
use ldap3::{SearchEntry, ldap_escape};

/// Filter for whom this login may mean: a user's uid or mail address.
pub(crate) fn by_uid_or_mail(login: &str) -> String {
    let login = ldap_escape(login);
    format!("(|(uid={login})(mail={login}))")
}

/// Filter for the user of this uid.
pub(crate) fn by_uid(login: &str) -> String {
    format!("(uid={})", ldap_escape(login))
}

/// Filter for the groups that list a user, by uid or by distinguished name.
pub(crate) fn groups_of(uid: &str, dn: &str) -> String {
    format!("(&(objectClass=posixGroup)(|(memberUid={})(member={})))", ldap_escape(uid), ldap_escape(dn))
}

/// Whether an entry says whether a login is meant by it, and who it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BadEntry {
    #[error("the entry has no distinguished name")]
    NoName,
    #[error("the entry has no attribute {0}")]
    Missing(&'static str),
    #[error("the entry has several values of {0}")]
    Several(&'static str),
    #[error("`{value}` is no {attribute}")]
    Number { attribute: &'static str, value: String },
    #[error("its uid can not be a login here: {0}")]
    Login(String),
}

/// The identity that an entry describes, without groups beside the primary one.
pub(crate) fn identity(entry: &SearchEntry, login: &str, home_field: &str) -> Result<Identity, BadEntry> {
    if entry.dn.is_empty() {
        return Err(BadEntry::NoName);
    }
    let id = UserId::parse(uid(entry, login)?).map_err(|err| BadEntry::Login(err.to_string()))?;
    let email = values(entry, "mail").iter().find_map(|value| plain_email(value));
    let home = values(entry, home_field).first().map_or("", |home| home.as_str());
    Ok(Identity {
        id,
        uid: number(entry, "uidNumber")?,
        gid: number(entry, "gidNumber")?,
        sgids: Vec::new(),
        email: email.unwrap_or_default().to_owned(),
        // What is no plain absolute path is no home.
        home: if home.starts_with('/') && !home.contains(char::is_control) {
            home.to_owned()
        } else {
            String::new()
        },
    })
}

/// The number of a group.
pub(crate) fn gid(entry: &SearchEntry) -> Option<u32> {
    number(entry, "gidNumber").ok()
}

/// The login of an entry. Of several the one that was typed; who logs in by mail address must have just one.
fn uid<'a>(entry: &'a SearchEntry, login: &str) -> Result<&'a str, BadEntry> {
    match values(entry, "uid") {
        [] => Err(BadEntry::Missing("uid")),
        [one] => Ok(one),
        several => {
            let typed = several.iter().find(|uid| uid.eq_ignore_ascii_case(login));
            typed.map(String::as_str).ok_or(BadEntry::Several("uid"))
        }
    }
}

fn number(entry: &SearchEntry, attribute: &'static str) -> Result<u32, BadEntry> {
    match values(entry, attribute) {
        [] => Err(BadEntry::Missing(attribute)),
        [value] => match value.parse() {
            Ok(number) if value.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
            _ => Err(BadEntry::Number { attribute, value: value.chars().take(40).collect() }),
        },
        _ => Err(BadEntry::Several(attribute)),
    }
}

/// The values of an attribute, whose name is compared without regard to case.
fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> &'a [String] {
    let found = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    found.map_or(&[], |(_, values)| values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attributes: &[(&str, &[&str])]) -> SearchEntry {
        let mut entry = SearchEntry {
            dn: "uid=alice,ou=People".to_owned(),
            attrs: [
                ("uid", "alice"),
                ("uidNumber", "20001"),
                ("gidNumber", "20002"),
                ("mail", "alice@example.org"),
            ]
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .into(),
            bin_attrs: Default::default(),
        };
        for (name, values) in attributes {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            entry.attrs.insert((*name).to_owned(), values);
        }
        entry
    }

    fn read(attributes: &[(&str, &[&str])]) -> Result<Identity, BadEntry> {
        identity(&entry(attributes), "alice", "homeDirectory")
    }

    #[test]
    fn an_entry_becomes_an_identity() {
        let got = read(&[("homeDirectory", &["/home/alice"])]).expect("good");
        assert_eq!((got.id.as_str(), got.uid, got.gid), ("alice", 20001, 20002));
        assert_eq!((got.email.as_str(), got.home.as_str()), ("alice@example.org", "/home/alice"));
        let other = identity(&entry(&[("UNIXhome", &["/u/alice"])]), "alice", "unixHome").expect("good");
        assert_eq!(other.home, "/u/alice");
        assert_eq!(read(&[]).expect("good").home, "");
    }

    #[test]
    fn what_an_entry_lacks_or_has_twice_is_said() {
        for (attributes, expected) in [
            (&[("uid", &[][..])][..], BadEntry::Missing("uid")),
            (&[("uidNumber", &[][..])][..], BadEntry::Missing("uidNumber")),
            (&[("uidNumber", &["1", "2"][..])][..], BadEntry::Several("uidNumber")),
            (&[("uid", &["bob", "carol"][..])][..], BadEntry::Several("uid")),
        ] {
            assert_eq!(read(attributes), Err(expected));
        }
        for value in ["", "-1", "+5", "1.5", "4294967296", "0x10", " 7", "root"] {
            assert!(matches!(read(&[("gidNumber", &[value])]), Err(BadEntry::Number { .. })), "{value}");
        }
        for uid in ["../alice", "a b", "a/b", "$(id)", ""] {
            assert!(matches!(read(&[("uid", &[uid])]), Err(BadEntry::Login(_))), "{uid}");
        }
        assert_eq!(read(&[("uid", &["bob", "Alice"])]).expect("the one that was typed").id.as_str(), "Alice");
        let nameless = SearchEntry { dn: String::new(), ..entry(&[]) };
        assert_eq!(identity(&nameless, "alice", "h"), Err(BadEntry::NoName));
    }

    #[test]
    fn e3_mail_and_home_are_plain_or_left_out() {
        let got =
            read(&[("mail", &["a@b\r\nBcc: eve@b", "alice@example.org"]), ("homeDirectory", &["home/x"])]);
        let got = got.expect("good");
        assert_eq!((got.email.as_str(), got.home.as_str()), ("alice@example.org", ""));
        let got = read(&[("mail", &["a@b\nx"]), ("homeDirectory", &["/home/x\ny"])]).expect("good");
        assert_eq!((got.email.as_str(), got.home.as_str()), ("", ""));
    }

    #[test]
    fn e4_filters_hold_what_was_typed_as_one_value() {
        assert_eq!(by_uid_or_mail("alice"), "(|(uid=alice)(mail=alice))");
        for login in ["*", "a*", "x)(uid=*", "x))(|(uid=*", "\\2a", "x\0", "*)(userPassword=a*", "(", ")"] {
            let filters = [by_uid_or_mail(login), by_uid(login), groups_of(login, login)];
            for (filter, n_parts) in filters.iter().zip([3, 1, 5]) {
                let count = |c: char| filter.matches(c).count();
                assert_eq!(
                    (count('('), count(')'), count('*'), count('\0')),
                    (n_parts, n_parts, 0, 0),
                    "{filter}"
                );
            }
        }
    }
}
