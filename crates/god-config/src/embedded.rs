//! The configuration of the all-in-one program, which starts without a file, and the file that it writes down.

use std::fmt::Write;
use std::path::PathBuf;

use crate::config::Config;
use crate::secret::Secret;
use crate::volumes::VolumesConfig;

/// What the caller chooses for a configuration without a file.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Data directory; absolute.
    pub data_dir: PathBuf,
    /// Shared directory; absolute.
    pub shared_dir: PathBuf,
    /// Executors in order; not empty.
    pub executors: Vec<String>,
    /// A secret that was just made.
    pub secret_passphrase: Secret,
    /// Logins of the administrators.
    pub admin: Vec<String>,
}

impl Config {
    /// A complete configuration: local accounts, one SQLite file, and defaults for everything else.
    pub fn embedded(choices: &Embedded) -> Config {
        let mut config = Config::default();
        config.base.data_dir = choices.data_dir.clone();
        config.base.shared_dir = choices.shared_dir.clone();
        config.executors.names = choices.executors.clone();
        config.auth.secret_passphrase = choices.secret_passphrase.clone();
        config.web.admin = choices.admin.clone();
        config.volumes = VolumesConfig::protecting(&choices.data_dir, &config.executors.docker);
        config
    }
}

/// The text of a file that reads as the same configuration. It holds the secret: write it with mode 0600.
pub fn embedded_file_text(choices: &Embedded) -> String {
    let mut text = String::new();
    let mut line = |comment: &str, key: &str, value: String| {
        for part in comment.lines() {
            writeln!(text, "# {part}").expect("writing to a String cannot fail");
        }
        writeln!(text, "{key}: {value}\n").expect("writing to a String cannot fail");
    };
    let list = |items: &[String]| {
        let quoted: Vec<String> = items.iter().map(|item| quoted(item)).collect();
        format!("[{}]", quoted.join(", "))
    };
    line(
        "Configuration of GO-Docker, written at the first start. Edit it; it is not written again.\n\
         Every key is explained in the sample file config/go-d.ini.\n\n\
         Directory of the jobs; every node must see it at the same path.",
        "shared_dir",
        quoted(&choices.shared_dir.to_string_lossy()),
    );
    line(
        "Directory of this host alone: database file, sockets, keys.",
        "data_dir",
        quoted(&choices.data_dir.to_string_lossy()),
    );
    line(
        "Where tasks run; the first one takes those that ask for none.",
        "executors",
        list(&choices.executors),
    );
    line("Accounts are kept in the database: `go-d user add` makes one.", "auth_policy", "local".to_owned());
    line("Tasks are kept in one file in the data directory.", "store", "sqlite".to_owned());
    line(
        "Signs the tokens of users. Keep it to yourself; a new text ends all sessions.",
        "secret_passphrase",
        quoted(choices.secret_passphrase.reveal()),
    );
    line(
        "The web server: where it listens, and who may administrate.",
        "web",
        format!("{{listen: \"127.0.0.1:6543\", admin: {}}}", list(&choices.admin)),
    );
    text
}

/// A YAML text in double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
