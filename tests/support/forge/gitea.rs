//! Gitea's language; Forgejo speaks the same.

use serde_json::{Value, json};

use super::server::{Answer, Call};
use super::{PROJECT, Request, Review, Right, Standing, State, Status, What, time};

fn user(login: &str) -> Value {
    json!({"id": 1, "login": login, "username": login, "full_name": ""})
}

fn label(state: &State, name: &str) -> Value {
    let id = state.labels.iter().position(|label| label == name).map_or(0, |at| at + 1);
    json!({"id": id, "name": name, "color": "5319e7"})
}

fn pull(state: &State, request: &Request) -> Value {
    let merged = request.state == Standing::Merged;
    let labels: Vec<Value> = request.labels.iter().map(|name| label(state, name)).collect();
    let side = |branch: &str, repo: i64| {
        let tip = state.bare.tip(branch);
        let name = if tip.is_none() { format!("refs/pull/{}/head", request.number) } else { branch.to_owned() };
        json!({"label": branch, "ref": name, "sha": tip, "repo_id": repo})
    };
    json!({
        "id": 1000 + request.number, "number": request.number, "title": request.title, "body": request.body,
        "html_url": format!("{}/{PROJECT}/pulls/{}", state.url, request.number), "labels": labels,
        "state": if request.state == Standing::Open { "open" } else { "closed" }, "user": user(&request.author),
        "draft": request.title.starts_with("WIP: "), "merged": merged, "merge_commit_sha": request.commit,
        "merged_by": request.by.as_deref().filter(|_| merged).map_or(Value::Null, user),
        "head": side(&request.head, if request.fork { 6 } else { 5 }), "base": side(&request.base, 5),
    })
}

pub fn answer(state: &mut State, call: &Call) -> Answer {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match &path[..] {
        ["user"] => return Answer::ok(user(&call.login)),
        ["version"] => return Answer::ok(json!({"version": "1.22.0"})),
        _ => {}
    }
    let ["repos", "acme", "config", rest @ ..] = &path[..] else {
        return Answer::error(404, "The target couldn't be found.");
    };
    if call.method != "GET" && call.right != Right::Write {
        return Answer::error(403, "user should have a permission to write to a repo");
    }
    let gone = || Answer::error(404, "The target couldn't be found.");
    let number = || rest.get(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    let known = state.requests.iter().any(|request| request.number == number());
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let permissions = json!({"admin": false, "push": call.right == Right::Write, "pull": true});
            let (id, name) = (5, "config");
            Answer::ok(json!({
                "id": id, "name": name, "full_name": PROJECT, "default_branch": "main", "permissions": permissions,
                "default_merge_style": "merge",
            }))
        }
        ("GET", ["labels"]) => Answer::ok(state.labels.iter().map(|name| label(state, name)).collect()),
        ("POST", ["labels"]) => {
            let (Some(name), Some(_)) = (call.text("name").map(str::to_owned), call.text("color")) else {
                return Answer::error(422, "[Color]: Required");
            };
            state.labels.push(name.clone());
            Answer::new(201, label(state, &name))
        }
        ("GET", ["pulls"]) => {
            let open = call.query.get("state").is_none_or(|state| state == "open");
            let listed = state.requests.iter().filter(|request| !open || request.state == Standing::Open);
            Answer::ok(listed.map(|request| pull(state, request)).collect())
        }
        ("POST", ["pulls"]) => open(state, call),
        (_, ["pulls" | "issues", _, ..]) if rest[1] != "comments" && !known => gone(),
        ("GET", ["pulls", _]) => {
            let request = state.request(number()).clone();
            Answer::ok(pull(state, &request))
        }
        ("PATCH", ["pulls", _]) => update(state, call, number()),
        ("POST", ["pulls", _, "merge"]) => {
            // Go reads keys in any case.
            let (how, login) = (call.text("Do").or_else(|| call.text("do")), call.login.clone());
            let squash = how == Some("squash");
            let head = state.request(number()).head.clone();
            if call.text("head_commit_id").is_some_and(|id| Some(id) != state.bare.tip(&head).as_deref()) {
                return Answer::error(409, "head out of date");
            }
            if call.body["merge_when_checks_succeed"] == true {
                if !state.auto_merge {
                    return Answer::error(405, "User not allowed to merge PR");
                }
                if !state.is_good(number()) {
                    if state.request(number()).auto.replace(login).is_some() {
                        return Answer::error(409, "The auto merge has already been scheduled");
                    }
                    return Answer::new(201, Value::Null);
                }
            } else if !state.is_good(number()) {
                return Answer::error(405, "Not all required status checks successful");
            }
            match state.merge(number(), &login, squash) {
                true => Answer::ok(Value::Null),
                false => Answer::error(405, "Please try again later"),
            }
        }
        ("DELETE", ["pulls", _, "merge"]) => match state.request(number()).auto.take() {
            Some(_) => Answer::new(204, Value::Null),
            None => gone(),
        },
        ("GET", ["pulls", _, "reviews"]) => {
            let shown = |r: &Review| {
                let word = if r.approves { "APPROVED" } else { "REQUEST_CHANGES" };
                let (user, body, at) = (user(&r.author), &r.body, time(r.at));
                json!({"id": r.id, "user": user, "state": word, "body": body, "submitted_at": at, "dismissed": false})
            };
            Answer::ok(state.request(number()).reviews.iter().map(shown).collect())
        }
        ("GET", ["issues", _, "comments"]) => {
            let comments = state.request(number()).comments.iter().filter(|comment| !comment.system);
            let shown = comments
                .map(|c| json!({"id": c.id, "user": user(&c.author), "body": c.body, "created_at": time(c.at)}));
            // The one list that Gitea does not cut into pages.
            Answer { whole: true, ..Answer::ok(shown.collect()) }
        }
        ("GET", ["issues", _, "timeline"]) => {
            let request = state.request(number());
            let event = |kind: &str, by: &str, body: &str, at| {
                (at, json!({"id": 1, "type": kind, "user": user(by), "body": body, "created_at": time(at)}))
            };
            let said = request.comments.iter().filter(|c| !c.system);
            let said = said.map(|c| event("comment", &c.author, &c.body, c.at));
            let past = request.past.iter().map(|past| {
                let kind = match past.what {
                    What::Closed => "close",
                    What::Deleted => "delete_branch",
                    What::Reopened => "reopen",
                };
                event(kind, &past.by, "", past.at)
            });
            let mut all: Vec<(u64, Value)> = said.chain(past).collect();
            all.sort_by_key(|(at, _)| *at);
            Answer::ok(all.into_iter().map(|(_, event)| event).collect())
        }
        ("POST", ["issues", _, "comments"]) => match call.text("body").map(str::to_owned) {
            Some(body) if !body.is_empty() => {
                let id = state.comment(number(), &call.login, &body);
                Answer::new(201, json!({"id": id, "body": body, "user": user(&call.login), "created_at": time(1)}))
            }
            _ => Answer::error(422, "[Body]: Required"),
        },
        ("PATCH", ["issues", "comments", id]) => {
            let id: u64 = id.parse().unwrap_or_default();
            let mut comments = state.requests.iter_mut().flat_map(|request| &mut request.comments);
            match comments.find(|comment| comment.id == id) {
                None => gone(),
                Some(comment) => {
                    comment.body = call.text("body").unwrap_or_default().to_owned();
                    Answer::ok(json!({"id": id, "body": comment.body}))
                }
            }
        }
        ("POST", ["issues", _, "labels"]) => {
            let ids: Vec<usize> = serde_json::from_value(call.body["labels"].clone()).unwrap_or_default();
            let names: Option<Vec<String>> = ids.iter().map(|id| state.labels.get(id - 1).cloned()).collect();
            let Some(names) = names else { return Answer::error(404, "label does not exist") };
            let labels = &mut state.request(number()).labels;
            for name in names {
                if !labels.contains(&name) {
                    labels.push(name);
                }
            }
            let names = labels.clone();
            Answer::ok(names.iter().map(|name| label(state, name)).collect())
        }
        ("GET", ["branches", parts @ ..]) => {
            let branch = parts.join("/");
            match state.bare.tip(&branch) {
                Some(tip) => Answer::ok(json!({"name": branch, "commit": {"id": tip}, "protected": false})),
                None => gone(),
            }
        }
        ("GET", ["statuses", commit]) => {
            let of = state.statuses.iter().rev().filter(|status| status.commit == *commit);
            let shown = of.map(|s| json!({"context": s.context, "status": s.state, "description": s.description}));
            Answer::ok(shown.collect())
        }
        ("POST", ["statuses", commit]) => status(state, call, commit),
        _ => gone(),
    }
}

