//! The description of the interface, OpenAPI 3.1, and the page that shows it. Made from the table of routes and from the
//! types that the handlers write; nothing of it comes from another server.

use crate::route::{Kind, RouteInfo, Who};
use crate::typed;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use utoipa::ToSchema;

/// A parameter in the query.
struct Param(&'static str, &'static str);

/// What a route takes and gives, beyond what the table says.
struct Words {
    query: Vec<Param>,
    /// Component of the body.
    body: Option<&'static str>,
    /// Content type of the answer, and its component.
    answer: (&'static str, &'static str),
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const EVENTS: &str = "text/event-stream";
const BYTES: &str = "application/octet-stream";

/// Fields of a filter, as query parameters.
const FILTER: [(&str, &str); 13] = [
    ("state", "States, with commas: pending, starting, running, held, over, archived."),
    ("outcome", "Outcomes, with commas: success, failed, killed, timed_out, and so on."),
    ("user", "Login of the owner."),
    ("project", "Project."),
    ("tag", "Exactly this tag."),
    ("name", "A part of the name."),
    ("newer", "Submitted at most this long ago: 90s, 15m, 12h, 7d."),
    ("older", "Submitted longer ago than this."),
    ("ended_newer", "Ended at most this long ago."),
    ("ended_older", "Ended longer ago than this."),
    ("parent", "Tasks of this array."),
    ("children", "false leaves out tasks of arrays."),
    ("ids", "Ids and ranges, with commas: 7,10-20."),
];

fn words(route: &RouteInfo) -> Words {
    let project = || vec![Param("project", "Only tasks of this project, of all members where they share.")];
    let tag = || vec![Param("tag", "Only tasks with exactly this tag.")];
    let (query, body, answer): (Vec<Param>, Option<&str>, (&str, &str)) =
        match (route.method.as_str(), route.path) {
            (_, "/" | "/api/docs") => (vec![], None, ("text/html", "Text")),
            (_, "/api/docs/style.css") => (vec![], None, ("text/css", "Text")),
            (_, "/metrics") => (vec![], None, (TEXT, "Text")),
            (_, "/api/1.0/authenticate" | "/api/1.0/login") => (vec![], Some("Login"), (JSON, "Document")),
            (_, "/api/1.0/events") => (vec![], None, (EVENTS, "Text")),
            (_, "/api/1.0/task/active") => (project(), None, (JSON, "TaskDocuments")),
            (_, "/api/1.0/task/over/{skip}/{limit}") => (project(), None, (JSON, "TaskDocuments")),
            (_, "/api/1.0/task/active/all" | "/api/1.0/task/over/all/{skip}/{limit}") => {
                (vec![], None, (JSON, "TaskDocuments"))
            }
            ("GET", "/api/1.0/task/{id}") => (vec![], None, (JSON, "TaskDocument")),
            ("PUT", "/api/1.0/task/{id}") => (vec![], Some("Field"), (JSON, "Done")),
            (_, "/api/1.0/task/{id}/wait") => {
                (vec![Param("timeout", "Seconds to wait, up to 300.")], None, (JSON, "Document"))
            }
            (_, "/api/1.0/task/{id}/log") => {
                let query = vec![
                    Param("stream", "out or err."),
                    Param("follow", "1 sends what is written as events, until the end."),
                    Param("offset", "Byte to begin at."),
                ];
                (query, None, (TEXT, "Text"))
            }
            (_, "/api/1.0/task/{id}/files") => (vec![], None, (JSON, "Documents")),
            (_, "/api/1.0/task/{id}/files/{*path}") => (vec![], None, (BYTES, "Bytes")),
            ("POST", "/api/1.0/task") => (vec![], Some("TaskDocument"), (JSON, "Done")),
            (_, "/api/1.0/archive/{days}") => (tag(), None, (JSON, "Done")),
            (_, "/api/1.0/user/{id}/task") => (tag(), None, (JSON, "Done")),
            ("PUT", "/api/1.0/user/{id}") => (vec![], Some("Document"), (JSON, "Document")),
            ("POST", "/api/1.0/project" | "/api/1.0/project/{id}") => {
                (vec![], Some("ProjectDocument"), (JSON, "ProjectDocument"))
            }
            ("GET", "/api/1.0/project/{id}") => (vec![], None, (JSON, "ProjectDocument")),
            ("GET", "/api/1.0/project" | "/api/1.0/user/{id}/project") => (vec![], None, (JSON, "Documents")),
            ("PUT", "/api/1.0/maintenance") => (vec![], Some("Document"), (JSON, "Document")),
            (_, "/api/1.0/prometheus") => (vec![], Some("Document"), (JSON, "Done")),
            (_, "/api/1.0/image") => (vec![], None, (JSON, "Texts")),
            (
                "GET",
                "/api/1.0/user"
                | "/api/1.0/usage"
                | "/api/1.0/status"
                | "/api/1.0/user/{id}/usage"
                | "/api/1.0/project/{id}/usage",
            ) => (vec![], None, (JSON, "Documents")),
            (_, "/api/2/tasks") => {
                let mut query: Vec<Param> = FILTER.iter().map(|(name, what)| Param(name, what)).collect();
                query.push(Param("after", "next of the page before."));
                query.push(Param("limit", "Tasks on a page, 100 when nothing is said, up to 1000."));
                query.push(Param("sort", "-id, the newest first."));
                (query, None, (JSON, "TaskList"))
            }
            (_, "/api/2/tasks/{id}") => (vec![], None, (JSON, "TaskDetails")),
            ("POST", path) if path.starts_with("/api/2/tasks/") => {
                (vec![], Some("BulkRequest"), (JSON, "BulkAnswer"))
            }
            (_, "/api/2/usage") => (
                vec![Param("user", "Whose, if not the own."), Param("project", "Of which project.")],
                None,
                (JSON, "Usage"),
            ),
            (_, "/api/2/nodes") => (vec![], None, (JSON, "NodeList")),
            (_, "/api/2/audit") => {
                let query =
                    vec![Param("after", "Number of the last record seen."), Param("limit", "Up to 1000.")];
                (query, None, (JSON, "ActList"))
            }
            (_, "/api/2/events") => (vec![], None, (EVENTS, "Text")),
            _ => (vec![], None, (JSON, "Document")),
        };
    Words { query, body, answer }
}

/// The types of the answers: those of `/api/2` as the code has them, those of `/api/1.0` as far as their clients rely on
/// them.
fn components() -> Map<String, Value> {
    let mut found = Vec::new();
    macro_rules! add {
        ($($name:ident),*) => {$(
            found.push((stringify!($name).to_owned(), <typed::$name as utoipa::PartialSchema>::schema()));
            <typed::$name as ToSchema>::schemas(&mut found);
        )*};
    }
    add!(TaskList, TaskDetails, BulkRequest, BulkAnswer, Usage, NodeList, ActList, Error);
    let mut components: Map<String, Value> =
        found.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    let list = |of: &str| json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{of}")}});
    for (name, schema) in [
        ("Text", json!({"type": "string"})),
        ("Bytes", json!({"type": "string", "format": "binary"})),
        ("Texts", json!({"type": "array", "items": {"type": "string"}})),
        ("Document", json!({"type": "object"})),
        ("Documents", json!({"type": "array", "items": {"type": "object"}})),
        ("TaskDocuments", list("TaskDocument")),
        (
            "Done",
            json!({
                "type": "object",
                "properties": {"msg": {"type": "string"}, "id": {"type": ["integer", "string"]}},
                "required": ["msg"],
            }),
        ),
        (
            "Login",
            json!({
                "type": "object",
                "properties": {
                    "user": {"type": "string"}, "apikey": {"type": "string"}, "password": {"type": "string"},
                },
            }),
        ),
        (
            "Field",
            json!({
                "type": "object",
                "properties": {"name": {"type": "string"}, "value": {"type": ["string", "number"]}},
                "required": ["name", "value"],
            }),
        ),
        ("TaskDocument", task_document()),
        (
            "ProjectDocument",
            json!({
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "description": {"type": ["string", "null"]},
                    "prio": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
                    "members": {"type": ["array", "null"], "items": {"type": "string"}},
                    "volumes": {"type": ["array", "null"], "items": {"type": "object"}},
                    "quota_time": {"type": ["number", "null"], "minimum": 0},
                    "quota_cpu": {"type": ["number", "null"], "minimum": 0},
                    "quota_ram": {"type": ["number", "null"], "minimum": 0},
                },
            }),
        ),
    ] {
        components.insert(name.to_owned(), schema);
    }
    components
}

