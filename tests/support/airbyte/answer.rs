//! Calls and answers as values, and the shapes of errors: five of them, chosen by API and version.

use serde_json::{Value, json};
use uuid::Uuid;

use super::version::Version;

/// A request, its body decoded.
#[derive(Debug, Clone)]
pub struct Call {
    /// `POST`
    pub method: String,
    /// Below `/api`: `/v1/sources/list`, `/public/v1/jobs/7`.
    pub path: String,
    /// In the order of the URL.
    pub query: Vec<(String, String)>,
    /// `null` without one.
    pub body: Value,
    /// Objects younger than this are not in lists yet.
    pub lag: std::time::Duration,
}

impl Call {
    /// `POST /v1/sources/list`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it belongs to the public API.
    pub fn is_public(&self) -> bool {
        self.path.starts_with("/public")
    }

    /// The value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What is asked, without the id of the ask itself.
    pub fn question(&self) -> String {
        let mut body = self.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.remove("id");
        }
        format!("{} {:?} {body}", self.name(), self.query)
    }

    /// Asks for the first page, whichever it asked for.
    pub fn forget_the_page(&mut self) {
        self.query.retain(|(key, _)| key != "offset");
        if let Some(body) = self.body.as_object_mut() {
            body.remove("cursor");
        }
        if let Some(offset) = self.body.pointer_mut("/pagination/rowOffset") {
            *offset = json!(0);
        }
    }

    /// A required field.
    pub fn field(&self, name: &str) -> Result<&Value, Trouble> {
        self.body.get(name).filter(|v| !v.is_null()).ok_or_else(|| Trouble::Missing(name.to_owned()))
    }

    /// A required id.
    pub fn id(&self, name: &str) -> Result<Uuid, Trouble> {
        uuid(self.field(name)?)
    }

    /// A required text.
    pub fn text(&self, name: &str) -> Result<&str, Trouble> {
        let value = self.field(name)?;
        value.as_str().ok_or_else(|| Trouble::Undecodable(format!("{name} is no text")))
    }

    /// An id that may be absent.
    pub fn maybe_id(&self, name: &str) -> Result<Option<Uuid>, Trouble> {
        self.body.get(name).filter(|v| !v.is_null()).map(uuid).transpose()
    }
}

/// An id of a body.
pub fn uuid(value: &Value) -> Result<Uuid, Trouble> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Trouble::Undecodable("an id is no UUID".into()))
}

/// What goes back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Payload,
    /// Headers beside the content type.
    pub headers: Vec<(String, String)>,
}

/// The body of an answer, which decides the content type.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// `application/json`
    Json(Value),
    /// `application/json` that may not be JSON at all.
    Text(String),
    /// `text/html`
    Html(String),
    /// `text/plain`
    Plain(&'static str),
    /// Nothing.
    None,
}

impl Answer {
    /// Any status with JSON.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body: Payload::Json(body), headers: Vec::new() }
    }

    /// 200.
    pub fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    /// 204.
    pub fn empty() -> Self {
        Self { status: 204, body: Payload::None, headers: Vec::new() }
    }

    /// A web page: the front end's, or a proxy's.
    pub fn page(status: u16) -> Self {
        let body = format!("<!doctype html><html><body>{status}</body></html>");
        Self { status, body: Payload::Html(body), headers: Vec::new() }
    }

    /// Its JSON, if it has one.
    pub fn json(&self) -> Option<&Value> {
        match &self.body {
            Payload::Json(body) => Some(body),
            _ => None,
        }
    }
}

/// Why a call is refused. How that is said depends on API and version.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// No such object.
    Absent(&'static str, String),
    /// This version lacks the call.
    NoSuchCall,
    /// A required field is absent: 400, although the documents say 422.
    Missing(String),
    /// A value that cannot be decoded: 422.
    Undecodable(String),
    /// Settings that the connector's specification refuses: 422, with the path of the wrong one.
    Settings(String, String),
    /// Thrown on purpose, in the problem shape of both APIs: status, code, message.
    Problem(u16, &'static str, String),
    /// A conflict that the Config API knows by class.
    Conflict(String),
    /// The role is lacking, or on some calls an unknown id.
    Forbidden,
    /// Anything uncaught.
    Inside(String),
}

/// The shapes of error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"type","title","status","detail","data":{"message"}}`
    Problem,
    /// `{"message","exceptionClassName",…}`
    Known,
    /// `{"errorId"}`
    Hidden,
    /// `{"message","_links","_embedded":{"errors":[{"message"}]}}`
    Framework,
    /// `{"type":"about:blank","status"}`
    OldPublic,
    /// A proxy's web page.
    Page,
    /// No body.
    Empty,
}

