//! The web server's own file of the old system (`production.ini`): the few settings that still mean something.

use std::path::{Path, PathBuf};

use crate::fault::{Fault, Place, Report};
use crate::tree::{Map, Node};

/// What a `production.ini` says.
#[derive(Clone, Debug, Default)]
pub struct ProductionIni {
    /// `global_properties`: path of the configuration file, `%(here)s` replaced by the folder of this file.
    pub global_properties: Option<PathBuf>,
    /// Settings that belong into the section `web`: key and value.
    web: Vec<(&'static str, Node)>,
    /// What was noticed in the file.
    pub warnings: Vec<Fault>,
}

impl ProductionIni {
    /// Reads the text of a file; `path` is its name for messages and for `%(here)s`.
    ///
    /// Lines that cannot be understood are warned about: the file was written for another program.
    pub fn parse(path: &Path, text: &str) -> ProductionIni {
        let file = Place::new(&path.display().to_string());
        let mut ini = ProductionIni::default();
        let mut section = String::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let place = file.at_line(index as u64 + 1);
            let is_continued = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) || is_continued {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim().to_owned();
                continue;
            }
            let Some((key, value)) = line.split_once(['=', ':']) else {
                let what = "this line is neither a section nor `key = value`";
                ini.warnings.push(place.fault(&section, what, ""));
                continue;
            };
            ini.setting(path, &place, &section, key.trim(), value.trim());
        }
        ini
    }

    fn setting(&mut self, path: &Path, place: &Place, section: &str, key: &str, value: &str) {
        let key_path = format!("[{section}] {key}");
        match (section, key) {
            ("app:main", "global_properties") => {
                let here = path.parent().unwrap_or(Path::new("")).display().to_string();
                let here = if here.is_empty() { "." } else { &here };
                self.global_properties = Some(PathBuf::from(value.replace("%(here)s", here)));
            }
            ("app:main", "admin") => self.web("admin", Node::text(place, value)),
            ("app:main", "max_file_download") => self.web("max_file_download", Node::text(place, value)),
            ("app:main", "prometheus") => {
                let word = match value {
                    "1" => "true",
                    "0" => "false",
                    other => other,
                };
                self.web("prometheus", Node::text(place, word));
            }
            ("app:main", "allow_auth") if !value.is_empty() => self.warnings.push(place.fault(
                &key_path,
                "social logins are not offered; this setting is ignored",
                "",
            )),
            ("server:main", "host") => self.web("host", Node::text(place, value)),
            ("server:main", "port") => self.web("port", Node::text(place, value)),
            // Everything else steers the old web framework.
            _ => {}
        }
    }

    fn web(&mut self, key: &'static str, node: Node) {
        self.web.retain(|(own, _)| *own != key);
        self.web.push((key, node));
    }

    /// Puts the settings into the section `web` of the tree. What the section has already wins.
    pub(crate) fn apply(&self, root: &mut Map, report: &mut Report) {
        report.warnings.extend(self.warnings.iter().cloned());
        for (key, node) in &self.web {
            let Some(web) = root.section_mut("web", &node.place) else { return };
            let listens = web.has("listen") && matches!(*key, "host" | "port");
            if web.has(key) || listens {
                report.warnings.push(node.place.fault(
                    &format!("web.{key}"),
                    "ignored: the configuration file says it too",
                    "",
                ));
            } else {
                web.set(key, node.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# comment\n[app:main]\nuse = egg:godweb\nglobal_properties = %(here)s/go-d.ini\n\
        admin = alice, bob\nprometheus = 1\nmax_file_download = 0\nallow_auth = google\n\
        velruse.google.consumer_secret = hunter2\npyramid.includes =\n    pyramid_beaker\n[server:main]\n\
        host = 0.0.0.0\nport = 6543\nnonsense\n[loggers]\nkeys = root, godweb\n";

    #[test]
    fn the_settings_that_mean_something_are_read() {
        let ini = ProductionIni::parse(Path::new("/etc/god/production.ini"), SAMPLE);
        assert_eq!(ini.global_properties, Some(PathBuf::from("/etc/god/go-d.ini")));
        let mut map = Map::default();
        let mut report = Report::default();
        ini.apply(&mut map, &mut report);
        assert_eq!(
            map.get("web").expect("web").to_json(),
            serde_json::json!({"admin": "alice, bob", "prometheus": "true", "max_file_download": "0",
                "host": "0.0.0.0", "port": "6543"})
        );
        let warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("[app:main] allow_auth"), "{warnings:?}");
        assert!(warnings[1].contains("(line 15)"), "{warnings:?}");
        assert!(!format!("{ini:?}").contains("hunter2"));
    }

    #[test]
    fn the_configuration_file_wins() {
        let ini = ProductionIni::parse(Path::new("p.ini"), SAMPLE);
        let mut map = Map::default();
        let place = Place::new("f");
        map.section_mut("web", &place).expect("new").set("listen", Node::text(&place, "[::1]:80"));
        let mut report = Report::default();
        ini.apply(&mut map, &mut report);
        let web = map.get("web").expect("web").to_json();
        assert_eq!((web.get("host"), web.get("admin").is_some()), (None, true));
        assert_eq!(report.warnings.iter().filter(|w| w.what.contains("says it too")).count(), 2);
    }
}
