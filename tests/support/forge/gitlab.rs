//! GitLab's language.

use serde_json::{Value, json};

use super::server::{Answer, Call};
use super::{PROJECT, Request, Right, Standing, State, Status, What, time};

fn user(login: &str) -> Value {
    json!({"id": 1, "username": login, "name": login, "state": "active"})
}

fn merge(state: &State, request: &Request) -> Value {
    let word = match request.state {
        Standing::Open => "opened",
        Standing::Merged => "merged",
        Standing::Closed => "closed",
    };
    let closed = request.past.iter().rfind(|past| past.what == What::Closed);
    let closed = closed.filter(|_| request.state == Standing::Closed);
    let by = |standing| request.by.as_deref().filter(|_| request.state == standing).map_or(Value::Null, user);
    json!({
        "id": 1000 + request.number, "iid": request.number, "project_id": 5, "state": word, "title": request.title,
        "description": request.body, "labels": request.labels, "draft": request.title.starts_with("Draft: "),
        "web_url": format!("{}/{PROJECT}/-/merge_requests/{}", state.url, request.number), "author": user(&request.author),
        "source_branch": request.head, "target_branch": request.base, "sha": state.bare.tip(&request.head),
        "source_project_id": if request.fork { 6 } else { 5 }, "target_project_id": 5,
        "merge_when_pipeline_succeeds": request.auto.is_some(),
        "detailed_merge_status": if state.is_good(request.number) { "mergeable" } else { "ci_still_running" },
        "merge_commit_sha": request.commit, "squash_commit_sha": null,
        "merged_by": by(Standing::Merged), "merge_user": by(Standing::Merged), "closed_by": by(Standing::Closed),
        "closed_at": closed.map(|past| time(past.at)),
    })
}