impl Shape {
    /// An answer of this shape.
    pub fn answer(self, status: u16, code: &str, message: &str) -> Answer {
        let body = match self {
            Self::Problem => json!({
                "type": if code.contains('/') { format!("error:{code}") }
                    else { format!("https://reference.airbyte.com/reference/errors#{code}") },
                "title": code, "status": status, "detail": message, "documentationUrl": null,
                "data": {"message": message},
            }),
            Self::Known => json!({
                "message": message, "exceptionClassName": format!("io.airbyte.commons.server.errors.{code}"),
                "exceptionStack": [], "rootCauseExceptionStack": [],
            }),
            Self::Hidden => json!({"errorId": Uuid::new_v5(&Uuid::NAMESPACE_OID, message.as_bytes())}),
            Self::Framework => json!({
                "message": code, "_links": {"self": {"href": "/api", "templated": false}},
                "_embedded": {"errors": [{"message": message, "_links": {}, "_embedded": {}}]},
            }),
            Self::OldPublic => json!({"type": "about:blank", "status": status}),
            Self::Page => return Answer::page(status),
            Self::Empty => return Answer { status, body: Payload::None, headers: Vec::new() },
        };
        Answer::new(status, body)
    }

    /// Whether a body has one of the shapes that Airbyte itself gives.
    pub fn is_one(body: &Value) -> bool {
        let text = |key: &str| body.get(key).is_some_and(Value::is_string);
        text("message") || text("errorId") || (text("type") && (text("title") || body["type"] == "about:blank"))
    }
}

impl Trouble {
    /// The refusal as this API of this version says it.
    pub fn answer(&self, public: bool, version: Version) -> Answer {
        let shape = match (public, version) {
            (true, v) if v.has_the_old_public_server() => Shape::OldPublic,
            (true, _) => Shape::Problem,
            (false, v) if v.hides_errors() => Shape::Hidden,
            (false, _) => Shape::Known,
        };
        let class = |word: &'static str, class: &'static str| if public { word } else { class };
        match self {
            Self::Absent(kind, id) if shape == Shape::Problem => {
                let mut answer = shape.answer(404, "resource-not-found", &format!("no {kind} {id}"));
                if let Payload::Json(body) = &mut answer.body {
                    body["data"] = json!({"resourceType": kind, "resourceId": id});
                }
                answer
            }
            Self::Absent(kind, id) => {
                shape.answer(404, "IdNotFoundKnownException", &format!("Could not find {kind} {id}"))
            }
            Self::NoSuchCall => Shape::Framework.answer(404, "Not Found", "Page Not Found"),
            Self::Missing(field) => shape.answer(
                400,
                class("bad-request", "BadRequestException"),
                &format!("Required property '{field}' is missing"),
            ),
            Self::Undecodable(why) => shape.answer(422, class("unprocessable-entity", "UnprocessableEntity"), why),
            Self::Settings(path, why) => {
                let mut answer = shape.answer(
                    422,
                    class("unprocessable-entity", "InvalidJsonException"),
                    &format!("The provided configuration does not fulfill the specification. Errors: {path}: {why}"),
                );
                if let (Shape::Known, Payload::Json(body)) = (shape, &mut answer.body) {
                    body["validationErrors"] =
                        json!([{"propertyPath": format!("connectionConfiguration.{path}"), "message": why}]);
                }
                answer
            }
            Self::Problem(status, code, message) => Shape::Problem.answer(*status, code, message),
            Self::Conflict(message) if public => Shape::Problem.answer(409, "try-again-later", message),
            // a known error: its text stays even in 2.0
            Self::Conflict(message) => Shape::Known.answer(409, "ValueConflictKnownException", message),
            Self::Forbidden => Shape::Framework.answer(403, "Forbidden", "Forbidden"),
            Self::Inside(why) => shape.answer(500, class("unexpected-problem", "UncaughtException"), why),
        }
    }
}
