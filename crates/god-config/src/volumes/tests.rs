//! One table for each rule.

use super::*;

fn volume(name: &str, access: Access, path: &str, mount: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        access,
        path: (!path.is_empty()).then(|| path.to_owned()),
        mount: mount.map(str::to_owned),
    }
}

fn site() -> VolumesConfig {
    use Access::{ReadOnly, ReadWrite};
    VolumesConfig {
        volumes: vec![
            volume("home", ReadWrite, "", None),
            volume("data", ReadWrite, "/data", None),
            volume("banks", ReadOnly, "/db//banks/", Some("/mnt/./banks")),
            volume("scratch", ReadWrite, "/scratch/$USERID", Some("/scratch-of-$USERID")),
            volume("blank", ReadWrite, "/blank", Some("")),
            volume("inner", ReadWrite, "/other", Some("/data/inner")),
            volume("hidden", ReadWrite, "/srv/god-data/keys", None),
        ],
        check: false,
        protected: vec![PathBuf::from("/srv/god-data"), PathBuf::new()],
        engine_socket: Some(PathBuf::from("/opt/engine/engine.sock")),
    }
}

fn ask(name: &str, acl: Option<&str>) -> VolumeRequest {
    VolumeRequest { name: name.to_owned(), acl: acl.map(str::to_owned) }
}

const BOB: VolumeUser<'_> = VolumeUser { login: "bob", home: None };

fn resolve(requests: &[VolumeRequest], user: &VolumeUser<'_>, project: &[Volume]) -> Resolution {
    resolve_volumes(requests, user, project, &site(), false, &|_| panic!("not to be asked"))
}

/// One request of Bob, without a project: the mount as `source:mount:access`, or why there is none.
fn one(name: &str, acl: Option<&str>) -> Result<String, DropReason> {
    only(resolve(&[ask(name, acl)], &BOB, &[]))
}

fn only(mut resolution: Resolution) -> Result<String, DropReason> {
    assert_eq!(resolution.volumes.len() + resolution.dropped.len(), 1, "{resolution:?}");
    match resolution.volumes.pop() {
        Some(volume) => {
            Ok(format!("{}:{}:{}", volume.path.display(), volume.mount.display(), volume.access.as_str()))
        }
        None => Err(resolution.dropped.remove(0).reason),
    }
}

#[test]
fn rule_1_reserved_names_are_dropped() {
    for name in ["go-docker", "god-ftp"] {
        assert_eq!(one(name, Some("rw")), Err(DropReason::Reserved), "{name}");
    }
}

#[test]
fn rule_2_home_is_the_users_own_and_only_when_configured() {
    let with_home = VolumeUser { login: "bob", home: Some(Path::new("/home/bob/")) };
    let home =
        |user: &VolumeUser<'_>, project: &[Volume]| only(resolve(&[ask("home", Some("rw"))], user, project));
    assert_eq!(home(&with_home, &[]), Ok("/home/bob:/mnt/home:rw".to_owned()));
    assert_eq!(home(&BOB, &[]), Err(DropReason::NoHome));
    let empty = VolumeUser { login: "bob", home: Some(Path::new("")) };
    assert_eq!(home(&empty, &[]), Err(DropReason::NoHome));
    // The server's own data may be wrong, too.
    for bad in ["home/bob", "/home/../etc", "/home/bob:/x"] {
        let user = VolumeUser { login: "bob", home: Some(Path::new(bad)) };
        assert_eq!(home(&user, &[]), Err(DropReason::BadPath(bad.to_owned())), "{bad}");
    }
    for bad in ["/", "/etc", "/var"] {
        let user = VolumeUser { login: "bob", home: Some(Path::new(bad)) };
        assert_eq!(home(&user, &[]), Err(DropReason::ForbiddenSource(PathBuf::from(bad))), "{bad}");
    }
    let no_home = VolumesConfig { volumes: vec![], ..site() };
    let project = [volume("home", Access::ReadWrite, "/stolen", None)];
    let resolution = resolve_volumes(&[ask("home", None)], &with_home, &project, &no_home, false, &|_| true);
    assert_eq!(only(resolution), Err(DropReason::Unknown));
}

#[test]
fn rule_3_unknown_and_empty_names_are_dropped_and_projects_add_theirs() {
    assert_eq!(one("nothing", None), Err(DropReason::Unknown));
    assert_eq!(one("", None), Err(DropReason::Unnamed));
    let project = [
        volume("team", Access::ReadWrite, "/team", Some("/mnt/team")),
        volume("data", Access::ReadWrite, "/elsewhere", None),
    ];
    assert_eq!(
        only(resolve(&[ask("team", Some("rw"))], &BOB, &project)),
        Ok("/team:/mnt/team:rw".to_owned())
    );
    assert_eq!(only(resolve(&[ask("data", Some("rw"))], &BOB, &project)), Ok("/data:/data:rw".to_owned()));
}

#[test]
fn rule_4_the_login_is_put_in_and_the_mount_defaults_to_the_path() {
    assert_eq!(one("scratch", Some("rw")), Ok("/scratch/bob:/scratch-of-bob:rw".to_owned()));
    assert_eq!(one("data", None), Ok("/data:/data:ro".to_owned()));
    assert_eq!(one("blank", None), Ok("/blank:/blank:ro".to_owned()));
    assert_eq!(one("banks", None), Ok("/db/banks:/mnt/banks:ro".to_owned()));
}