/// The wire document of a task. Only what clients send and rely on is named.
fn task_document() -> Value {
    let part = |fields: &[(&str, Value)]| {
        let properties: Map<String, Value> =
            fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        json!({"type": "object", "properties": properties})
    };
    let text = || json!({"type": ["string", "null"]});
    let int = || json!({"type": ["integer", "null"]});
    part(&[
        ("id", json!({"type": "integer"})),
        ("parent_task_id", int()),
        ("date", json!({"type": "number"})),
        ("user", part(&[("id", text()), ("project", text())])),
        (
            "meta",
            part(&[("name", text()), ("description", text()), ("tags", json!({"type": ["array", "null"]}))]),
        ),
        (
            "requirements",
            part(&[
                ("cpu", int()),
                ("ram", int()),
                ("gpus", int()),
                ("executor", text()),
                ("time_limit", text()),
            ]),
        ),
        (
            "container",
            part(&[
                ("image", text()),
                ("root", json!({"type": "boolean"})),
                ("volumes", json!({"type": "array"})),
            ]),
        ),
        ("command", part(&[("cmd", text()), ("interactive", json!({"type": "boolean"}))])),
        (
            "status",
            part(&[("primary", text()), ("secondary", text()), ("reason", text()), ("exitcode", int())]),
        ),
    ])
}

