//! A remote that is reached by HTTP with a password, which nobody but git and the remote ever sees.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use aam::ports::{CommitOutcome, Remedy, Repo, RepoError};
use aam::repo::git::{Access, GitRepo};

use super::ground::{BRANCH, Ground};
use super::ssh::{Server, free_port, program};
use crate::repo::desk::{bump, draft, git};
use crate::support::world::until;

const BACKEND: &str = "/usr/lib/git-core/git-http-backend";
const PASSWORD: &str = "pa ss'w\"ord$(id)";

/// nginx in front of git's own server, as user and password of one person; `None`, said, where there is none.
#[expect(clippy::print_stdout, reason = "scripts/checks.sh looks for it")]
async fn serve(ground: &Ground, port: u16) -> Option<(Server, Server)> {
    let (Some(nginx), Some(fcgiwrap)) = (program("nginx"), program("fcgiwrap")) else {
        println!("SKIPPED: git over HTTP: nginx or fcgiwrap is not installed (Debian: nginx-light fcgiwrap)");
        return None;
    };
    let backend = [BACKEND.to_owned(), format!("{}/git-http-backend", git(&ground.origin, &["--exec-path"]))];
    let backend = backend.into_iter().find(|path| Path::new(path).is_file()).expect("git brings its own server");
    let dir = ground.dir.path().canonicalize().unwrap();
    let shown = dir.display();
    std::fs::write(dir.join("htpasswd"), format!("pat:{{PLAIN}}{PASSWORD}\n")).unwrap();
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let settings = format!(
        "{user} daemon off; pid {shown}/pid; error_log {shown}/err; worker_processes 1; events {{}}
         http {{ access_log {shown}/access; client_max_body_size 0; client_body_temp_path {shown}/b;
           fastcgi_temp_path {shown}/f; proxy_temp_path {shown}/p; uwsgi_temp_path {shown}/u; scgi_temp_path {shown}/s;
           server {{ listen 127.0.0.1:{port}; auth_basic git; auth_basic_user_file {shown}/htpasswd;
             location ^~ /moved/ {{ return 301 http://localhost:{port}/; }}
             location ~ ^/(.*\\.git/.*)$ {{ include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME {backend};
               fastcgi_param GIT_PROJECT_ROOT {shown}; fastcgi_param GIT_HTTP_EXPORT_ALL 1; fastcgi_param PATH_INFO /$1;
               fastcgi_param REMOTE_USER $remote_user; fastcgi_pass unix:{shown}/fcgi.sock; }} }} }}"
    );
    std::fs::write(dir.join("nginx.conf"), settings).unwrap();
    git(&ground.origin, &["config", "http.receivepack", "true"]);
    let quiet = |command: &mut Command| Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let wrap = quiet(Command::new(fcgiwrap).arg("-s").arg(format!("unix:{shown}/fcgi.sock")));
    let server = quiet(Command::new(nginx).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("err")));
    until("nginx listens", 20, async || {
        let up = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        (up && dir.join("fcgi.sock").exists()).then_some(())
    })
    .await;
    Some((server, wrap))
}

async fn open(ground: &Ground, url: &str, password: &Arc<Mutex<Option<&'static str>>>) -> Result<GitRepo, RepoError> {
    let password = password.clone();
    let login = move || Ok(password.lock().unwrap().map(|text| ("pat".to_owned(), text.to_owned().into())));
    ground.open_with(Access { login: Box::new(login), ..Ground::access(url) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_the_remote_and_is_seen_nowhere() {
    let ground = Ground::new();
    let port = free_port();
    let Some((_nginx, _fcgiwrap)) = serve(&ground, port).await else { return };
    let url = format!("http://127.0.0.1:{port}/origin.git");
    let password = Arc::new(Mutex::new(None));
    let refused = async |given: Option<&'static str>| {
        *password.lock().unwrap() = given;
        let Err(error) = open(&ground, &url, &password).await else { panic!("let in with {given:?}") };
        assert_eq!(error.remedy, Remedy::Person);
        error.why
    };
    insta::assert_snapshot!(refused(None).await, @"it wants a name and a password: set [repository] username and password");
    insta::assert_snapshot!(refused(Some("wrong")).await, @"it does not accept [repository] username and password");
    insta::assert_snapshot!(refused(Some("line\nbreak")).await, @"user or password hold a line break");
    *password.lock().unwrap() = Some(PASSWORD);
    // While git works: nothing that other users may read names it.
    let (done, seen) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(0)));
    let (until_done, found) = (done.clone(), seen.clone());
    let watching = std::thread::spawn(move || {
        while !*until_done.lock().unwrap() {
            for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                for file in ["cmdline", "environ"] {
                    let text = std::fs::read(entry.path().join(file)).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    *found.lock().unwrap() += usize::from(text.contains(PASSWORD));
                }
            }
        }
    });
    let repo = open(&ground, &url, &password).await.unwrap();
    let CommitOutcome::Committed(commit) = repo.commit(&bump()).await.unwrap() else { panic!("not committed") };
    *done.lock().unwrap() = true;
    watching.join().unwrap();
    assert_eq!((ground.at_origin("main"), *seen.lock().unwrap()), (commit.0, 0));
    for entry in walkdir::WalkDir::new(&ground.state) {
        let entry = entry.unwrap();
        assert!(!entry.file_name().to_string_lossy().starts_with("password-"), "{}", entry.path().display());
        if entry.file_type().is_file() {
            let text = std::fs::read(entry.path()).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains(PASSWORD), "{}", entry.path().display());
        }
    }
    ground.hook("pre-receive", "grep -q refs/heads/main || exit 0; echo protected >&2; exit 1");
    let other = draft(&[("mappings/x.yaml", None, Some("x\n"))]);
    assert!(matches!(repo.commit(&other).await.unwrap(), CommitOutcome::Refused(_)));
    repo.propose(BRANCH, &other).await.unwrap();
    repo.withdraw(BRANCH).await.unwrap();
    // Read-only to us: a decision of the remote, and no trouble of the way.
    git(&ground.origin, &["config", "http.receivepack", "false"]);
    let CommitOutcome::Refused(why) = repo.commit(&other).await.unwrap() else { panic!("not refused") };
    assert!(why.starts_with("the remote allows no push: ") && why.contains("403"), "{why}");
    assert!(repo.may_push().await.unwrap().is_err());
    // Rotated: the next call takes the new one; a wrong one is told and what is here stays.
    *password.lock().unwrap() = Some("rotated");
    assert_eq!(repo.fetch().await.unwrap_err().why, "it does not accept [repository] username and password");
    assert!(repo.committed().await.unwrap().commit.is_some());
    *password.lock().unwrap() = Some(PASSWORD);
    repo.fetch().await.unwrap();
    // Where it is redirected to, the password does not go.
    let moved = format!("http://127.0.0.1:{port}/moved/origin.git");
    let mut elsewhere = Ground::new();
    elsewhere.state = ground.dir.path().join("elsewhere");
    let Err(error) = open(&elsewhere, &moved, &password).await else { panic!("followed") };
    assert_eq!(error.why, "it moved to another address: write that one");
}
