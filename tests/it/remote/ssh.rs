//! A remote that is reached by ssh, with a server of our own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aam::ports::{CommitOutcome, Remedy, Repo};
use aam::repo::git::Access;

use super::ground::{BRANCH, Ground};
use crate::repo::desk::bump;
use crate::support::world::until;

/// Whether a program is installed; its path.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/sbin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// A running server; ends when dropped.
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// Starts sshd on a port with keys in a folder; `None`, said, where there is none.
#[expect(clippy::print_stdout, reason = "scripts/checks.sh looks for it")]
async fn sshd(dir: &Path, port: u16) -> Option<Server> {
    let Some(sshd) = program("sshd") else {
        println!("SKIPPED: git over ssh: sshd is not installed (Debian: openssh-server)");
        return None;
    };
    if rustix::process::getuid().is_root() {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    for name in ["host", "person"] {
        if !dir.join(name).exists() {
            keygen(&dir.join(name));
        }
    }
    let shown = dir.display();
    let settings = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/person.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    );
    std::fs::write(dir.join("sshd_config"), settings).unwrap();
    let child = Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("sshd.log")).unwrap())
        .spawn()
        .unwrap();
    let server = Server(child);
    until("sshd listens", 20, async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())).await;
    Some(server)
}

/// The file of known hosts with the server's own key.
fn known_hosts(dir: &Path, port: u16, key: &str) -> PathBuf {
    let key = std::fs::read_to_string(dir.join(key)).unwrap();
    let path = dir.join("known hosts");
    std::fs::write(&path, format!("[127.0.0.1]:{port} {key}")).unwrap();
    path
}

#[tokio::test]
async fn a_key_opens_the_remote_and_an_unknown_host_is_not_spoken_to() {
    let ground = Ground::new();
    let dir = ground.dir.path().canonicalize().unwrap().join("it's ssh");
    std::fs::create_dir(&dir).unwrap();
    let port = free_port();
    let Some(_server) = sshd_in(&dir, port).await else { return };
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let url = format!("ssh://{}@127.0.0.1:{port}{}", user.trim(), ground.origin.display());
    let access = |key: &str, hosts: &Path| Access {
        ssh_key: Some(dir.join(key)),
        known_hosts: Some(hosts.to_owned()),
        ..Ground::access(&url)
    };
    // Another host's key, and none at all.
    keygen(&dir.join("other"));
    let hosts = known_hosts(&dir, port, "other.pub");
    let Err(error) = ground.open_with(access("person", &hosts)).await else { panic!("spoke to a stranger") };
    insta::assert_snapshot!(error.why, @"the host shows another key than the one that is known: somebody may be in between. If the host was set up anew, correct known_hosts");
    assert_eq!(error.remedy, Remedy::Person);
    std::fs::write(&hosts, "").unwrap();
    let Err(error) = ground.open_with(access("person", &hosts)).await else { panic!("spoke to a stranger") };
    insta::assert_snapshot!(error.why, @"the host's key is not known: put it into the file that [repository] known_hosts names (`ssh-keyscan HOST` prints it; compare it with what its owner says)");
    let hosts = known_hosts(&dir, port, "host.pub");
    let Err(error) = ground.open_with(access("other", &hosts)).await else { panic!("let in with any key") };
    insta::assert_snapshot!(error.why, @"the host does not accept the key: see [repository] ssh_key");
    let repo = ground.open_with(access("person", &hosts)).await.unwrap();
    let CommitOutcome::Committed(commit) = repo.commit(&bump()).await.unwrap() else { panic!("not committed") };
    assert_eq!(ground.at_origin("main"), commit.0);
    ground.git(&["pull", "--quiet"]);
    ground.push("notes.txt", "by the person\n");
    assert!(repo.fetch().await.unwrap());
    ground.hook("pre-receive", "grep -q refs/heads/main || exit 0; echo protected >&2; exit 1");
    let other = crate::repo::desk::draft(&[("mappings/x.yaml", None, Some("x\n"))]);
    assert!(matches!(repo.commit(&other).await.unwrap(), CommitOutcome::Refused(_)));
    let branch = repo.propose(BRANCH, &other).await.unwrap();
    assert_eq!(ground.at_origin(BRANCH), branch.tip.0);
    assert_eq!(repo.may_push().await.unwrap(), Ok(()));
    repo.withdraw(BRANCH).await.unwrap();
    assert_eq!(ground.at_origin(BRANCH), "(none)");
}

/// sshd's own settings know no quotes in paths, so its keys lie where it starts and are linked to from here.
async fn sshd_in(dir: &Path, port: u16) -> Option<Server> {
    let plain = dir.parent().unwrap().join("sshd");
    std::fs::create_dir(&plain).unwrap();
    let server = sshd(&plain, port).await?;
    for name in ["host.pub", "person"] {
        std::fs::copy(plain.join(name), dir.join(name)).unwrap();
    }
    Some(server)
}
