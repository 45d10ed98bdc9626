//! GitHub's language.

use serde_json::{Value, json};

use super::server::{Answer, Call};
use super::{PROJECT, Request, Review, Right, Standing, State, Status, TOKEN, What, time};

fn invalid(field: &str, code: &str) -> Answer {
    let error = json!({"resource": "PullRequest", "field": field, "code": code});
    Answer::new(422, json!({"message": "Validation Failed", "errors": [error], "status": "422"}))
}

fn refused(message: &str) -> Answer {
    let error = json!({"resource": "PullRequest", "code": "custom", "message": message});
    Answer::new(422, json!({"message": "Validation Failed", "errors": [error], "status": "422"}))
}

fn user(login: &str) -> Value {
    json!({"login": login, "id": 1, "type": "User"})
}

fn pull(state: &State, request: &Request, whole: bool) -> Value {
    let url = format!("{}/{PROJECT}/pull/{}", state.url, request.number);
    let repo = json!({"full_name": PROJECT, "name": "config"});
    let fork = json!({"full_name": "mallory/config", "name": "config"});
    let merged = request.state == Standing::Merged;
    let closed = request.state != Standing::Open;
    let labels: Vec<Value> = request.labels.iter().map(|name| json!({"id": 1, "name": name})).collect();
    let side = |branch: &str, repo: Value| json!({"ref": branch, "sha": state.bare.tip(branch), "repo": repo});
    let mut shown = json!({
        "number": request.number, "html_url": url, "title": request.title, "body": request.body, "labels": labels,
        "state": if closed { "closed" } else { "open" }, "draft": request.draft, "user": user(&request.author),
        "merged_at": merged.then(|| time(1)), "merge_commit_sha": request.commit,
        "node_id": format!("PR_{}", request.number),
        "auto_merge": request.auto.as_deref().map(|by| json!({"enabled_by": user(by), "merge_method": "merge"})),
        "head": side(&request.head, if request.fork { fork } else { repo.clone() }), "base": side(&request.base, repo),
    });
    if whole {
        shown["merged"] = json!(merged);
        shown["merged_by"] = request.by.as_deref().filter(|_| merged).map_or(Value::Null, user);
    }
    shown
}

/// The calls of an app. The proof is looked at only for its form: three parts of base64.
pub fn app(path: &str, proof: &str) -> Answer {
    if proof.split('.').filter(|part| !part.is_empty()).count() != 3 {
        return Answer::error(401, "A JSON web token could not be decoded");
    }
    match path {
        "/app" => Answer::ok(json!({"id": 7, "slug": "aam", "name": "aam"})),
        "/app/installations/9/access_tokens" => {
            Answer::new(201, json!({"token": TOKEN, "expires_at": "2099-01-01T00:00:00Z"}))
        }
        _ => Answer::error(404, "Not Found"),
    }
}

