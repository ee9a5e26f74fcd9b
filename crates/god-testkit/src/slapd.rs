//! A real LDAP directory for tests: OpenLDAP's `slapd` on free ports, with a certificate of an authority of its own, in
//! a directory that is removed with it.

use crate::skip;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Root of the tree.
pub const ROOT: &str = "dc=example,dc=org";
/// Who may read and write everything, and the password.
pub const ADMIN: (&str, &str) = ("cn=admin,dc=example,dc=org", "admin-canary-pw");

const PROGRAM: &str = "/usr/sbin/slapd";
const PATIENCE: Duration = Duration::from_secs(30);

/// What the directory is like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Entries below the root, in LDIF, separated by empty lines.
    pub entries: String,
    /// Whether searches without a name see anything.
    pub anonymous_search: bool,
    /// Whether a bind with a name and no password is answered with success, as by careless directories.
    pub careless_binds: bool,
    /// Whether there is a certificate, and so ldaps and StartTLS.
    pub tls: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { entries: String::new(), anonymous_search: true, careless_binds: false, tls: true }
    }
}

/// The LDIF of a person below `ou=People`: uid, number of user and group, password.
#[must_use]
pub fn person(uid: &str, number: u32, password: &str) -> String {
    format!(
        "dn: uid={uid},ou=People,{ROOT}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: {uid}\n\
         cn: {uid}\nsn: {uid}\nmail: {uid}@example.org\nuidNumber: {number}\ngidNumber: {number}\n\
         homeDirectory: /home/{uid}\nuserPassword: {password}\n"
    )
}

/// The LDIF of a group below `ou=Group`: name, number, uids of members.
#[must_use]
pub fn group(name: &str, number: u32, members: &[&str]) -> String {
    let members: String = members.iter().map(|uid| format!("memberUid: {uid}\n")).collect();
    format!(
        "dn: cn={name},ou=Group,{ROOT}\nobjectClass: posixGroup\ncn: {name}\ngidNumber: {number}\n{members}"
    )
}

/// A running directory.
#[derive(Debug)]
pub struct Slapd {
    dir: tempfile::TempDir,
    child: Child,
    /// Port of `ldap`, where StartTLS is offered, too.
    pub port: u16,
    /// Port of `ldaps`.
    pub tls_port: u16,
}

impl Slapd {
    /// Starts one; `None`, and a printed SKIP, when the machine has no slapd.
    ///
    /// # Panics
    /// It can not be started; or it is missing and `CI` is `true`.
    #[must_use]
    pub fn start(plan: &Plan) -> Option<Slapd> {
        if !Path::new(PROGRAM).exists() {
            skip("slapd is not installed");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("god-slapd.").tempdir().expect("a directory");
        if plan.tls {
            certificate(dir.path());
        }
        fs::create_dir(dir.path().join("db")).expect("made");
        fs::write(dir.path().join("slapd.conf"), configuration(dir.path(), plan)).expect("written");
        fs::write(dir.path().join("tree.ldif"), tree(&plan.entries)).expect("written");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let added = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f", &path("slapd.conf"), "-l", &path("tree.ldif")])
            .output()
            .expect("slapadd runs");
        good("slapadd", &added);
        let (port, tls_port) = (free_port(), free_port());
        let child = spawn(dir.path(), plan.tls, port, tls_port);
        let mut slapd = Slapd { dir, child, port, tls_port };
        slapd.wait();
        Some(slapd)
    }

    /// The PEM file of the authority that signed the certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The PEM file of an authority that has nothing to do with it.
    #[must_use]
    pub fn other_ca_file(&self) -> PathBuf {
        let dir = self.dir.path();
        openssl(
            dir,
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=another CA",
                "-keyout",
                "other.key",
                "-out",
                "other.pem",
            ],
        );
        dir.join("other.pem")
    }