fn open(state: &mut State, call: &Call) -> Answer {
    if let Some(strange) = call.strange(&["title", "head", "base", "body", "labels", "assignees", "milestone"]) {
        return Answer::error(422, &format!("[{strange}]: unknown"));
    }
    let (Some(title), Some(head), Some(base)) = (call.text("title"), call.text("head"), call.text("base")) else {
        return Answer::error(422, "[Base]: Required");
    };
    if state.bare.tip(base).is_none() || state.bare.tip(head).is_none() {
        return Answer::error(404, "The target couldn't be found.");
    }
    let same = |r: &&Request| r.state == Standing::Open && r.head == head && r.base == base && !r.fork;
    if let Some(other) = state.requests.iter().find(same) {
        let said = format!(
            "pull request already exists for these targets [id: {}, issue_id: {}, head_repo_id: 5, base_repo_id: 5, \
             head_branch: {head}, base_branch: {base}]",
            other.number, other.number,
        );
        return Answer::error(409, &said);
    }
    let body = call.text("body").unwrap_or_default();
    let number = state.open(&call.login, title, body, head, base);
    let request = state.request(number).clone();
    Answer::new(201, pull(state, &request))
}

fn update(state: &mut State, call: &Call, number: u64) -> Answer {
    if let Some(strange) = call.strange(&["title", "body", "state", "base", "labels", "assignees"]) {
        return Answer::error(422, &format!("[{strange}]: unknown"));
    }
    if let Some(base) = call.text("base")
        && state.bare.tip(base).is_none()
    {
        return Answer::error(404, "new base branch does not exist");
    }
    if call.text("state") == Some("closed") && state.request(number).state == Standing::Open {
        state.close(number, &call.login);
    }
    let request = state.request(number);
    let fields = [("title", &mut request.title), ("body", &mut request.body), ("base", &mut request.base)];
    for (field, to) in fields {
        if let Some(text) = call.text(field) {
            text.clone_into(to);
        }
    }
    let request = request.clone();
    Answer::new(201, pull(state, &request))
}

fn status(state: &mut State, call: &Call, commit: &str) -> Answer {
    let (word, context) = (call.text("state").unwrap_or_default(), call.text("context").unwrap_or("default"));
    if !["pending", "success", "error", "failure", "warning"].contains(&word) {
        return Answer::error(422, "invalid state");
    }
    if !state.bare.knows(commit) {
        return Answer::error(404, "object does not exist");
    }
    let description = call.text("description").unwrap_or_default().to_owned();
    let (commit, context, word) = (commit.to_owned(), context.to_owned(), word.to_owned());
    state.statuses.push(Status { commit, context, state: word, description });
    Answer::new(201, json!({"status": call.body["state"], "context": call.body["context"]}))
}
