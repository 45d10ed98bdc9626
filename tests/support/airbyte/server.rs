//! The HTTP side: every request is logged, judged, let through the gate, bent by the script, applied and answered.
//!
//! A call that got as far as being applied is applied to its end, whatever becomes of the client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{HeaderMap, Response};
use serde_json::Value;

use super::answer::{Answer, Call, Payload, Trouble};
use super::contract::Contract;
use super::faults::{self, Fault, Rule};
use super::log::Entry;
use super::state::State;
use super::wire::{self, Door, Scissors};
use super::{config_api, public_api, tokens};

/// The largest request; the proxy and the server have the same limit.
const REQUEST_MAX: usize = 10 << 20;

/// What the tasks of one stand-in share.
pub struct Shared {
    state: Mutex<State>,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Entry>>,
    violations: Mutex<Vec<String>>,
    /// Calls that are applied when the test says so.
    withheld: Mutex<Vec<Call>>,
    /// What each question got first.
    firsts: Mutex<HashMap<String, Answer>>,
    contract: Option<&'static Contract>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Around this state, judged by these documents.
    pub fn new(state: State, contract: Option<&'static Contract>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            rules: Mutex::default(),
            log: Mutex::default(),
            violations: Mutex::default(),
            withheld: Mutex::default(),
            firsts: Mutex::default(),
            contract,
        })
    }

    /// The truth. Never held across an `await`.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The script.
    pub fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        lock(&self.rules)
    }

    /// The calls so far.
    pub fn log(&self) -> MutexGuard<'_, Vec<Entry>> {
        lock(&self.log)
    }

    /// What broke the contract so far.
    pub fn violations(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.violations)
    }

    /// Applies what was withheld.
    pub async fn apply_withheld(self: &Arc<Self>) {
        let calls = std::mem::take(&mut *lock(&self.withheld));
        for call in calls {
            self.apply(&call).await;
        }
    }

    fn note(&self, entry: Entry) -> usize {
        let mut log = self.log();
        log.push(entry);
        log.len() - 1
    }

    /// Does what the call asks for.
    async fn apply(self: &Arc<Self>, call: &Call) -> Answer {
        let outcome = match call.path.as_str() {
            "/v1/applications/token" | "/public/v1/applications/token" => Ok(tokens::grant(&mut self.state(), call)),
            _ if call.is_public() => public_api::answer(self, call).await,
            _ => config_api::answer(self, call).await,
        };
        outcome.unwrap_or_else(|trouble| trouble.answer(call.is_public(), self.state().version))
    }
}

/// Serves until the task is aborted.
pub async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let app = Router::new().fallback(handle).with_state(shared);
    let app = app.into_make_service_with_connect_info::<Scissors>();
    axum::serve(Door(listener), app).await.expect("a listener that accepts");
}

async fn handle(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_MAX).await else { return whole(&Answer::page(413)) };
    let Some(path) = head.uri.path().strip_prefix("/api").filter(|path| path.starts_with('/')) else {
        // the front end answers everything else
        return whole(&Answer::page(200));
    };
    let decoded = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
    let undecodable = decoded.is_err();
    let call = Call {
        method: head.method.to_string(),
        path: path.to_owned(),
        query: pairs(&query),
        body: decoded.unwrap_or_default(),
        lag: Duration::ZERO,
    };
    let entry =
        Entry { method: call.method.clone(), path: call.path.clone(), query, body: call.body.clone(), status: None };
    let writes = entry.is_write();
    let number = shared.note(entry);
    let fault = faults::due(&mut shared.rules(), &call.name());
    let exchange = Exchange { shared, number, scissors };
    match exchange.refusal(&call, &head.headers, writes, undecodable) {
        Some(answer) => exchange.send(&answer),
        None => {
            if let Some(contract) = exchange.shared.contract {
                exchange.shared.violations().extend(contract.check_request(&call));
            }
            exchange.go(call, fault).await
        }
    }
}

/// One call on its way.
struct Exchange {
    shared: Arc<Shared>,
    number: usize,
    scissors: Scissors,
}

impl Exchange {
    /// What refuses the call before it is looked at.
    fn refusal(&self, call: &Call, headers: &HeaderMap, writes: bool, undecodable: bool) -> Option<Answer> {
        let state = self.shared.state();
        if let Some(answer) = tokens::gate(&state, call, headers, writes) {
            return Some(answer);
        }
        undecodable.then(|| Trouble::Undecodable("Malformed JSON".into()).answer(call.is_public(), state.version))
    }

