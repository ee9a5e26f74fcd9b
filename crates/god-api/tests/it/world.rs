//! A site with three users (bob, eve and the admin ada), a store in memory, and a clock that stands still.

use auth_local::{LocalAuth, NewUser};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use god_api::{ApiConfig, App, Doors, ImageOffer, Parts, PushKey, VolumeOffer, router};
use god_core::admission::{Constraint, DynamicField, ExecutorRules, Site};
use god_core::audit::AuditRecord;
use god_core::auth::Auth;
use god_core::executor::{Cause, Exit};
use god_core::ids::{ExecutorName, NodeName, OpId, RunRef};
use god_core::keys::{Purpose, Secret};
use god_core::spec::{Owner, Volume};
use god_core::state::{Attempt, Event};
use god_core::store::{Change, Committed, PendingLimits, Store};
use god_core::user::{Project, ProjectVolume, User};
use god_core::wire::AskedVolume;
use god_core::{ProjectId, Seconds, Task, TaskId, Timestamp, UserId};
use god_runtime::jobdir::JobDirs;
use god_store::MemoryStore;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tower::ServiceExt;

pub const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
pub const START: i64 = 1_700_000_000_000;
pub const JSON: &str = "application/json; charset=UTF-8";

pub struct World {
    pub store: Arc<MemoryStore>,
    pub auth: LocalAuth,
    pub app: App,
    pub router: Router,
    pub clock: Arc<AtomicI64>,
    pub dir: tempfile::TempDir,
    pub keys: HashMap<String, String>,
    pub tokens: HashMap<String, String>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some(JSON));
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.to_vec()).expect("UTF-8")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The JSON of a success.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()
    }

    /// The text of an error of this status.
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()["error"].as_str().expect("a text").to_owned()
    }
}

fn site() -> Site {
    Site {
        maintenance: false,
        allow_root: false,
        guests: None,
        images: vec!["debian:12".to_owned()],
        allow_user_images: false,
        constraints: vec![Constraint {
            name: "disk".to_owned(),
            values: vec!["ssd".to_owned(), "hdd".to_owned()],
        }],
        executors: vec![ExecutorRules {
            name: "local".to_owned(),
            features: vec!["kill".to_owned(), "pause".to_owned()],
            images: true,
        }],
        networks: vec!["public".to_owned()],
        failure_policy: 1,
        default_cpu: 1,
        default_ram: 2,
        array_max: 1000,
        script_max: 64 << 10,
        min_uid: 1000,
        min_gid: 100,
        time_limit_default: None,
        time_limit_max: None,
        dynamic_fields: vec![
            DynamicField { name: "maxlifespan".to_owned(), admin_only: false },
            DynamicField { name: "lane".to_owned(), admin_only: true },
        ],
        mail: false,
    }
}

/// Makes a user and answers the key.
async fn make_user(auth: &LocalAuth, login: &str, uid: u32) -> String {
    let new = NewUser {
        login: login.to_owned(),
        uid: Some(uid),
        gid: Some(uid),
        email: format!("{login}@example.org"),
        home: Some(format!("/home/{login}")),
        ..NewUser::default()
    };
    auth.create_user(new).await.expect("made");
    let secret = Secret::derive(SECRET, Purpose::ApiKeys);
    auth.make_key(&UserId::new(login), &secret, true, Timestamp(START)).await.expect("made")
}

pub async fn world() -> World {
    world_with(|_| {}).await
}

pub async fn world_with(change: impl FnOnce(&mut ApiConfig)) -> World {
    world_in(None, change).await
}

