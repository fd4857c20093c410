//! MinIO as a process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use antiphon_tests::{cache_dir, eventually, free_port, stop_and_wait};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};

const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A MinIO of our own, on a free port, with its data in a temporary folder.
#[derive(Debug)]
pub(crate) struct MinIo {
    folder: TempDir,
    port: u16,
    console: u16,
    child: Option<Child>,
}

impl MinIo {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for MinIO");
        // MinIO serves every folder of its data directory as a bucket.
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a folder for the bucket");
        let mut minio = Self { folder, port: free_port(), console: free_port(), child: None };
        minio.start_again();
        minio
    }

    pub(crate) fn start_again(&mut self) {
        let binary = cache_dir().join("bin").join("minio");
        assert!(binary.is_file(), "{} is missing: `tests/run minio` installs it", binary.display());
        let mut command = Command::new(binary);
        command
            .args(["server", "--quiet"])
            .args(["--address", &format!("127.0.0.1:{}", self.port)])
            .args(["--console-address", &format!("127.0.0.1:{}", self.console)])
            .arg(self.folder.path())
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("MINIO_BROWSER", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("MinIO does not start"));
        eventually("MinIO to be ready", || self.is_ready().then_some(()));
    }

    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("MinIO is not running");
        stop_and_wait(&mut child, STOP_LIMIT);
    }

    /// Stops answering, without closing any connection.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after [`MinIo::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("MinIO is not running");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("MinIO is gone");
    }

    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = b"GET /minio/health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n";
        let mut head = [0; 12];
        let timeout = Some(Duration::from_secs(5));
        stream.set_read_timeout(timeout).is_ok()
            && stream.write_all(request).is_ok()
            && stream.read_exact(&mut head).is_ok()
            && head.ends_with(b"200")
    }
}

impl Server for MinIo {
    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for MinIo {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
