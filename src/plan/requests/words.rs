//! What a request says of a branch that is about no drift: why it is there, and what merging and closing it mean.

use super::Subject;
use crate::model::ConnectionRef;
use crate::repair::{self, Offered, RequestText};

impl Subject {
    /// The text of such a branch' request; `message` and `diff` are those of the branch. A drift has a text of its own.
    pub fn text(
        self,
        connection: &ConnectionRef,
        (branch, message, diff): (&str, &str, &str),
        longest: usize,
    ) -> RequestText {
        let (what, why, decide) = self.words();
        repair::offer_text(connection, branch, Offered { what, why, message, diff, decide }, longest)
    }

    /// How the title begins, why the branch is there, how to decide.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Drift => {
                ("Drift of", "The source shows something else than the lock.", "Merge to approve, close to reject.")
            }
            Self::Rollback => (
                "Rollback of",
                "Somebody asked for an earlier version of the schema, as a new version. What that does, to landed rows too:",
                "Merge this request to go back. Close it if that is not wanted: then the branch is removed, and nothing else \
                 changes. `aam rollback`, run again, offers it anew.",
            ),
            Self::LiveEdit => (
                "Live edit of",
                "Somebody changed this in the engine's own pages. Until it is decided, the engine keeps it and git says \
                 something else:",
                "Merge this request to keep the edit: git says then what is live, and nothing is written to the engine. Close it \
                 if git is right: then the same edit is not offered again, and it stays live until it is taken back in the \
                 engine, or `on_live_edit: revert` in the spec has git's value written back.",
            ),
            Self::Lock => (
                "Lock of",
                "This lock is to be written, and the tracked branch does not take the commit. The connection waits for it:",
                "Merge this request. Closing it decides nothing: the connection goes on waiting, and the same is not asked again.",
            ),
            Self::Rejection => (
                "Rejection of a drift of",
                "A drift was rejected, and the tracked branch does not take the commit that writes it down. It is not asked again \
                 all the same; with these lines in git, a rebuilt registry knows it, too:",
                "Merge this request to have it written down. Close it, and the rejection stands in the registry alone; \
                 `aam drift approve` takes it back.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_branch_holds_stands_in_code() {
        let message = "live edit crm: schedule\n\nschedule: git says \"@team #1\"\n\nAam-Connection: crm\n";
        let diff = "--- a/x\n+++ b/x\n+ ```\n+ @team\n";
        let text = Subject::LiveEdit.text(
            &"crm".parse().unwrap(),
            ("aam/drift/live-edit-of/default/crm", message, diff),
            65_536,
        );
        insta::assert_snapshot!(format!("{}\n\n{}", text.title, text.body), @r#"
        Live edit of crm

        # Live edit of crm

        Somebody changed this in the engine's own pages. Until it is decided, the engine keeps it and git says something else:

        ```text
        live edit crm: schedule

        schedule: git says "@team #1"
        ```


        ## How to decide

        Merge this request to keep the edit: git says then what is live, and nothing is written to the engine. Close it if git is right: then the same edit is not offered again, and it stays live until it is taken back in the engine, or `on_live_edit: revert` in the spec has git's value written back. In a terminal:

        ```sh
        git show origin/aam/drift/live-edit-of/default/crm
        git merge origin/aam/drift/live-edit-of/default/crm
        ```

        ## Changes

        ````diff
        --- a/x
        +++ b/x
        + ```
        + @team
        ````
        "#);
    }
}