/// Parameters in the path of a route.
fn path_params(path: &str) -> Vec<&str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// Who may come in, in words.
fn allowed(who: Who) -> &'static str {
    match who {
        Who::Anyone => "Everybody, without a login.",
        Who::User => "Every user.",
        Who::Owner => "The owner, those the owner shares it with, and admins.",
        Who::Admin => "Admins.",
        Who::Key => "Programs that know the key of the server.",
    }
}

/// The document.
pub(crate) fn document(routes: &[RouteInfo], version: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = route.path.replace("{*", "{");
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GO-Docker",
            "version": version,
            "description": "Batch jobs in containers. /api/1.0 is what existing clients use; /api/2 is typed.",
        },
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &RouteInfo) -> Value {
    let words = words(route);
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let mut params: Vec<Value> = path_params(route.path)
        .into_iter()
        .map(|name| {
            let name = name.trim_start_matches('*');
            let is_number = matches!(name, "skip" | "limit" | "days")
                || name == "id" && (route.path.contains("/task/") || route.path.contains("/tasks/"));
            let kind = if is_number { "integer" } else { "string" };
            json!({"name": name, "in": "path", "required": true, "schema": {"type": kind}})
        })
        .collect();
    params.extend(words.query.iter().map(|Param(name, what)| {
        json!({"name": name, "in": "query", "description": what, "schema": {"type": "string"}})
    }));
    let (kind, component) = words.answer;
    let mut responses = json!({
        "200": {"description": "Done.", "content": {kind: {"schema": reference(component)}}},
        "400": error("The request must be changed; the text says how."),
    });
    if !matches!(route.who, Who::Anyone) {
        responses["403"] = error("The caller may not do this.");
    }
    if !matches!(route.who, Who::Anyone | Who::Key) {
        responses["401"] = error("Nobody is logged in.");
    }
    if route.path.contains('{') {
        responses["404"] = error("There is no such thing.");
    }
    let version = if route.path.starts_with("/api/2/") { "typed" } else { "1.0" };
    let name = route.path.trim_start_matches('/').replace(['/', '.', '-'], "_").replace(['{', '}', '*'], "");
    let method = route.method.as_str().to_ascii_lowercase();
    let mut operation = json!({
        "operationId": format!("{method}_{name}").trim_end_matches('_'),
        "summary": route.summary,
        "description": allowed(route.who),
        "tags": [version],
        "parameters": params,
        "responses": responses,
        "security": if matches!(route.who, Who::Anyone | Who::Key) { json!([]) } else { json!([{"token": []}]) },
    });
    if let Some(body) = words.body {
        operation["requestBody"] = json!({"content": {JSON: {"schema": reference(body)}}});
    }
    if let Kind::Changes(action) = route.kind {
        operation["x-audit-action"] = action.into();
    }
    operation
}

