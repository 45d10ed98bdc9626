//! What went wrong with a call, as one value: the five shapes of Airbyte's error bodies, and everything that is no answer
//! of Airbyte's at all.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::ports::Remedy;

/// Characters of what a server or a connector says that are shown.
const SHOWN: usize = 500;

/// Said of an HTML answer: it comes from a proxy or the front end, never from the API.
const WEB_PAGE: &str = "a web page came instead of an answer of the API: a proxy in between?";

/// What the web framework calls a path that it does not know.
const NO_SUCH_CALL: &str = "Not Found";

/// A call that did not bring what was asked for. What the server said is kept as it came, but for secrets of the client's:
/// it is escaped and cut only where it is shown, after secrets of a source's settings, which Airbyte may repeat, were masked
/// ([`Self::masked`]). Half of a secret would be told by nobody as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// `POST /v1/sources/list`.
    pub call: String,
    /// What is known of the request's fate.
    pub fate: Fate,
    /// Airbyte's own code for it, `cron-validation/invalid-expression` or a class name; of what is no answer ours: `dns`,
    /// `certificate`, `tls`, `refused`, `reset`, `unreachable`, `deadline`, `cut`. Empty if there is none.
    pub code: String,
    /// One sentence.
    pub sentence: String,
    /// The setting that is wrong, where Airbyte names one.
    pub field: Option<String>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// What is known of a request's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never left: no connection. Nothing can have happened.
    NotSent,
    /// It never left: the server has not answered for a while and is left alone.
    HeldBack,
    /// It was sent and no whole answer came. Whatever it asks for may have happened, or may happen later.
    Unknown,
    /// The credentials were refused, a new token included.
    Refused,
    /// Answered with this status.
    Answered(u16),
    /// Answered by something that is not Airbyte's API, or not in its form: a web page, a redirect, broken JSON.
    Garbled,
    /// Answered with more than is read at once.
    TooLarge,
}

impl ApiError {
    /// Whether trying the same read again may help.
    pub fn is_transient(&self) -> bool {
        match self.fate {
            Fate::NotSent | Fate::HeldBack | Fate::Unknown => true,
            Fate::Answered(status) => matches!(status, 408 | 423 | 429 | 500 | 502 | 503 | 504),
            Fate::Refused | Fate::Garbled | Fate::TooLarge => false,
        }
    }

    /// Whether a write may have had its effect all the same: then look before it is sent again.
    pub fn may_have_happened(&self) -> bool {
        match self.fate {
            Fate::Unknown | Fate::Garbled | Fate::TooLarge => true,
            Fate::Answered(status) => status == 408 || status >= 500,
            Fate::NotSent | Fate::HeldBack | Fate::Refused => false,
        }
    }

    /// Whether Airbyte says that the object does not exist. A proxy's 404 or a broken answer never says so, nor does the
    /// framework's, which means that this version lacks the call.
    pub fn is_absent(&self) -> bool {
        self.fate == Fate::Answered(404) && !self.code.is_empty() && self.code != NO_SUCH_CALL
    }

    /// Whether this version of Airbyte lacks the call; a proxy's page says nothing about that.
    pub fn is_lacking(&self) -> bool {
        self.fate == Fate::Answered(404) && self.sentence != WEB_PAGE
    }

