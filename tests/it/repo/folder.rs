//! The plain folder: the same port with files, patches and a journal.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use aam::ports::{CommitOutcome, Repo};
use aam::repo::folder::FolderRepo;

use super::desk::{bump, draft, path, shown};

const BRANCH: &str = "aam/drift/default/crm";
const LOCK: &str = "connectors.d/crm.lock.yaml";

struct Folder {
    dir: tempfile::TempDir,
    repo: FolderRepo,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        crate::support::write(&dir.path().join("root"), LOCK, "version: 1\n");
        crate::support::write(&dir.path().join("root"), "connectors.d/crm.yaml", "kind: connection\n");
        let repo = FolderRepo::open(&dir.path().join("root"), &dir.path().join("state")).unwrap();
        Self { dir, repo }
    }

    fn write(&self, path: &str, text: &str) {
        crate::support::write(&self.dir.path().join("root"), path, text);
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.file(path)).unwrap_or_else(|_| "(none)".to_owned())
    }
}

#[tokio::test]
async fn files_act_as_they_change() {
    let folder = Folder::new();
    let first = folder.repo.committed().await.unwrap().commit;
    assert_eq!(folder.repo.info().await.unwrap().head, first);
    folder.write("connectors.d/crm.yaml", "kind: connection # edited\n");
    let now = folder.repo.committed().await.unwrap();
    assert_ne!(now.commit, first);
    insta::assert_snapshot!(shown(&now), @r"
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/crm.yaml: kind: connection # edited
    ");
    folder.write("connectors.d/crm.yaml", "kind: connection\n");
    assert_eq!(folder.repo.worktree().await.unwrap().commit, first, "the same files have the same id");
}

#[tokio::test]
async fn a_commit_writes_whole_files_and_keeps_their_mode() {
    let folder = Folder::new();
    std::fs::set_permissions(folder.file(LOCK), std::fs::Permissions::from_mode(0o640)).unwrap();
    let owner = std::fs::metadata(folder.file(LOCK)).unwrap().uid();
    let edits = draft(&[
        (LOCK, Some("version: 1\n"), Some("version: 2\n")),
        ("connectors.d/crm.yaml", Some("kind: connection\n"), None),
        ("drift/default/crm/4f1c.md", None, Some("# Drift\n")),
    ]);
    let outcome = folder.repo.commit(&edits).await.unwrap();
    let CommitOutcome::Committed(id) = outcome.clone() else { panic!("{outcome:?}") };
    insta::assert_snapshot!(shown(&folder.repo.committed().await.unwrap()), @r"
    connectors.d/crm.lock.yaml: version: 2
    drift/default/crm/4f1c.md: # Drift
    ");
    let meta = std::fs::metadata(folder.file(LOCK)).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.uid()), (0o640, owner));
    assert_eq!(std::fs::read_dir(folder.file("connectors.d")).unwrap().count(), 1, "nothing is left behind");
    assert_eq!(folder.repo.commit(&edits).await.unwrap(), outcome, "a second try finds it done");
    let log = folder.repo.log(&path(LOCK), 10).await.unwrap();
    assert_eq!((log.len(), &log[0].commit, &*log[0].subject), (1, &id, "drift: accept one field"));
    folder.write(LOCK, "version: 9\n");
    assert_eq!(folder.repo.commit(&edits).await.unwrap(), CommitOutcome::Moved);
    assert_eq!(folder.read(LOCK), "version: 9\n");
    assert_eq!(folder.repo.file_at(&id, &path(LOCK)).await.unwrap().as_deref(), Some("version: 2\n"));
}

