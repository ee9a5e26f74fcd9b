//! What the server tells about itself and about us: configuration, images, counts, the user.

use crate::args::Format;
use crate::client::{Api, garbled};
use crate::commands::people::{projects_of, read_user};
use crate::failure::Failure;
use crate::output::{Cell, Column, Printer};
use crate::task::{Task, scalar};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub async fn images(api: &Api, printer: Printer) -> Result<u8, Failure> {
    let config = api.json(&api.get(&["config"], "reading the configuration of the server")).await?;
    let used = api.json(&api.get(&["image"], "listing images that were used")).await?;
    let offered = config["images"].as_array().cloned().unwrap_or_default();
    let mut used = urls(&used);
    used.retain(|url| !offered.iter().any(|image| image["url"] == url.as_str()));
    used.sort();
    if printer.format == Format::Json {
        printer.json(&json!({"offered": offered, "used": used}))?;
        return Ok(0);
    }
    let flag = |image: &Value, name: &str| Cell::same(if image[name] == true { "yes" } else { "" });
    let mut rows: Vec<Vec<Cell>> = offered
        .iter()
        .map(|image| {
            let text = |path| Cell::same(Task(image).text(path));
            vec![text("/url"), text("/name"), flag(image, "default"), flag(image, "interactive")]
        })
        .collect();
    let none = Cell::default;
    rows.extend(used.into_iter().map(|url| vec![Cell::same(url), none(), none(), none()]));
    if printer.quiet {
        rows.iter_mut().for_each(|row| row.truncate(1));
    }
    let columns = [
        Column::shown("IMAGE"),
        Column::shown("NAME"),
        Column::shown("DEFAULT"),
        Column::shown("INTERACTIVE"),
    ];
    printer.rows(if printer.quiet { &columns[..1] } else { &columns }, &rows)?;
    Ok(0)
}

/// A list of addresses, or an object that has them as its keys.
pub fn urls(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().map(scalar).filter(|url| !url.is_empty()).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

pub async fn whoami(api: &Api, printer: Printer) -> Result<u8, Failure> {
    let user = read_user(api, api.user()).await?;
    let projects = Value::Array(projects_of(api, api.user()).await?);
    if printer.format == Format::Json {
        printer.json(&json!({"user": user, "projects": projects}))?;
        return Ok(0);
    }
    let user = Task(&user);
    if printer.quiet {
        printer.line(&crate::text::line(&user.text("/id")))?;
        return Ok(0);
    }
    let projects = projects.as_array().map(Vec::as_slice).unwrap_or_default();
    let projects: Vec<String> = projects.iter().map(|project| Task(project).text("/id")).collect();
    let pairs = [
        ("user", Cell::same(user.text("/id"))),
        ("server", Cell::same(api.server().to_string())),
        ("uid", Cell::same(user.text("/uid"))),
        ("gid", Cell::same(user.text("/gid"))),
        ("email", Cell::same(user.text("/email"))),
        ("home", Cell::same(user.text("/homeDirectory"))),
        ("administrator", Cell::same(if user.at("/admin") == true { "yes" } else { "no" })),
        ("projects", Cell::same(projects.join(","))),
    ];
    printer.pairs(&pairs.into_iter().filter(|(_, cell)| !cell.plain.is_empty()).collect::<Vec<_>>())?;
    Ok(0)
}

pub async fn config(api: &Api, printer: Printer) -> Result<u8, Failure> {
    let answer = api.json(&api.get(&["config"], "reading the configuration of the server")).await?;
    flat(&answer, printer)
}

pub async fn count(api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ask = api.get(&["count"], "counting tasks");
    let answer = api.json(&ask).await?;
    if !answer.is_object() {
        return Err(garbled(&ask, "no counts"));
    }
    flat(&answer, printer)
}

/// An object as names and values, whatever is in it.
fn flat(answer: &Value, printer: Printer) -> Result<u8, Failure> {
    if printer.format == Format::Json {
        printer.json(answer)?;
        return Ok(0);
    }
    let mut pairs = BTreeMap::new();
    flatten("", answer, &mut pairs);
    let pairs: Vec<(&str, Cell)> =
        pairs.iter().map(|(name, text)| (name.as_str(), Cell::same(text.as_str()))).collect();
    printer.pairs(&pairs)?;
    Ok(0)
}

fn flatten(name: &str, value: &Value, pairs: &mut BTreeMap<String, String>) {
    let below = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(part, value)| flatten(&below(part), value, pairs)),
        Value::Array(list) if list.iter().any(|entry| entry.is_object() || entry.is_array()) => {
            list.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, pairs));
        }
        Value::Array(list) => {
            pairs.insert(name.to_owned(), list.iter().map(scalar).collect::<Vec<_>>().join(","));
        }
        value => {
            pairs.insert(name.to_owned(), scalar(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_names_with_dots() {
        let mut pairs = BTreeMap::new();
        let value = json!({"a": 1, "b": {"c": "x", "d": [1, 2]}, "e": [{"f": true}, {"f": null}], "g": []});
        flatten("", &value, &mut pairs);
        let got: Vec<String> = pairs.iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(got, ["a=1", "b.c=x", "b.d=1,2", "e.0.f=true", "e.1.f=", "g="]);
    }

    #[test]
    fn images_may_come_as_keys() {
        assert_eq!(urls(&json!({"debian:12": 5})), ["debian:12"]);
        assert_eq!(urls(&json!(["a", 5, null])), ["a", "5"]);
    }
}
