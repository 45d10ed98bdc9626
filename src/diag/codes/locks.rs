//! Codes of locks.

use super::Code;

/// `AAM-L0xx`.
pub(super) const LOCKS: &[Code] = &[
    Code {
        code: "AAM-L001",
        title: "the lock's body and its fingerprint differ",
        text: "\
A lock holds the schema that was approved, and the fingerprint of exactly that schema. When they differ, the file was edited
or merged by hand, and nobody can say which schema was approved. Nothing is done for the connection until it is whole; if a
whole version was known before, that one stays in force.

Example: two branches each added a field, git merged the field lines of both, and `fingerprint:` is that of one of them.

Mend: look at `git log -p` of the file. If the body is what you want, `aam lock --seal CONNECTION` writes the fingerprint
that belongs to it. If not, take the file from an earlier commit.",
    },
    Code {
        code: "AAM-L002",
        title: "the lock holds something that no lock has",
        text: "\
Locks are written by aam. An id that is no UUID, a version below 1, or a type outside the closed set means that the file was
changed by something else.

Example: `id: interger!` instead of `id: integer!`.

Mend: take the file from an earlier commit (`git log -p FILE` shows who changed it), or correct the line and run
`aam lock --seal CONNECTION`.",
    },
    Code {
        code: "AAM-L003",
        title: "two locks have the same id",
        text: "\
The id of a lock is the identity of its connection for life: landed rows, versions and history hang on it. Moving a spec with
its lock keeps the identity; copying both makes two connections with one identity, which would overwrite each other.

Example: `cp crm.yaml crm2.yaml; cp crm.lock.yaml crm2.lock.yaml`.

Mend: remove the lock of the copy. The next run of aam onboards it and writes a lock with an id of its own.",
    },
    Code {
        code: "AAM-L004",
        title: "a lock has no connection",
        text: "\
A lock belongs to the connection spec beside it. Without one it does nothing. Usually the spec was removed or renamed and its
lock stayed.

Example: `git mv crm.yaml sales.yaml` without `git mv crm.lock.yaml sales.lock.yaml`: sales would start from nothing.

Mend: move the lock to the name of its spec, or remove it.",
    },
];