fn error(text: &str) -> Value {
    json!({
        "description": text,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
    })
}

/// The style of the page.
pub(crate) const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    h2{margin-top:2.5rem}h3{margin:1.5rem 0 0}code{background:#eee;padding:0 .3em}\
    .method{display:inline-block;min-width:4.5rem;font-weight:bold}dt{font-family:monospace}dd{margin:0 0 .3rem 2rem}\
    p{margin:.2rem 0}.who{color:#555}\n";

/// The page: every route with what it takes and gives, and every type. No script, nothing from elsewhere.
pub(crate) fn page(routes: &[RouteInfo], version: &str) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>GO-Docker: interface</title>\
         <link rel=\"stylesheet\" href=\"/api/docs/style.css\"></head><body><h1>GO-Docker {}: interface</h1>\
         <p>The same for programs: <a href=\"/api/openapi.json\">openapi.json</a>. Log in with \
         <code>POST /api/1.0/authenticate</code> and send <code>Authorization: Bearer</code> and the token.</p>",
        escaped(version)
    );
    for (title, is_typed) in
        [("Typed interface, /api/2", true), ("Interface of existing clients, /api/1.0", false)]
    {
        put(&mut page, format_args!("<h2>{title}</h2>"));
        for route in routes.iter().filter(|route| route.path.starts_with("/api/2/") == is_typed) {
            show_route(&mut page, route);
        }
    }
    page.push_str("<h2>Types</h2>");
    for (name, schema) in components() {
        put(&mut page, format_args!("<h3 id=\"{0}\">{0}</h3>", escaped(&name)));
        show_schema(&mut page, &schema);
    }
    page.push_str("</body></html>\n");
    page
}

fn show_route(page: &mut String, route: &RouteInfo) {
    let words = words(route);
    put(
        page,
        format_args!(
            "<h3><span class=\"method\">{}</span> <code>{}</code></h3><p>{}</p><p class=\"who\">{}</p>",
            route.method,
            escaped(&route.path.replace("{*", "{")),
            escaped(route.summary),
            allowed(route.who)
        ),
    );
    if !words.query.is_empty() {
        page.push_str("<dl>");
        for Param(name, what) in &words.query {
            put(page, format_args!("<dt>?{}=</dt><dd>{}</dd>", escaped(name), escaped(what)));
        }
        page.push_str("</dl>");
    }
    let link = |name: &str| format!("<a href=\"#{0}\">{0}</a>", escaped(name));
    if let Some(body) = words.body {
        put(page, format_args!("<p>Takes {}.</p>", link(body)));
    }
    let (kind, component) = words.answer;
    put(page, format_args!("<p>Gives {} ({kind}).</p>", link(component)));
}

fn show_schema(page: &mut String, schema: &Value) {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    put(page, format_args!("<p>{}</p>", text(&schema["description"])));
    let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
    page.push_str("<dl>");
    for part in &parts {
        if let Some(name) = part["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            put(page, format_args!("<dd>All of <a href=\"#{0}\">{0}</a>, and:</dd>", escaped(name)));
        }
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            let kind = shown_type(field);
            let what = text(&field["description"]);
            put(page, format_args!("<dt>{}</dt><dd>{} <i>{}</i></dd>", escaped(name), what, escaped(&kind)));
        }
        for word in part["enum"].as_array().into_iter().flatten() {
            put(page, format_args!("<dt>{}</dt>", text(word)));
        }
    }
    page.push_str("</dl>");
}

fn shown_type(field: &Value) -> String {
    if let Some(name) = field["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return name.to_owned();
    }
    match &field["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => String::new(),
    }
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a String cannot fail");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