/// A site whose users are in another directory; bob, eve and ada are not.
pub async fn world_in(directory: Option<Arc<dyn Auth>>, change: impl FnOnce(&mut ApiConfig)) -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(MemoryStore::new());
    let auth = LocalAuth::new(store.clone());
    let mut keys = HashMap::new();
    for (login, uid) in [("bob", 2001), ("eve", 2002), ("ada", 2003)] {
        keys.insert(login.to_owned(), make_user(&auth, login, uid).await);
    }
    let project = Project {
        id: ProjectId::new("lab"),
        description: "shared work".to_owned(),
        prio: 60,
        members: vec![UserId::new("bob"), UserId::new("eve")],
        volumes: Vec::new(),
        quotas: [1.0, 2.0, 3.0],
        rev: 0,
    };
    assert!(store.put_project(&project).await.expect("stored"));
    let mut config = ApiConfig {
        site: site(),
        doors: Doors::default(),
        admins: vec![UserId::new("ada")],
        images: vec![ImageOffer {
            name: "Debian".to_owned(),
            url: "debian:12".to_owned(),
            interactive: false,
            default: true,
        }],
        volumes: vec![VolumeOffer { name: "home".to_owned(), acl: "rw".to_owned(), path: None, mount: None }],
        limits: PendingLimits::default(),
        share_project_tasks: false,
        usage_days: 30,
        shared_dir: dir.path().to_owned(),
        max_file_download: None,
        token_life: Seconds(1000),
        open_metrics: true,
        prometheus_key: Some(PushKey::new("push-key")),
        cadvisor: None,
        version: "0.1".to_owned(),
    };
    change(&mut config);
    let clock = Arc::new(AtomicI64::new(START));
    let directory = directory.unwrap_or_else(|| Arc::new(auth.clone()));
    let app = app(store.clone(), directory, config, &clock, (SECRET, None));
    let router = router(app.clone());
    let mut world = World { store, auth, app, router, clock, dir, keys, tokens: HashMap::new() };
    for login in ["bob", "eve", "ada"] {
        let token = world.log_in(login).await;
        world.tokens.insert(login.to_owned(), token);
    }
    world
}

/// The home of the owner, and what the project offers outside of `/etc`.
fn app(
    store: Arc<MemoryStore>,
    auth: Arc<dyn Auth>,
    config: ApiConfig,
    clock: &Arc<AtomicI64>,
    (secret, previous): (&[u8], Option<&[u8]>),
) -> App {
    let hand = clock.clone();
    App::new(Parts {
        store,
        auth,
        config,
        secret: secret.to_vec(),
        previous_secret: previous.map(<[u8]>::to_vec),
        throttle: Arc::default(),
        clock: Arc::new(move || Timestamp(hand.load(Ordering::Relaxed))),
        volumes: Arc::new(volumes),
        status: None,
    })
}

fn volumes(owner: &Owner, asked: &[AskedVolume], offered: &[ProjectVolume]) -> Vec<Volume> {
    let resolve = |asked: &AskedVolume| {
        let (path, mount, writable) = if asked.name == "home" {
            (owner.home.clone().unwrap_or_default(), "/mnt/home".to_owned(), true)
        } else {
            let volume = offered.iter().find(|volume| volume.name == asked.name)?;
            if volume.path.starts_with("/etc") {
                return None;
            }
            let mount = if volume.mount.is_empty() { &volume.path } else { &volume.mount };
            (volume.path.clone(), mount.clone(), volume.acl == "rw")
        };
        Some(Volume { name: asked.name.clone(), path, mount, writable: writable && asked.writable })
    };
    asked.iter().filter_map(resolve).collect()
}

impl World {
    /// The same site, seen through a server of its own with other secrets.
    pub fn through(&self, secret: &[u8], previous: Option<&[u8]>) -> World {
        let auth = Arc::new(self.auth.clone());
        let app = app(self.store.clone(), auth, self.app.config().clone(), &self.clock, (secret, previous));
        World {
            store: self.store.clone(),
            auth: self.auth.clone(),
            router: router(app.clone()),
            app,
            clock: self.clock.clone(),
            dir: tempfile::tempdir().expect("a directory"),
            keys: self.keys.clone(),
            tokens: self.tokens.clone(),
        }
    }

    /// One more user, logged in.
    pub async fn add_user(&mut self, login: &str, uid: u32) {
        self.keys.insert(login.to_owned(), make_user(&self.auth, login, uid).await);
        let token = self.log_in(login).await;
        self.tokens.insert(login.to_owned(), token);
    }