pub fn answer(state: &mut State, call: &Call) -> Answer {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match &path[..] {
        ["user"] => return Answer::ok(user(&call.login)),
        ["version"] => return Answer::ok(json!({"version": "17.5.0", "revision": "abc"})),
        _ => {}
    }
    let ["projects", PROJECT | "5", rest @ ..] = &path[..] else { return Answer::error(404, "404 Project Not Found") };
    if call.method != "GET" && call.right != Right::Write {
        return Answer::error(403, "403 Forbidden");
    }
    let number = || rest.get(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    let known = state.requests.iter().any(|request| request.number == number());
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let level = if call.right == Right::Write { 40 } else { 20 };
            let access = json!({"project_access": {"access_level": level}, "group_access": null});
            let (id, name) = (5, "config");
            Answer::ok(json!({
                "id": id, "name": name, "path_with_namespace": PROJECT, "default_branch": "main", "permissions": access,
            }))
        }
        ("GET", ["merge_requests"]) => {
            let opened = call.query.get("state").is_some_and(|state| state == "opened");
            let branch = call.query.get("source_branch");
            let listed = state.requests.iter().filter(|request| {
                (!opened || request.state == Standing::Open) && branch.is_none_or(|branch| request.head == *branch)
            });
            Answer::ok(listed.map(|request| merge(state, request)).collect())
        }
        ("POST", ["merge_requests"]) => open(state, call),
        (_, ["merge_requests", ..]) if !known => Answer::error(404, "404 Not found"),
        ("GET", ["merge_requests", _]) => {
            let request = state.request(number()).clone();
            Answer::ok(merge(state, &request))
        }
        ("PUT", ["merge_requests", _]) => update(state, call, number()),
        ("PUT", ["merge_requests", _, "merge"]) => {
            let squash = call.body["squash"].as_bool().unwrap_or_default();
            let login = call.login.clone();
            let (head, draft) =
                (state.request(number()).head.clone(), state.request(number()).title.starts_with("Draft: "));
            if call.text("sha").is_some_and(|sha| Some(sha) != state.bare.tip(&head).as_deref()) {
                return Answer::error(409, "SHA does not match HEAD of source branch");
            }
            let waits = call.body["auto_merge"] == true || call.body["merge_when_pipeline_succeeds"] == true;
            let tip = state.bare.tip(&head).unwrap_or_default();
            let is_tips = |status: &Status| status.commit == tip;
            let has_pipeline = !state.required.is_empty() || state.statuses.iter().any(is_tips);
            // By itself it merges with a pipeline only: one that runs, or one that succeeded.
            if draft || !state.auto_merge || (waits && !has_pipeline) || (!waits && !state.is_good(number())) {
                return Answer::error(405, "405 Method Not Allowed");
            }
            if waits && !state.is_good(number()) {
                state.request(number()).auto = Some(login);
                let request = state.request(number()).clone();
                return Answer::ok(merge(state, &request));
            }
            if !state.merge(number(), &login, squash) {
                return Answer::error(405, "405 Method Not Allowed");
            }
            if call.body["should_remove_source_branch"] == true {
                let head = state.request(number()).head.clone();
                state.bare.delete(&head);
            }
            let request = state.request(number()).clone();
            Answer::ok(merge(state, &request))
        }
        ("POST", ["merge_requests", _, "cancel_merge_when_pipeline_succeeds"]) => {
            if state.request(number()).auto.take().is_none() {
                return Answer::error(406, "Can't cancel the automatic merge");
            }
            let request = state.request(number()).clone();
            Answer::new(201, merge(state, &request))
        }
        ("GET", ["merge_requests", _, "approvals"]) => {
            let mut by: Vec<Value> = Vec::new();
            for review in state.request(number()).reviews.iter().filter(|review| review.approves) {
                by.push(json!({"user": user(&review.author)}));
            }
            Answer::ok(json!({"approved": !by.is_empty(), "approvals_required": 0, "approved_by": by}))
        }
        ("GET", ["merge_requests", _, "notes"]) => {
            let mut notes: Vec<Value> = state
                .request(number())
                .comments
                .iter()
                .map(|c| {
                    let (id, author, body) = (c.id, user(&c.author), &c.body);
                    json!({"id": id, "author": author, "body": body, "system": c.system, "created_at": time(c.at)})
                })
                .collect();
            // The newest first, unless asked otherwise.
            if call.query.get("sort").is_none_or(|sort| sort == "desc") {
                notes.reverse();
            }
            Answer::ok(notes.into())
        }
        ("POST", ["merge_requests", _, "notes"]) => match call.text("body").map(str::to_owned) {
            Some(body) if !body.is_empty() => {
                let id = state.comment(number(), &call.login, &body);
                Answer::new(201, json!({"id": id, "body": body, "author": user(&call.login), "system": false}))
            }
            _ => Answer::new(400, json!({"error": "body is missing"})),
        },
        ("PUT", ["merge_requests", _, "notes", id]) => {
            let id: u64 = id.parse().unwrap_or_default();
            let login = call.login.clone();
            match state.request(number()).comments.iter_mut().find(|comment| comment.id == id) {
                None => Answer::error(404, "404 Not found"),
                Some(comment) if comment.author != login => Answer::error(403, "403 Forbidden"),
                Some(comment) => {
                    comment.body = call.text("body").unwrap_or_default().to_owned();
                    Answer::ok(json!({"id": id, "body": comment.body}))
                }
            }
        }
        ("GET", ["repository", "branches", branch]) => match state.bare.tip(branch) {
            Some(tip) => Answer::ok(json!({"name": branch, "commit": {"id": tip}, "protected": false})),
            None => Answer::error(404, "404 Branch Not Found"),
        },
        ("GET", ["repository", "commits", commit, "statuses"]) => {
            let name = call.query.get("name");
            let of = state.statuses.iter().rev();
            let newest = of.filter(|s| s.commit == *commit && name.is_none_or(|name| s.context == *name)).take(1);
            let shown = newest.map(|s| json!({"name": s.context, "status": s.state, "description": s.description}));
            Answer::ok(shown.collect())
        }
        ("POST", ["statuses", commit]) => status(state, call, commit),
        _ => Answer::error(404, "404 Not Found"),
    }
}

