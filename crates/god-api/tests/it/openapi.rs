//! The description of the interface says what is true.

use crate::world::{World, world};
use axum::body::Body;
use axum::http::Request;
use god_api::routes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn document(world: &World) -> Value {
    world.get("", "/api/openapi.json").await.ok()
}

/// What is wrong with a value by a schema; knows as much of schemas as the document uses.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(target) = schema["$ref"].as_str() {
        let pointer = target.strip_prefix('#').expect("of this document");
        let target = document.pointer(pointer).unwrap_or_else(|| panic!("{target} is nowhere"));
        return faults(document, target, value, at);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().flat_map(|part| faults(document, part, value, at)).collect();
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(parts) = schema[choice].as_array() {
            let fits = parts.iter().any(|part| faults(document, part, value, at).is_empty());
            return if fits { Vec::new() } else { vec![format!("{at}: {value} fits none of {parts:?}")] };
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type {other}"),
    };
    let mut found = Vec::new();
    if !kinds.is_empty() && !kinds.iter().any(is) {
        found.push(format!("{at}: {value} is none of {kinds:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        if value.is_object() && value.get(name).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            found.extend(faults(document, part, value, &format!("{at}.{name}")));
        }
    }
    for one in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        found.extend(faults(document, &schema["items"], one, &format!("{at}[]")));
    }
    found
}

/// The names that a schema knows.
fn names(document: &Value, schema: &Value) -> BTreeSet<String> {
    if let Some(target) = schema["$ref"].as_str() {
        return names(document, document.pointer(&target[1..]).expect("there"));
    }
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(|part| names(document, part));
    own.chain(parts).collect()
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn it_has_every_route_and_nothing_dangles() {
    let world = world().await;
    let document = document(&world).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for route in routes() {
        let path = route.path.replace("{*", "{");
        let operation = &document["paths"][&path][route.method.as_str().to_ascii_lowercase()];
        assert_eq!(operation["summary"], route.summary, "{} {path}", route.method);
        assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
        let named: Vec<&str> = operation["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|p| p["in"] == "path")
            .filter_map(|p| p["name"].as_str())
            .collect();
        let in_path: Vec<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(named, in_path, "{path}");
    }
    let n: usize = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .map(|p| p.as_object().expect("one").len())
        .sum();
    assert_eq!(n, routes().len());
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for target in found {
        assert!(document.pointer(&target[1..]).is_some(), "{target}");
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let world = world().await;
    let over = world.submit("bob", |_| {}).await;
    world.start(over).await;
    world.end(over, 2).await;
    let array = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "2"})).await;
    let running = world.submit("bob", |_| {}).await;
    world.start(running).await;
    world.audited(1).await;
    let document = document(&world).await;
    let child = array.0 + 1;
    for (path, template) in [
        ("/api/2/tasks".to_owned(), "/api/2/tasks"),
        (format!("/api/2/tasks/{over}"), "/api/2/tasks/{id}"),
        (format!("/api/2/tasks/{array}"), "/api/2/tasks/{id}"),
        (format!("/api/2/tasks/{child}"), "/api/2/tasks/{id}"),
        (format!("/api/2/tasks/{running}"), "/api/2/tasks/{id}"),
        ("/api/2/usage?user=bob".to_owned(), "/api/2/usage"),
        ("/api/2/nodes".to_owned(), "/api/2/nodes"),
        ("/api/2/audit".to_owned(), "/api/2/audit"),
        (format!("/api/1.0/task/{over}"), "/api/1.0/task/{id}"),
        ("/api/1.0/task/active".to_owned(), "/api/1.0/task/active"),
        ("/api/1.0/project/lab".to_owned(), "/api/1.0/project/{id}"),
    ] {
        let answer = world.get("ada", &path).await.ok();
        let schema =
            &document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let wrong = faults(&document, schema, &answer, &path);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if template.starts_with("/api/2/") {
            let known = names(&document, schema);
            let given: BTreeSet<String> = answer.as_object().expect("an object").keys().cloned().collect();
            assert_eq!(given, known, "{path}: the names are exactly those described");
        }
    }
    // And the judge is no yes-man.
    let schema = json!({"$ref": "#/components/schemas/TaskDetails"});
    let mut task = world.get("ada", &format!("/api/2/tasks/{over}")).await.ok();
    task["state"] = json!("done");
    task["cpu"] = json!("1");
    task.as_object_mut().expect("an object").remove("id");
    assert_eq!(faults(&document, &schema, &task, "").len(), 3);
    let error = world.get("bob", "/api/2/tasks?limit=x").await.json();
    assert!(faults(&document, &json!({"$ref": "#/components/schemas/Error"}), &error, "").is_empty());
}

#[tokio::test]
async fn the_page_shows_all_of_it_and_asks_nobody_else() {
    let world = world().await;
    let answer = world.send(Request::get("/api/docs").body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = answer.text();
    for route in routes() {
        assert!(text.contains(&format!("<code>{}</code>", route.path.replace("{*", "{"))), "{}", route.path);
    }
    for bad in ["http://", "https://", "<script", "style=", "//cdn"] {
        assert!(!text.contains(bad), "{bad}");
    }
    for part in text.split("href=\"#").skip(1) {
        let name = part.split('"').next().expect("a name");
        assert!(text.contains(&format!("id=\"{name}\"")), "{name}");
    }
    let style = world.send(Request::get("/api/docs/style.css").body(Body::empty()).expect("a request")).await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
}