pub fn answer(state: &mut State, call: &Call) -> Answer {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    if path == ["user"] {
        return Answer::ok(user(&call.login));
    }
    if path == ["graphql"] {
        return graphql(state, call);
    }
    let ["repos", "acme", "config", rest @ ..] = &path[..] else { return Answer::error(404, "Not Found") };
    if call.method != "GET" && call.right != Right::Write {
        return Answer::error(403, "Resource not accessible by personal access token");
    }
    let number = || rest.get(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    let known = state.requests.iter().any(|request| request.number == number());
    match (call.method.as_str(), rest) {
        ("GET", []) => Answer::ok(json!({
            "full_name": PROJECT, "default_branch": "main", "allow_auto_merge": state.auto_merge, "allow_merge_commit": true,
            "permissions": {"admin": false, "push": call.right == Right::Write, "pull": true},
        })),
        ("GET", ["pulls"]) => {
            let head = call.query.get("head").map(|head| head.split_once(':').map_or("", |(_, branch)| branch));
            let open = call.query.get("state").is_none_or(|state| state == "open");
            let listed = state.requests.iter().filter(|request| {
                (!open || request.state == Standing::Open) && head.is_none_or(|head| request.head == head)
            });
            Answer::ok(listed.map(|request| pull(state, request, false)).collect())
        }
        ("POST", ["pulls"]) => open(state, call),
        (_, ["pulls" | "issues", _, ..]) if rest[1] != "comments" && !known => Answer::error(404, "Not Found"),
        ("GET", ["pulls", _]) => {
            let request = state.request(number()).clone();
            Answer::ok(pull(state, &request, true))
        }
        ("PATCH", ["pulls", _]) => update(state, call, number()),
        ("PUT", ["pulls", _, "merge"]) => {
            if let Some(strange) = call.strange(&["sha", "merge_method", "commit_title", "commit_message"]) {
                return invalid(&strange, "unknown");
            }
            let head = state.request(number()).head.clone();
            if call.text("sha") != state.bare.tip(&head).as_deref() {
                return Answer::error(409, "Head branch was modified. Review and try the merge again.");
            }
            let login = call.login.clone();
            match state.is_good(number()) && state.merge(number(), &login, false) {
                true => Answer::ok(json!({"merged": true, "sha": state.request(number()).commit})),
                false => Answer::error(405, "Pull Request is not mergeable"),
            }
        }
        ("GET", ["pulls", _, "reviews"]) => {
            let shown = |r: &Review| {
                let word = if r.approves { "APPROVED" } else { "CHANGES_REQUESTED" };
                json!({"id": r.id, "user": user(&r.author), "state": word, "body": r.body, "submitted_at": time(r.at)})
            };
            Answer::ok(state.request(number()).reviews.iter().map(shown).collect())
        }
        ("GET", ["issues", _]) => {
            let request = state.request(number());
            let by = request.by.as_deref().map_or(Value::Null, user);
            Answer::ok(json!({"number": request.number, "title": request.title, "closed_by": by}))
        }
        ("GET", ["issues", _, "events"]) => {
            let request = state.request(number());
            let event =
                |word: &str, by: &str, at| json!({"id": 1, "event": word, "actor": user(by), "created_at": time(at)});
            let past = request.past.iter().map(|past| {
                let word = match past.what {
                    What::Closed => "closed",
                    What::Deleted => "head_ref_deleted",
                    What::Reopened => "reopened",
                };
                event(word, &past.by, past.at)
            });
            Answer::ok(std::iter::once(event("labeled", "aam-bot", 1)).chain(past).collect())
        }
        ("GET", ["issues", _, "comments"]) => {
            let comments = state.request(number()).comments.iter().filter(|comment| !comment.system);
            let shown = comments
                .map(|c| json!({"id": c.id, "user": user(&c.author), "body": c.body, "created_at": time(c.at)}));
            Answer::ok(shown.collect())
        }
        ("POST", ["issues", _, "comments"]) => match call.text("body").map(str::to_owned) {
            Some(body) if body.len() <= 65_536 => {
                let id = state.comment(number(), &call.login, &body);
                Answer::new(201, json!({"id": id, "body": body, "user": user(&call.login), "created_at": time(1)}))
            }
            _ => invalid("body", "invalid"),
        },
        ("PATCH", ["issues", "comments", id]) => {
            let id: u64 = id.parse().unwrap_or_default();
            let mut comments = state.requests.iter_mut().flat_map(|request| &mut request.comments);
            match comments.find(|comment| comment.id == id) {
                None => Answer::error(404, "Not Found"),
                Some(comment) => {
                    comment.body = call.text("body").unwrap_or_default().to_owned();
                    Answer::ok(json!({"id": id, "body": comment.body}))
                }
            }
        }
        ("POST", ["issues", _, "labels"]) => {
            let names: Vec<String> = serde_json::from_value(call.body["labels"].clone()).unwrap_or_default();
            let labels = &mut state.request(number()).labels;
            for name in names {
                if !labels.contains(&name) {
                    labels.push(name);
                }
            }
            Answer::ok(labels.iter().map(|name| json!({"id": 1, "name": name})).collect())
        }
        ("GET", ["branches", parts @ ..]) => {
            let branch = parts.join("/");
            match state.bare.tip(&branch) {
                Some(tip) => Answer::ok(json!({"name": branch, "commit": {"sha": tip}, "protected": false})),
                None => Answer::error(404, "Branch not found"),
            }
        }
        ("GET", ["commits", commit, "statuses"]) => {
            let of = state.statuses.iter().rev().filter(|status| status.commit == *commit);
            let shown = of.map(|s| json!({"context": s.context, "state": s.state, "description": s.description}));
            Answer::ok(shown.collect())
        }
        ("POST", ["statuses", commit]) => status(state, call, commit),
        _ => Answer::error(404, "Not Found"),
    }
}

/// Mutations of auto-merge. What is refused is answered with 200.
fn graphql(state: &mut State, call: &Call) -> Answer {
    let failed = |kind: &str, message: &str| {
        Answer::ok(json!({"data": null, "errors": [{"type": kind, "message": message, "path": ["mutation"]}]}))
    };
    let (query, variables) = (call.text("query").unwrap_or_default(), call.body["variables"].clone());
    let number = variables["id"].as_str().and_then(|id| id.strip_prefix("PR_")?.parse::<u64>().ok());
    let Some(number) = number.filter(|number| state.requests.iter().any(|request| request.number == *number)) else {
        return failed("NOT_FOUND", "Could not resolve to a node with the global id of ''.");
    };
    if call.right != Right::Write {
        return failed("FORBIDDEN", "Resource not accessible by personal access token");
    }
    let done = Answer::ok(json!({"data": {"mutation": {"clientMutationId": null}}}));
    if query.contains("disablePullRequestAutoMerge(input: {pullRequestId: $id})") {
        state.request(number).auto = None;
        return done;
    }
    let input = "enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $tip, mergeMethod: $way})";
    if !query.contains(input) || !["MERGE", "SQUASH", "REBASE"].contains(&variables["way"].as_str().unwrap_or_default())
    {
        return failed("argumentNotAccepted", "the mutation is in no form that is known");
    }
    let head = state.request(number).head.clone();
    if variables["tip"].as_str() != state.bare.tip(&head).as_deref() {
        return failed("UNPROCESSABLE", "Head sha didn't match expected head sha");
    }
    if !state.auto_merge {
        return failed("UNPROCESSABLE", "Pull request Auto merge is not allowed for this repository");
    }
    if state.request(number).draft {
        return failed("UNPROCESSABLE", "Pull request Pull request is in draft state");
    }
    if state.is_good(number) {
        return failed("UNPROCESSABLE", "Pull request Pull request is in clean status");
    }
    state.request(number).auto = Some(call.login.clone());
    done
}

fn open(state: &mut State, call: &Call) -> Answer {
    if let Some(strange) = call.strange(&["title", "head", "base", "body", "draft", "maintainer_can_modify"]) {
        return invalid(&strange, "unknown");
    }
    let (Some(title), Some(head), Some(base)) = (call.text("title"), call.text("head"), call.text("base")) else {
        return invalid("base", "missing_field");
    };
    let body = call.text("body").unwrap_or_default();
    if body.chars().count() > 65_536 {
        return refused("body is too long (maximum is 65536 characters)");
    }
    for (field, branch) in [("head", head), ("base", base)] {
        if state.bare.tip(branch).is_none() {
            return invalid(field, "invalid");
        }
    }
    if !state.bare.differs(base, head) {
        return refused(&format!("No commits between {base} and {head}"));
    }
    let same = |r: &Request| r.state == Standing::Open && r.head == head && r.base == base && !r.fork;
    if state.requests.iter().any(same) {
        return refused(&format!("A pull request already exists for acme:{head}."));
    }
    let number = state.open(&call.login, title, body, head, base);
    state.request(number).draft = call.body["draft"].as_bool().unwrap_or_default();
    let request = state.request(number).clone();
    Answer::new(201, pull(state, &request, true))
}

fn update(state: &mut State, call: &Call, number: u64) -> Answer {
    if let Some(strange) = call.strange(&["title", "body", "state", "base", "maintainer_can_modify"]) {
        return invalid(&strange, "unknown");
    }
    if let Some(base) = call.text("base")
        && state.bare.tip(base).is_none()
    {
        return invalid("base", "invalid");
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
    Answer::ok(pull(state, &request, true))
}

fn status(state: &mut State, call: &Call, commit: &str) -> Answer {
    let (word, context) = (call.text("state").unwrap_or_default(), call.text("context").unwrap_or("default"));
    let description = call.text("description").unwrap_or_default();
    if !["error", "failure", "pending", "success"].contains(&word) {
        return invalid("state", "invalid");
    }
    if description.chars().count() > 140 {
        return refused("description is too long (maximum is 140 characters)");
    }
    if !state.bare.knows(commit) {
        return refused(&format!("No commit found for SHA: {commit}"));
    }
    let (commit, context, word) = (commit.to_owned(), context.to_owned(), word.to_owned());
    state.statuses.push(Status { commit, context, state: word, description: description.to_owned() });
    Answer::new(201, json!({"state": call.body["state"], "context": call.body["context"]}))
}