    /// Applies it, bent by the fault.
    async fn go(self, mut call: Call, fault: Option<Fault>) -> Response<Body> {
        match &fault {
            None => {}
            Some(Fault::Latency(time)) => tokio::time::sleep(*time).await,
            Some(Fault::Lag(time)) => call.lag = *time,
            Some(Fault::FirstPage) => call.forget_the_page(),
            Some(Fault::Twice | Fault::TwiceCut) => drop(self.applied(call.clone()).await),
            Some(Fault::Refuse(status, shape)) => return self.send(&faults::refusal(*status, *shape)),
            Some(Fault::RetryAfter(status, after)) => {
                let mut answer = faults::refusal(*status, super::answer::Shape::Framework);
                answer.headers.push(("retry-after".into(), after.clone()));
                return self.send(&answer);
            }
            Some(Fault::Echo(status)) => {
                let said = format!("refused: {}", call.body);
                return self.send(&super::answer::Shape::Known.answer(*status, "BadRequestException", &said));
            }
            Some(Fault::RefuseToken) => return self.send(&tokens::unauthorized()),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Withhold) => {
                lock(&self.shared.withheld).push(call);
                return std::future::pending().await;
            }
            Some(Fault::CutBefore) => return self.cut(),
            Some(Fault::ApplyLate(time)) => {
                let _late = Late { shared: self.shared.clone(), call, after: *time };
                return std::future::pending().await;
            }
            Some(_) => {}
        }
        let question = call.question();
        let mut answer = self.applied(call).await;
        {
            let mut firsts = lock(&self.shared.firsts);
            let first = firsts.entry(question).or_insert_with(|| answer.clone());
            if matches!(fault, Some(Fault::Stale)) {
                answer.clone_from(first);
            }
        }
        match fault {
            Some(Fault::Deny(status, shape)) => self.send(&faults::refusal(status, shape)),
            Some(Fault::Exists(status)) => self.send(&faults::exists(status)),
            Some(Fault::CutAfter | Fault::TwiceCut) => self.cut(),
            Some(Fault::Newer(but)) => self.send(&faults::newer(answer, but)),
            Some(Fault::NewWords) => self.send(&faults::new_words(answer)),
            Some(Fault::Renamed) => self.send(&faults::renamed(answer)),
            Some(Fault::NoStreams) => self.send(&faults::without_streams(answer)),
            Some(Fault::Other) => self.send(&faults::of_another(answer)),
            Some(Fault::Drip(pause)) => {
                let (kind, body) = text(&answer.body);
                let response = Response::builder().status(answer.status).header("content-type", kind);
                response.body(wire::drip(body.into_bytes(), pause)).expect("a valid answer")
            }
            Some(Fault::NumbersAsText) => self.send(&faults::numbers_as_text(answer)),
            Some(Fault::Gzip) => {
                // nobody who asks for none looks further than the header
                let body = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], text(&answer.body).1.as_bytes()].concat();
                let response = Response::builder().status(answer.status).header("content-encoding", "gzip");
                response.header("content-type", "application/json").body(Body::from(body)).expect("a valid answer")
            }
            Some(Fault::CutInChunk(bytes)) => {
                let (kind, body) = text(&answer.body);
                let response = Response::builder().status(answer.status).header("content-type", kind);
                response.body(wire::partial(body.as_bytes(), bytes, true)).expect("a valid answer")
            }
            Some(Fault::HangInBody(bytes)) => self.partly(&answer, bytes, false),
            Some(Fault::CutInBody(bytes)) => self.partly(&answer, bytes, true),
            Some(Fault::Body(text)) => self.send(&Answer { body: Payload::Text(text), ..answer }),
            Some(fault @ (Fault::RepeatItem | Fault::MissingItem(_))) => self.send(&faults::with_items(answer, &fault)),
            _ => self.send(&answer),
        }
    }

    /// Applies the call on a task of its own, and judges the answer.
    async fn applied(&self, call: Call) -> Answer {
        let shared = self.shared.clone();
        let apply = async move {
            let answer = shared.apply(&call).await;
            if let Some(contract) = shared.contract {
                shared.violations().extend(contract.check_answer(&call, &answer));
            }
            answer
        };
        let version = self.shared.state().version;
        let done = tokio::spawn(apply).await;
        done.unwrap_or_else(|broken| {
            let why = format!("the stand-in itself failed: {broken}");
            self.shared.violations().push(why.clone());
            Trouble::Inside(why).answer(false, version)
        })
    }

    fn send(&self, answer: &Answer) -> Response<Body> {
        self.shared.log()[self.number].status = Some(answer.status);
        whole(answer)
    }

    fn partly(&self, answer: &Answer, bytes: usize, breaks: bool) -> Response<Body> {
        self.shared.log()[self.number].status = Some(answer.status);
        let (kind, body) = text(&answer.body);
        let length = body.len().max(bytes + 1);
        let response = Response::builder().status(answer.status).header("content-type", kind);
        let response = response.header("content-length", length);
        response.body(wire::partial(body.as_bytes(), bytes, breaks)).expect("a valid answer")
    }

    fn cut(&self) -> Response<Body> {
        self.scissors.cut();
        whole(&Answer::empty())
    }
}

/// Applies a call some time after it is dropped, which happens when the client gives up.
struct Late {
    shared: Arc<Shared>,
    call: Call,
    after: Duration,
}

impl Drop for Late {
    fn drop(&mut self) {
        let (shared, after, call) = (self.shared.clone(), self.after, self.call.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            shared.apply(&call).await
        });
    }
}

fn text(body: &Payload) -> (&'static str, String) {
    match body {
        Payload::Json(body) => ("application/json", body.to_string()),
        Payload::Text(body) => ("application/json", body.clone()),
        Payload::Html(body) => ("text/html", body.clone()),
        Payload::Plain(body) => ("text/plain", (*body).to_owned()),
        Payload::None => ("application/json", String::new()),
    }
}

fn whole(answer: &Answer) -> Response<Body> {
    let (kind, body) = text(&answer.body);
    let mut response = Response::builder().status(answer.status).header("content-type", kind);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).expect("a valid answer")
}

/// The query, decoded. A name that comes several times stays so.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let mut hex = || char::from(rest.next().unwrap_or(b'0')).to_digit(16).unwrap_or(0) as u8;
            bytes.push(match byte {
                b'%' => hex() * 16 + hex(),
                b'+' => b' ',
                byte => byte,
            });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decode(key), decode(value))).collect()
}