    /// Starts it again on the same ports, after ending it unless it is ended already.
    pub fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.dir.path(), self.ca_file().exists(), self.port, self.tls_port);
        self.wait();
    }

    /// Ends it; the ports are dead then.
    pub fn stop(&mut self) {
        if self.child.try_wait().expect("our child").is_some() {
            return;
        }
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(told.success());
        self.child.wait().expect("our child");
    }

    /// Changes the tree with LDIF for `ldapmodify`, as the admin.
    pub fn modify(&self, ldif: &str) {
        let url = format!("ldap://127.0.0.1:{}", self.port);
        let mut modify = Command::new("ldapmodify")
            .args(["-x", "-H", &url, "-D", ADMIN.0, "-w", ADMIN.1])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify runs");
        modify.stdin.take().expect("piped").write_all(ldif.as_bytes()).expect("sent");
        good("ldapmodify", &modify.wait_with_output().expect("ends"));
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().expect("our child").is_none(), "slapd ended: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "slapd does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it was asked, one line for each operation (`SRCH`, `BIND`).
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            assert!(killed.is_ok() || std::thread::panicking());
        }
    }
}

fn spawn(dir: &Path, tls: bool, port: u16, tls_port: u16) -> Child {
    let urls = match tls {
        true => format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"),
        false => format!("ldap://127.0.0.1:{port}"),
    };
    let log = fs::File::options().append(true).create(true).open(dir.join("log")).expect("a log");
    let other = log.try_clone().expect("a log");
    Command::new(PROGRAM)
        .args(["-d", "stats", "-h", &urls, "-f"])
        .arg(dir.join("slapd.conf"))
        .stdout(log)
        .stderr(other)
        .spawn()
        .expect("slapd runs")
}

fn configuration(dir: &Path, plan: &Plan) -> String {
    let dir = dir.display();
    let mut text = String::from("include /etc/ldap/schema/core.schema\n");
    for schema in ["cosine", "nis", "inetorgperson"] {
        text += &format!("include /etc/ldap/schema/{schema}.schema\n");
    }
    text += &format!("pidfile {dir}/slapd.pid\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n");
    if plan.careless_binds {
        text += "allow bind_anon_cred bind_anon_dn\n";
    }
    if plan.tls {
        text += &format!(
            "TLSCACertificateFile {dir}/ca.pem\nTLSCertificateFile {dir}/srv.pem\n\
             TLSCertificateKeyFile {dir}/srv.key\n"
        );
    }
    let readers = if plan.anonymous_search { "*" } else { "users" };
    text += &format!(
        "database mdb\nmaxsize 16777216\nsuffix \"{ROOT}\"\nrootdn \"{}\"\nrootpw {}\ndirectory {dir}/db\n\
         index objectClass,uid,mail,memberUid eq\n\
         access to attrs=userPassword by self write by anonymous auth by * none\n\
         access to * by {readers} read by * none\n",
        ADMIN.0, ADMIN.1
    );
    text
}

fn tree(entries: &str) -> String {
    format!(
        "dn: {ROOT}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n\
         dn: ou=People,{ROOT}\nobjectClass: organizationalUnit\nou: People\n\n\
         dn: ou=Group,{ROOT}\nobjectClass: organizationalUnit\nou: Group\n\n{entries}"
    )
}

/// An authority, and a certificate of it for this host.
fn certificate(dir: &Path) {
    let new = ["req", "-newkey", "rsa:2048", "-nodes"];
    openssl(
        dir,
        &[&new[..], &["-x509", "-days", "2", "-subj", "/CN=test CA", "-keyout", "ca.key", "-out", "ca.pem"]]
            .concat(),
    );
    openssl(dir, &[&new[..], &["-subj", "/CN=localhost", "-keyout", "srv.key", "-out", "srv.csr"]].concat());
    fs::write(dir.join("ext"), "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        .expect("written");
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-in",
            "srv.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            "srv.pem",
        ],
    );
}

fn openssl(dir: &Path, arguments: &[&str]) {
    good(
        "openssl",
        &Command::new("openssl").args(arguments).current_dir(dir).output().expect("openssl runs"),
    );
}

fn good(program: &str, output: &Output) {
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("bound").port()
}