#[tokio::test]
async fn a_commit_cut_short_is_finished_by_the_next_try() {
    let folder = Folder::new();
    let edits = draft(&[
        (LOCK, Some("version: 1\n"), Some("version: 2\n")),
        ("connectors.d/crm.yaml", Some("kind: connection\n"), Some("kind: connection # 2\n")),
    ]);
    folder.write(LOCK, "version: 2\n"); // the first file was written, then the power went
    folder.write("connectors.d/.aam-write.tmp", "half of the sec");
    assert!(matches!(folder.repo.commit(&edits).await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(folder.read("connectors.d/crm.yaml"), "kind: connection # 2\n");
    assert!(!folder.file("connectors.d/.aam-write.tmp").exists());
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let folder = Folder::new();
    let outside = folder.dir.path().join("outside");
    crate::support::write(&outside, "crm.lock.yaml", "version: 1\n");
    std::os::unix::fs::symlink(&outside, folder.file("connectors.d/acme")).unwrap();
    std::os::unix::fs::symlink(outside.join("crm.lock.yaml"), folder.file("connectors.d/link.yaml")).unwrap();
    for at in ["connectors.d/acme/crm.lock.yaml", "connectors.d/link.yaml"] {
        let edit = draft(&[(at, Some("version: 1\n"), Some("version: 2\n"))]);
        assert!(folder.repo.commit(&edit).await.is_err(), "{at}");
    }
    assert!(folder.repo.commit(&draft(&[("connectors.d/acme/new.yaml", None, Some("x"))])).await.is_err());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(outside.join("crm.lock.yaml")).unwrap(), "version: 1\n");
}

#[tokio::test]
async fn a_repair_is_a_patch_that_git_and_approve_take() {
    let folder = Folder::new();
    let drafted = draft(&[
        (LOCK, Some("version: 1\n"), Some("version: 2\n")),
        ("drift/default/crm/4f1c.md", None, Some("# Drift\n")),
    ]);
    let branch = folder.repo.propose(BRANCH, &drafted).await.unwrap();
    assert_eq!((branch.merged, branch.edited), (false, false));
    assert_eq!(folder.repo.propose(BRANCH, &drafted).await.unwrap(), branch);
    assert_eq!(folder.repo.repair_branches().await.unwrap(), std::slice::from_ref(&branch));
    insta::assert_snapshot!(folder.repo.branch_diff(BRANCH).await.unwrap(), @r"
    drift: accept one field

    Aam-Connection: crm

    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    @@ -1 +1 @@
    -version: 1
    +version: 2

    --- /dev/null
    +++ b/drift/default/crm/4f1c.md
    @@ -0,0 +1 @@
    +# Drift
    ");
    let patch = folder.dir.path().join("state/repairs/aam__drift__default__crm.patch");
    super::desk::git(&folder.dir.path().join("root"), &["apply", "--check", patch.to_str().unwrap()]);
    let outcome = folder.repo.approve(BRANCH, "Pat <pat@example.org>").await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    assert_eq!((&*folder.read(LOCK), &*folder.read("drift/default/crm/4f1c.md")), ("version: 2\n", "# Drift\n"));
    assert!(folder.repo.repair_branches().await.unwrap()[0].merged);
    let log = folder.repo.log(&path(LOCK), 10).await.unwrap();
    assert_eq!(log[0].approved_by.as_deref(), Some("Pat <pat@example.org>"));
    folder.repo.withdraw(BRANCH).await.unwrap();
    folder.repo.withdraw(BRANCH).await.unwrap();
    assert_eq!(folder.repo.repair_branches().await.unwrap(), []);
}

#[tokio::test]
async fn a_patch_that_a_person_edited_is_left_alone_and_one_that_is_out_of_date_is_not_applied() {
    let folder = Folder::new();
    folder.repo.propose(BRANCH, &bump()).await.unwrap();
    folder.write(LOCK, "version: 5\n");
    assert_eq!(folder.repo.approve(BRANCH, "Pat").await.unwrap(), CommitOutcome::Moved);
    assert_eq!(folder.read(LOCK), "version: 5\n");
    folder.write(LOCK, "version: 1\n");
    let patch = folder.dir.path().join("state/repairs/aam__drift__default__crm.patch");
    let text = std::fs::read_to_string(&patch).unwrap().replace("+version: 2", "+version: 3");
    std::fs::write(&patch, &text).unwrap();
    assert!(folder.repo.propose(BRANCH, &bump()).await.unwrap().edited);
    assert!(matches!(folder.repo.approve(BRANCH, "Pat").await.unwrap(), CommitOutcome::Refused(_)));
    assert!(folder.repo.withdraw(BRANCH).await.is_err());
    assert_eq!(std::fs::read_to_string(&patch).unwrap(), text);
}

#[tokio::test]
async fn the_right_adapter_is_chosen() {
    let folder = Folder::new();
    let (root, state) = (folder.dir.path().join("root"), folder.dir.path().join("state"));
    let plain = aam::repo::open(&root, None, &state).await.unwrap().repo(None);
    assert_eq!(plain.info().await.unwrap().kind, "folder");
    super::desk::git(&root, &["init", "--quiet", "--initial-branch=main"]);
    let git = aam::repo::open(&root, None, &state).await.unwrap().repo(None);
    assert_eq!(git.info().await.unwrap().kind, "git");
}
