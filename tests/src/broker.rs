//! A broker as a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::stop_and_wait;
use crate::{
    Exited, Footprint, Journal, Kafka, RawClient, Stopwatch, antiphon, eventually, free_port,
    run_to_end, within,
};

/// A clean stop uploads everything; a machine that is busy with other tests is slow at it.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// A start that is refused asks a bucket first, which has 15 seconds.
const REFUSAL_LIMIT: Duration = Duration::from_secs(40);
const TAIL_LINES: usize = 40;

/// How a broker is started.
#[derive(Clone, Debug, Default)]
pub struct BrokerSetup {
    name: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    allowed: Vec<String>,
    http: bool,
    through: Vec<String>,
}

impl BrokerSetup {
    /// A broker whose log carries the name of its test.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// One more flag, such as `--flush-interval`, and its value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.arguments.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Warnings and errors that contain `part` are what the test provokes.
    #[must_use]
    pub fn expect_log(mut self, part: &str) -> Self {
        self.allowed.push(part.to_owned());
        self
    }

    /// Started by another program, which is given the broker's command line: to set up what a process
    /// inherits.
    #[must_use]
    pub fn through(mut self, program: &[&str]) -> Self {
        self.through = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With an HTTP port.
    #[must_use]
    pub fn with_http(mut self) -> Self {
        self.http = true;
        self
    }

    /// Starts it in a folder of its own and waits until it answers.
    pub fn start(self) -> TestBroker {
        let mut broker = self.prepare();
        broker.start_again();
        broker
    }

    /// A broker with folder, ports and log, not started yet.
    pub fn prepare(self) -> TestBroker {
        let folder = tempfile::tempdir().expect("no folder for temporary files");
        let journal = Journal::new(log_path(&self.name), self.allowed.clone());
        let http = self.http.then(free_port);
        let data_dir = folder.path().join("data");
        let port = free_port();
        TestBroker { setup: self, folder, data_dir, port, http, journal, child: None }
    }
}

/// A broker, running or not, with everything it has on disk. Dropped, it is gone; and the test
/// fails if its log holds what nobody expected.
#[derive(Debug)]
pub struct TestBroker {
    setup: BrokerSetup,
    folder: TempDir,
    data_dir: PathBuf,
    port: u16,
    http: Option<u16>,
    journal: Journal,
    child: Option<Child>,
}

impl TestBroker {
    /// A broker with default settings.
    pub fn start(name: &str) -> Self {
        BrokerSetup::named(name).start()
    }

    /// A folder for whatever belongs to this broker.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Moves the broker to another data folder for its next start: a name, or a path of its own.
    pub fn use_data_dir(&mut self, name: impl AsRef<Path>) {
        self.data_dir = self.folder.path().join(name);
    }

    /// Deletes the data folder of a stopped broker.
    pub fn delete_data_dir(&self) {
        assert!(self.child.is_none(), "the broker is running");
        std::fs::remove_dir_all(&self.data_dir).expect("the data folder cannot be deleted");
    }

    /// One more flag from the next start on.
    pub fn add_flag(&mut self, name: &str, value: impl ToString) {
        self.setup = self.setup.clone().flag(name, value);
    }

    /// Where Kafka clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where HTTP is served.
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.http.expect("started without HTTP")))
    }

    /// What it logged.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the broker is not running").id()
    }

    /// What it holds now.
    pub fn footprint(&self) -> Footprint {
        Footprint::of(self.pid())
    }

    /// Whether its process is there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// A raw connection.
    pub fn raw(&self) -> RawClient {
        RawClient::connect(self.address()).expect("the broker does not accept connections")
    }

    /// A client.
    pub fn client(&self) -> Kafka {
        Kafka::new(self.raw())
    }

    /// Starts the process and does not wait for anything.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the broker is running");
        let log = File::options().create(true).append(true).open(self.journal.path());
        let log = log.expect("the log cannot be opened");
        let mut command = self.command();
        command.stdin(Stdio::null()).stderr(log).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("the broker does not start"));
    }

    /// Starts the process and waits until it answers; the time that took.
    pub fn start_again(&mut self) -> Duration {
        let watch = Stopwatch::start();
        self.spawn();
        let address = self.address();
        eventually("the first answer", || {
            assert!(self.is_running(), "the broker ended while starting");
            RawClient::connect(address).ok()?.answers().then_some(())
        });
        watch.elapsed()
    }

    /// Stops it cleanly and starts it again.
    pub fn restart(&mut self) -> Duration {
        assert!(self.terminate().success(), "the stop was not clean");
        self.start_again()
    }

    /// kill -9.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("the broker is not running");
        child.kill().expect("the broker cannot be killed");
        child.wait().expect("waiting failed");
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the broker is not running");
        stop_and_wait(&mut child, STOP_LIMIT)
    }

    /// Waits until it ends by itself.
    pub fn await_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the broker is not running");
        within(STOP_LIMIT, "the end of the broker", || child.try_wait().expect("waiting failed"))
    }

    /// Starts it, expects a refusal, and returns how it went.
    pub fn refused_start(&self) -> Exited {
        run_to_end(&mut self.command(), REFUSAL_LIMIT)
    }

    /// Runs `antiphon inspect` on this broker's things.
    pub fn inspect(&self, arguments: &[&str]) -> String {
        let mut command = self.antiphon();
        command.arg("inspect").args(arguments);
        let exited = run_to_end(&mut command, REFUSAL_LIMIT);
        assert_eq!(exited.code, 0, "inspect {arguments:?}: {}", exited.stderr);
        exited.stdout
    }

    /// The binary with this broker's environment and none of the settings of whoever runs the tests.
    fn antiphon(&self) -> Command {
        let mut command = match self.setup.through.split_first() {
            None => Command::new(antiphon()),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(antiphon());
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            let settings = ["AWS_", "ANTIPHON_"];
            if settings.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.envs(self.setup.environment.iter().cloned());
        command
    }

    fn command(&self) -> Command {
        let mut command = self.antiphon();
        let http = self.http.map_or_else(|| "off".to_owned(), |port| format!("127.0.0.1:{port}"));
        command.arg("serve").args(["--listen", &self.address().to_string(), "--http", &http]);
        command.arg("--data-dir").arg(&self.data_dir).args(&self.setup.arguments);
        command
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let (path, tail) = (self.journal.path().display(), self.journal.tail(TAIL_LINES));
            crate::figure(&format!("the broker's log, {path}, ends with\n{tail}"));
            return;
        }
        let unexpected = self.journal.unexpected();
        assert!(unexpected.is_empty(), "unexpected lines in the log:\n{}", unexpected.join("\n"));
    }
}

fn log_path(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = crate::binary::logs().join(format!("{name}-{number}.log"));
    let _ = std::fs::remove_file(&path);
    path
}