    /// Whether the server as a whole seems to be in trouble, rather than this request.
    pub fn counts_against_the_server(&self) -> bool {
        // 500 may be about one object: an inactive connection, a source that cannot be discovered
        matches!(self.fate, Fate::NotSent | Fate::Unknown | Fate::Answered(429 | 502 | 503 | 504))
    }

    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        if self.is_transient() || self.fate == Fate::Answered(409) { Remedy::Retry } else { Remedy::Person }
    }

    /// The same with everything that the server said masked.
    pub(super) fn masked(&self, mask: impl Fn(&str) -> String) -> Self {
        Self {
            code: mask(&self.code),
            sentence: mask(&self.sentence),
            field: self.field.as_deref().map(mask),
            ..self.clone()
        }
    }

    /// Reads an answer that is not 2xx.
    pub(super) fn answered(call: &str, status: u16, content_type: &str, body: &[u8]) -> Self {
        let said = Said::read(content_type, body);
        let words = status_words(status);
        Self {
            call: call.to_owned(),
            fate: Fate::Answered(status),
            sentence: said.sentence.unwrap_or_else(|| words.to_owned()),
            code: said.code,
            field: said.field,
            retry_after: None,
        }
    }

    pub(super) fn coded(self, code: &str) -> Self {
        Self { code: code.to_owned(), ..self }
    }

    pub(super) fn new(call: &str, fate: Fate, sentence: impl Into<String>) -> Self {
        Self {
            call: call.to_owned(),
            fate,
            code: String::new(),
            sentence: sentence.into(),
            field: None,
            retry_after: None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        if let Fate::Answered(status) = self.fate {
            write!(f, "{status} ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{}: ", shown(field))?;
        }
        f.write_str(&shown(&self.sentence))?;
        if !self.code.is_empty() && !self.sentence.contains(&self.code) {
            write!(f, " ({})", shown(&self.code))?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

/// What an error body says. The order in which the shapes are tried is the contract's.
#[derive(Default)]
struct Said {
    code: String,
    sentence: Option<String>,
    field: Option<String>,
}

impl Said {
    fn read(content_type: &str, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(body)) => {
                let body = Value::Object(body);
                problem(&body)
                    .or_else(|| embedded(&body))
                    .or_else(|| known(&body))
                    .or_else(|| hidden(&body))
                    .unwrap_or_else(|| Self { sentence: Some(body.to_string()), ..Self::default() })
            }
            _ if content_type.contains("html") => Self { sentence: Some(WEB_PAGE.into()), ..Self::default() },
            _ => Self { sentence: said(&String::from_utf8_lossy(body)), ..Self::default() },
        }
    }
}

/// `{"type","title","status","detail","data":{"message"}}`: the public API, and what the Config API throws on purpose.
fn problem(body: &Value) -> Option<Said> {
    let (kind, title) = (body.get("type")?.as_str()?, body.get("title").and_then(Value::as_str)?);
    let data = body.get("data").unwrap_or(&Value::Null);
    let sentence = [&data["message"], &body["detail"]].into_iter().find_map(Value::as_str).unwrap_or(title);
    let of = match (data["resourceType"].as_str(), data["resourceId"].as_str()) {
        (Some(kind), Some(id)) => format!(" ({kind} {id})"),
        _ => String::new(),
    };
    // `error:cron-validation/invalid`, or a page of the documentation with the code as its anchor
    let code = kind.rsplit(['#', ':']).next().unwrap_or(kind);
    Some(Said {
        code: said(code).unwrap_or_default(),
        sentence: said(&format!("{sentence}{of}")),
        field: data["value"].as_str().and_then(said),
    })
}

/// `{"message","_embedded":{"errors":[{"message"}]}}`: the web framework.
fn embedded(body: &Value) -> Option<Said> {
    let message = body.get("_embedded")?.get("errors")?.get(0)?.get("message")?.as_str()?;
    let outer = body.get("message").and_then(Value::as_str).and_then(said).unwrap_or_default();
    Some(Said { code: outer, sentence: said(message), field: None })
}

/// `{"message","exceptionClassName","validationErrors":[{"propertyPath","message"}]}`: the Config API.
fn known(body: &Value) -> Option<Said> {
    let message = body.get("message")?.as_str()?;
    let class = body.get("exceptionClassName").and_then(Value::as_str).unwrap_or_default();
    let wrong = body.get("validationErrors").and_then(|errors| errors.get(0));
    let path = wrong.and_then(|wrong| wrong.get("propertyPath")).and_then(Value::as_str);
    let why = wrong.and_then(|wrong| wrong.get("message")).and_then(Value::as_str).unwrap_or(message);
    let class = class.rsplit(['.', '$']).next().unwrap_or(class);
    Some(Said { code: said(class).unwrap_or_default(), sentence: said(why), field: path.and_then(said) })
}

/// `{"errorId"}`: the Config API from 2.0 on says no more.
fn hidden(body: &Value) -> Option<Said> {
    let id = body.get("errorId")?.as_str().and_then(said)?;
    let sentence = format!("Airbyte keeps the reason in its server log under errorId {id}");
    Some(Said { code: "errorId".into(), sentence: Some(sentence), field: None })
}

/// Text from outside as it came. `None` if nothing is left.
pub(super) fn said(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Text from outside on one line, cut and escaped. Secrets are masked before.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.trim().chars().take(SHOWN).collect();
    crate::diag::escape(&cut).into_owned()
}

fn status_words(status: u16) -> &'static str {
    match status {
        400 => "the request was refused as wrong",
        401 => "the token was refused",
        403 => "these credentials lack the role for that",
        404 => "no such object, or this version of Airbyte lacks the call",
        408 => "the server ran into a limit of its own",
        409 => "in conflict with what is going on",
        413 => "the request is larger than the 10 MB that Airbyte takes",
        422 => "the request was refused as malformed",
        423 => "locked while a sync runs",
        429 => "too many requests",
        501 => "this edition of Airbyte cannot do that",
        502..=504 => "Airbyte does not answer behind its proxy",
        500.. => "Airbyte failed inside",
        _ => "an answer that is none of Airbyte's",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> String {
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        ApiError::answered("POST /v1/x", status, kind, body.as_bytes()).to_string()
    }

    #[test]
    fn every_shape_becomes_a_code_a_sentence_and_the_field() {
        let bodies = [
            (
                409,
                r#"{"type":"https://reference.airbyte.com/reference/errors#try-again-later","title":"try-again-later","status":409,"detail":"d","data":{"message":"A sync is already running."}}"#,
            ),
            (
                400,
                r#"{"type":"error:cron-validation/invalid-expression","title":"invalid","status":400,"detail":"Cron expression is invalid","data":{"value":"* * *"}}"#,
            ),
            (
                404,
                r#"{"type":"error:resource-not-found","title":"resource-not-found","data":{"resourceType":"source","resourceId":"1-2"}}"#,
            ),
            (401, r#"{"message":"Unauthorized","_links":{},"_embedded":{"errors":[{"message":"Unauthorized"}]}}"#),
            (
                409,
                r#"{"message":"A sync is already running for: 7","exceptionClassName":"io.airbyte.X$ValueConflictKnownException","exceptionStack":["a"]}"#,
            ),
            (
                422,
                r#"{"message":"bad","exceptionClassName":"E","validationErrors":[{"propertyPath":"connectionConfiguration.port","message":"must be integer"}]}"#,
            ),
            (500, r#"{"errorId":"0195-aa"}"#),
            (500, r#"{"type":"about:blank","status":500}"#),
            (503, "<html><body>nginx</body></html>"),
            (502, ""),
            (400, "plain \u{1b}[31mtext\nof two lines"),
        ];
        let all: Vec<String> = bodies.iter().map(|(status, body)| said(*status, body)).collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        POST /v1/x: 409 A sync is already running. (try-again-later)
        POST /v1/x: 400 * * *: Cron expression is invalid (cron-validation/invalid-expression)
        POST /v1/x: 404 resource-not-found (source 1-2)
        POST /v1/x: 401 Unauthorized
        POST /v1/x: 409 A sync is already running for: 7 (ValueConflictKnownException)
        POST /v1/x: 422 connectionConfiguration.port: must be integer (E)
        POST /v1/x: 500 Airbyte keeps the reason in its server log under errorId 0195-aa
        POST /v1/x: 500 {"status":500,"type":"about:blank"}
        POST /v1/x: 503 a web page came instead of an answer of the API: a proxy in between?
        POST /v1/x: 502 Airbyte does not answer behind its proxy
        POST /v1/x: 400 plain \u{1b}[31mtext\nof two lines
        "#);
    }

    #[test]
    fn of_a_body_of_several_shapes_the_first_of_the_contract_counts() {
        let mut body = serde_json::json!({
            "type": "problem", "title": "t", "data": {"message": "of a problem"},
            "_embedded": {"errors": [{"message": "embedded"}]}, "message": "outer", "errorId": "7",
        });
        let mut all = Vec::new();
        for shape in ["title", "_embedded", "message", "errorId"] {
            all.push(said(400, &body.to_string()));
            body.as_object_mut().unwrap().remove(shape);
        }
        insta::assert_snapshot!(all.join("\n"), @r"
        POST /v1/x: 400 of a problem
        POST /v1/x: 400 embedded (outer)
        POST /v1/x: 400 outer
        POST /v1/x: 400 Airbyte keeps the reason in its server log under errorId 7
        ");
    }

    #[test]
    fn of_a_body_without_a_shape_only_the_first_500_characters_are_told() {
        let told = ApiError::answered("x", 400, "text/plain", "ä".repeat(2000).as_bytes());
        assert_eq!(told.to_string(), format!("x: 400 {}", "ä".repeat(500)));
    }

    #[test]
    fn a_secret_is_masked_whole_before_the_text_is_cut_and_escaped() {
        let key = format!("-----BEGIN \"KEY\"-----\n{}\n-----END KEY-----", "Zm9v\n".repeat(200));
        let mask = |text: &str| crate::ports::mask(&[key.clone().into()], text);
        let told = |body: &Value| {
            let error = ApiError::answered("x", 422, "application/json", body.to_string().as_bytes());
            error.masked(mask).to_string()
        };
        let echoes = [
            serde_json::json!({"message": format!("refused: {key}!"), "exceptionClassName": "E"}),
            serde_json::json!({"message": format!("refused: {}", serde_json::json!({"key": key}))}),
            serde_json::json!({"message": format!("{}{key}", "a".repeat(480)), "exceptionClassName": key}),
            serde_json::json!({"type": key, "title": "t", "detail": "d", "data": {"value": key}}),
            serde_json::json!({"of no shape": key}),
        ];
        let all: Vec<String> = echoes.iter().map(told).collect();
        insta::assert_snapshot!(all.join("\n").replace(&"a".repeat(480), "a…"), @r#"
        x: 422 refused: ***! (E)
        x: 422 refused: {"key":"***"}
        x: 422 a…***
        x: 422 ***: d (***)
        x: 422 {"of no shape":"***"}
        "#);
    }

    #[test]
    fn only_airbytes_own_404_says_absent() {
        let own = ApiError::answered(
            "x",
            404,
            "application/json",
            br#"{"message":"no","exceptionClassName":"a.IdNotFound"}"#,
        );
        let proxy = ApiError::answered("x", 404, "text/html", b"<html>");
        let gateway =
            ApiError::answered("x", 404, "application/json", br#"{"message":"no Route matched with those values"}"#);
        assert!(!gateway.is_absent());
        let empty = ApiError::answered("x", 404, "", b"");
        let lacking = br#"{"message":"Not Found","_embedded":{"errors":[{"message":"Page Not Found"}]}}"#;
        let lacking = ApiError::answered("x", 404, "application/json", lacking);
        assert_eq!([own, proxy, empty, lacking].map(|e| e.is_absent()), [true, false, false, false]);
    }

    #[test]
    fn a_write_that_may_have_happened_is_looked_for_first() {
        let status = |s| ApiError::answered("x", s, "", b"").may_have_happened();
        assert_eq!([400, 401, 409, 422, 429].map(status), [false; 5]);
        assert_eq!([408, 500, 502, 504].map(status), [true; 4]);
        assert!(ApiError::new("x", Fate::Unknown, "").may_have_happened());
        assert!(!ApiError::new("x", Fate::NotSent, "").may_have_happened());
    }
}