#[test]
fn odd_logins_are_never_put_into_a_path() {
    for login in ["", ".", "..", "../root", "a/b", "a..b", "-rf", "a b", "a:b", "a\0b", "a$b", "é", "$USERID"]
    {
        let user = VolumeUser { login, home: None };
        assert_eq!(
            only(resolve(&[ask("scratch", None)], &user, &[])),
            Err(DropReason::OddLogin(login.to_owned())),
            "{login:?}"
        );
        // Volumes without the login are not touched by it.
        assert!(only(resolve(&[ask("data", None)], &user, &[])).is_ok());
    }
    for login in ["bob", "Bob.Smith", "_svc", "b-o_b", "bob@example.org", "1000"] {
        let user = VolumeUser { login, home: None };
        assert!(only(resolve(&[ask("scratch", None)], &user, &[])).is_ok(), "{login:?}");
    }
    let long = "a".repeat(65);
    let user = VolumeUser { login: &long, home: None };
    assert!(only(resolve(&[ask("scratch", None)], &user, &[])).is_err());
}

#[test]
fn rule_5_access_is_the_lesser_of_both_and_root_only_reads() {
    for (name, acl, access) in [
        ("data", Some("rw"), "rw"),
        ("data", Some("ro"), "ro"),
        ("data", None, "ro"),
        ("data", Some("RW"), "ro"),
        ("data", Some("rw,shared"), "ro"),
        ("banks", Some("rw"), "ro"),
    ] {
        let mount = one(name, acl).expect("resolved");
        assert!(mount.ends_with(&format!(":{access}")), "{name} {acl:?}: {mount}");
    }
    let home = VolumeUser { login: "bob", home: Some(Path::new("/home/bob")) };
    let requests = [ask("home", Some("rw")), ask("data", Some("rw"))];
    let as_root = resolve_volumes(&requests, &home, &[], &site(), true, &|_| true);
    assert_eq!(as_root.volumes.len(), 2);
    assert!(as_root.volumes.iter().all(|volume| volume.access == Access::ReadOnly));
}

#[test]
fn rule_6_missing_sources_are_dropped_when_asked_to_check() {
    let config = VolumesConfig { check: true, ..site() };
    let exists = |path: &Path| path == Path::new("/scratch/bob");
    let requests = [ask("data", None), ask("scratch", None)];
    let resolution = resolve_volumes(&requests, &BOB, &[], &config, false, &exists);
    assert_eq!(resolution.volumes.len(), 1);
    assert_eq!(resolution.volumes[0].name, "scratch");
    assert_eq!(resolution.dropped[0].reason, DropReason::Missing(PathBuf::from("/data")));
}

#[test]
fn the_system_of_the_host_is_never_mounted() {
    for path in [
        "/",
        "//",
        "/.",
        "/proc",
        "/proc/1",
        "/sys",
        "/etc",
        "/etc/passwd",
        "/etc/",
        "/dev",
        "/dev/sda",
        "/run",
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/var/run",
        "/var",
        "/var/lib",
        "/var/lib/docker/volumes",
        "/./etc",
        "/opt",
        "/opt/engine",
        "/opt/engine/engine.sock",
        "//etc",
    ] {
        let project = [volume("x", Access::ReadWrite, path, Some("/mnt/x"))];
        let found = only(resolve(&[ask("x", None)], &BOB, &project));
        assert!(matches!(found, Err(DropReason::ForbiddenSource(_))), "{path}: {found:?}");
    }
    assert_eq!(one("hidden", None), Err(DropReason::ForbiddenSource(PathBuf::from("/srv/god-data/keys"))));
    for path in ["/srv", "/variable", "/etcetera", "/var/data", "/run/media", "/opt/tools", "/home"] {
        let project = [volume("x", Access::ReadWrite, path, Some("/mnt/x"))];
        assert!(only(resolve(&[ask("x", None)], &BOB, &project)).is_ok(), "{path}");
    }
}

#[test]
fn paths_that_are_not_plain_are_refused() {
    for path in ["", "data", "./data", "/data/../etc", "/a:b", "/a,b", "/a\nb", "/a\0", "/$HOME"] {
        let project = [volume("x", Access::ReadWrite, path, Some("/mnt/x"))];
        assert_eq!(
            only(resolve(&[ask("x", None)], &BOB, &project)),
            Err(DropReason::BadPath(path.to_owned())),
            "{path:?}"
        );
    }
}

#[test]
fn mount_points_of_the_system_are_refused() {
    for mount in [
        "/",
        "/mnt",
        "/mnt/go-docker",
        "/mnt/go-docker/x",
        "/mnt/god-data",
        "/mnt/home",
        "/mnt/home/x",
        "/proc/x",
        "/sys",
        "/dev/shm",
        "/etc",
        "/tmp-data",
    ] {
        let project = [volume("x", Access::ReadWrite, "/x", Some(mount))];
        assert_eq!(
            only(resolve(&[ask("x", None)], &BOB, &project)),
            Err(DropReason::ForbiddenMount(PathBuf::from(mount))),
            "{mount}"
        );
    }
}

#[test]
fn mount_points_never_overlap_and_names_count_once() {
    let requests = [ask("data", Some("rw")), ask("inner", None), ask("data", Some("ro")), ask("banks", None)];
    let resolution = resolve(&requests, &BOB, &[]);
    let names: Vec<&str> = resolution.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["data", "banks"]);
    assert_eq!(resolution.volumes[0].access, Access::ReadWrite, "the first wish counts");
    let reasons: Vec<&DropReason> = resolution.dropped.iter().map(|dropped| &dropped.reason).collect();
    assert_eq!(reasons, [&DropReason::Overlap("data".to_owned()), &DropReason::Twice]);
}
