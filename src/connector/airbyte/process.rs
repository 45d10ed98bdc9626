//! A connector's program as a process: started in a folder of its own with its files, read line by line, ended with its
//! children.
//!
//! The folder holds the settings, secrets included: only this user may enter it, and it goes when the run ends. What a
//! killed `aam` left behind goes when the next run starts.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// The longest line that is read: the largest record or catalog.
const LINE_MAX: usize = 64 << 20;
/// So much of standard error is kept: its end, which is much longer than any secret.
const TAIL_MAX: usize = 256 << 10;
/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// Beginning of the folders' names.
const FOLDER: &str = "aam-connector-";
/// The file in a folder that its process keeps locked.
const IN_USE: &str = "in-use";
/// What a connector sees of our environment: the rest may hold secrets of others.
const ENVIRONMENT: [&str; 14] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "JAVA_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];

/// A program that runs.
pub struct Running {
    child: Child,
    /// Leader of the process group that its children are in too.
    group: Option<Pid>,
    lines: BufReader<ChildStdout>,
    line: Vec<u8>,
    tail: Arc<Mutex<Tail>>,
    tail_reader: tokio::task::JoinHandle<()>,
    /// Locked while this process lives: others do not sweep the folder.
    _in_use: File,
    _folder: TempDir,
}

impl Running {
    /// Starts `command`, then `verb`, then each file as `--name PATH`, then `more`.
    pub fn start(command: &[String], verb: &str, files: &[(&str, &Value)], more: &[OsString]) -> io::Result<Self> {
        sweep(&std::env::temp_dir());
        let folder =
            tempfile::Builder::new().prefix(FOLDER).permissions(fs::Permissions::from_mode(0o700)).tempdir()?;
        let in_use = File::create(folder.path().join(IN_USE))?;
        in_use.lock()?;
        let mut arguments: Vec<OsString> = vec![verb.into()];
        for (name, value) in files {
            let path = folder.path().join(format!("{name}.json"));
            // the folder's mode keeps others out
            fs::write(&path, serde_json::to_vec(value)?)?;
            arguments.extend([format!("--{name}").into(), path.into()]);
        }
        arguments.extend_from_slice(more);
        let tmp = folder.path().join("tmp");
        fs::create_dir(&tmp)?;
        let (program, first) = command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut child = Command::new(program)
            .args(first)
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("TMPDIR", &tmp)
            .env("PYTHONUNBUFFERED", "1")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::with_capacity(64 << 10, child.stdout.take().expect("piped"));
        let tail = Arc::new(Mutex::new(Tail::default()));
        let stderr = child.stderr.take().expect("piped");
        let tail_reader = tokio::spawn(keep_tail(stderr, Arc::clone(&tail)));
        let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(Self { child, group, lines, line: Vec::new(), tail, tail_reader, _in_use: in_use, _folder: folder })
    }

    /// The next line without its end; `None` at the end. A half line of a killed program is none.
    pub async fn line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        loop {
            let chunk = self.lines.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let taken = end.unwrap_or(chunk.len());
            if self.line.len() + taken > LINE_MAX {
                return Err(io::Error::other("it printed a line of more than 64 MiB"));
            }
            self.line.extend_from_slice(&chunk[..taken]);
            self.lines.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// Waits for its end; the exit code, or `None` if a signal ended it.
    pub async fn wait(&mut self) -> io::Result<Option<i32>> {
        let status = tokio::time::timeout(GRACE, self.child.wait()).await;
        let status = status.map_err(|_| io::Error::other("it closed its output and did not end"))??;
        // a child of its own may keep standard error open
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.tail_reader).await;
        Ok(status.code())
    }

    /// Asks it to end, and makes it.
    pub async fn end(&mut self) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        self.signal(Signal::KILL);
    }

    /// The end of its standard error in whole lines: a part of one may begin with half a secret, which nothing tells as one.
    /// A secret may go over several lines, so it is masked before a line is taken out.
    pub fn tail(&self) -> String {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).whole_lines()
    }

    /// The whole group: a wrapper's children too, also when the wrapper itself has ended. A group's number is not given
    /// away while one of it lives.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // gone already is as good
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.tail_reader.abort();
    }
}

/// The end of a program's standard error.
#[derive(Default)]
struct Tail {
    kept: VecDeque<u8>,
    /// Whether something came before it.
    is_cut: bool,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let over = self.kept.len().saturating_sub(TAIL_MAX);
        self.is_cut |= over > 0;
        self.kept.drain(..over);
    }

    fn whole_lines(&self) -> String {
        let first = match self.is_cut {
            true => self.kept.iter().position(|byte| *byte == b'\n').map_or(self.kept.len(), |end| end + 1),
            false => 0,
        };
        let bytes: Vec<u8> = self.kept.iter().skip(first).copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

async fn keep_tail(mut from: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        tail.lock().unwrap_or_else(PoisonError::into_inner).add(&chunk[..count]);
    }
}

/// Removes folders that nobody uses any more.
fn sweep(temp: &Path) {
    for folder in fs::read_dir(temp).into_iter().flatten().flatten() {
        let left = folder.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER))
            && File::open(folder.path().join(IN_USE)).is_ok_and(|file| file.try_lock().is_ok());
        if left {
            // another user's cannot be removed, and need not be
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

/// Whether the program can be found: as an absolute path, or in the folders of `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_absolute() && path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}