fn open(state: &mut State, call: &Call) -> Answer {
    let known = ["source_branch", "target_branch", "title", "description", "labels", "remove_source_branch", "squash"];
    if let Some(strange) = call.strange(&known) {
        return Answer::new(400, json!({"error": format!("{strange} is unknown")}));
    }
    let wanted = ["source_branch", "target_branch", "title"].map(|key| (key, call.text(key).map(str::to_owned)));
    if let Some((key, _)) = wanted.iter().find(|(_, value)| value.is_none()) {
        return Answer::new(400, json!({"error": format!("{key} is missing")}));
    }
    let [head, base, title] = wanted.map(|(_, value)| value.unwrap_or_default());
    let description = call.text("description").unwrap_or_default().to_owned();
    if description.len() > 1_048_576 {
        return Answer::new(400, json!({"message": {"description": ["is too long (maximum is 1048576 characters)"]}}));
    }
    for (what, branch) in [("Source", &head), ("Target", &base)] {
        if state.bare.tip(branch).is_none() {
            return Answer::new(400, json!({"message": [format!("{what} branch \"{branch}\" does not exist")]}));
        }
    }
    let same = |r: &&Request| r.state == Standing::Open && r.head == head && r.base == base && !r.fork;
    if let Some(other) = state.requests.iter().find(same) {
        let said = format!("Another open merge request already exists for this source branch: !{}", other.number);
        return Answer::new(409, json!({"message": [said]}));
    }
    let number = state.open(&call.login, &title, &description, &head, &base);
    let labels = call.text("labels").unwrap_or_default().split(',').filter(|label| !label.is_empty());
    state.request(number).labels = labels.map(str::to_owned).collect();
    let request = state.request(number).clone();
    Answer::new(201, merge(state, &request))
}

fn update(state: &mut State, call: &Call, number: u64) -> Answer {
    let known = ["title", "description", "target_branch", "add_labels", "remove_labels", "labels", "state_event"];
    if let Some(strange) = call.strange(&known) {
        return Answer::new(400, json!({"error": format!("{strange} is unknown")}));
    }
    if let Some(base) = call.text("target_branch")
        && state.bare.tip(base).is_none()
    {
        return Answer::new(400, json!({"message": [format!("Target branch \"{base}\" does not exist")]}));
    }
    if call.text("state_event") == Some("close") && state.request(number).state == Standing::Open {
        state.close(number, &call.login);
    }
    let request = state.request(number);
    for label in call.text("add_labels").unwrap_or_default().split(',').filter(|label| !label.is_empty()) {
        if !request.labels.iter().any(|known| known == label) {
            request.labels.push(label.to_owned());
        }
    }
    let fields =
        [("title", &mut request.title), ("description", &mut request.body), ("target_branch", &mut request.base)];
    for (field, to) in fields {
        if let Some(text) = call.text(field) {
            text.clone_into(to);
        }
    }
    let request = request.clone();
    Answer::ok(merge(state, &request))
}

fn status(state: &mut State, call: &Call, commit: &str) -> Answer {
    let (word, name) = (call.text("state").unwrap_or_default(), call.text("name").unwrap_or("default"));
    if !["pending", "running", "success", "failed", "canceled", "skipped"].contains(&word) {
        return Answer::new(400, json!({"error": "state does not have a valid value"}));
    }
    if !state.bare.knows(commit) {
        return Answer::error(404, "404 Commit Not Found");
    }
    let newest = state.statuses.iter().rev().find(|s| s.commit == *commit && s.context == name);
    if word == "pending" && newest.is_some_and(|status| status.state == word) {
        let said =
            "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")";
        return Answer::error(400, said);
    }
    let description = call.text("description").unwrap_or_default().to_owned();
    let (commit, context, word) = (commit.to_owned(), name.to_owned(), word.to_owned());
    state.statuses.push(Status { commit, context, state: word, description });
    Answer::new(201, json!({"status": call.body["state"], "name": call.body["name"]}))
}