    /// Changes a user's record behind the server's back.
    pub async fn edit_user(&self, login: &str, change: impl FnOnce(&mut User)) {
        let mut user = self.store.user(&UserId::new(login)).await.expect("answers").expect("exists");
        change(&mut user);
        assert!(self.store.put_user(&user).await.expect("answers"));
    }

    /// The audit trail, once it has so many records.
    pub async fn audited(&self, n: usize) -> Vec<AuditRecord> {
        for _ in 0..200 {
            let records = self.store.audited(None, 1000).await.expect("answers");
            let changes = records.into_iter().map(|(_, record)| record);
            let changes: Vec<_> = changes.filter(|record| record.action != "token.begin").collect();
            if changes.len() >= n {
                return changes;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no {n} records in the audit trail");
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a whole body");
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// A request of a user (nobody when empty), with a body when there is one.
    pub async fn call(&self, login: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_with(login, method, path, body, &[]).await
    }

    pub async fn call_with(
        &self,
        login: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let base = if path.starts_with("/api/") { "" } else { "/api/1.0" };
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if !login.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.tokens[login]));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.send(request.body(body).expect("a request")).await
    }

    pub async fn get(&self, login: &str, path: &str) -> Answer {
        self.call(login, "GET", path, None).await
    }

    pub async fn log_in(&self, login: &str) -> String {
        let body = json!({"user": login, "apikey": self.keys[login]});
        let answer = self.call("", "POST", "/authenticate", Some(body)).await.ok();
        answer["token"].as_str().expect("a text").to_owned()
    }

    pub async fn submit(&self, login: &str, change: impl FnOnce(&mut Value)) -> TaskId {
        let mut body = body();
        change(&mut body);
        let answer = self.call(login, "POST", "/task", Some(body)).await.ok();
        assert_eq!(answer["msg"], "Task added");
        TaskId(answer["id"].as_u64().expect("an id"))
    }

    pub async fn task(&self, id: TaskId) -> Task {
        self.store.get(&[id]).await.expect("answers").pop().flatten().expect("exists")
    }

    pub async fn happen(&self, id: TaskId, event: Event) {
        let task = self.task(id).await;
        let next = task.after(&event, Timestamp(START + 5000)).expect("allowed");
        let change = Change::of(&task, next, OpId(1));
        assert_eq!(self.store.commit(vec![change], None).await.expect("answers"), [Committed::Done]);
    }

    /// Claims and starts a task.
    pub async fn start(&self, id: TaskId) {
        self.start_on(id, "n1").await;
    }

    /// Claims and starts a task on a node.
    pub async fn start_on(&self, id: TaskId, node: &str) {
        let number = self.task(id).await.attempts + 1;
        let attempt = Attempt {
            number,
            executor: ExecutorName::new("local"),
            node: NodeName::new(node),
            ports: Vec::new(),
            epoch: 1,
            claimed: Timestamp(START + 1000),
        };
        self.happen(id, Event::Claimed(attempt)).await;
        self.happen(id, Event::Started { run: Some(RunRef::new("r1")), since: Timestamp(START + 2000) })
            .await;
    }

    pub async fn end(&self, id: TaskId, code: i32) {
        let exit = Exit {
            cause: Cause::Code(code),
            by_request: false,
            started: Some(Timestamp(START + 2000)),
            ended: Timestamp(START + 4500),
            cpu_us: 7,
            max_rss: god_core::Bytes(9),
        };
        self.happen(id, Event::Ended(exit)).await;
    }

    /// The job directory, made.
    pub fn job_dir(&self, id: TaskId) -> PathBuf {
        let dir = JobDirs::new(self.dir.path()).task_dir(id.0);
        std::fs::create_dir_all(&dir).expect("made");
        dir
    }
}

/// A small good submit.
pub fn body() -> Value {
    json!({
        "meta": {"name": "align", "tags": ["t1"]},
        "requirements": {"cpu": 1, "ram": 2},
        "container": {"image": "debian:12", "volumes": [{"name": "home", "acl": "rw"}]},
        "command": {"interactive": false, "cmd": "#!/bin/bash\necho hi\n"},
    })
}
