//! A small API of tickets for connectors to read: pages, a cursor, a token; it hangs or refuses from a day on if told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::{Json, Router};
use serde_json::{Value, json};

/// The running API; it ends when it is dropped.
pub struct Tickets {
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
    /// Where it answers.
    pub url: String,
}

#[derive(Default)]
struct Shared {
    /// In the order of `updated_at`.
    tickets: Vec<Value>,
    /// What becomes of requests for this day and later ones.
    trouble: Option<(String, Trouble)>,
    /// `since` of every request.
    asked: Vec<String>,
    /// Whether a request hangs.
    waits: bool,
}

#[derive(Clone, Copy)]
enum Trouble {
    Hang,
    Refuse,
}

impl Drop for Tickets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tickets {
    /// So many days of January 2026 with so many tickets of eight kilobytes each.
    pub async fn serve(days: u32, a_day: u32) -> Self {
        let mut shared = Shared::default();
        for n in 0..days * a_day {
            let (day, minute) = (1 + n / a_day, n % a_day);
            let at = format!("2026-01-{day:02}T{:02}:{:02}:00Z", minute / 60, minute % 60);
            shared.tickets.push(ticket(n, &at, n % 5));
        }
        let shared = Arc::new(Mutex::new(shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/tickets", axum::routing::get(page)).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { shared, task, url }
    }

    /// Adds one with a word where a number is expected.
    pub fn add(&self, at: &str) {
        let mut shared = self.shared.lock().unwrap();
        let n = u32::try_from(shared.tickets.len()).unwrap();
        shared.tickets.push(ticket(n, at, "urgent"));
    }

    /// From this day on requests are not answered.
    pub fn hang_from(&self, day: &str) {
        self.shared.lock().unwrap().trouble = Some((day.to_owned(), Trouble::Hang));
    }

    /// From this day on requests are refused.
    pub fn refuse_from(&self, day: &str) {
        self.shared.lock().unwrap().trouble = Some((day.to_owned(), Trouble::Refuse));
    }

    /// All requests are answered again; those that hang stay so.
    pub fn answer_again(&self) {
        self.shared.lock().unwrap().trouble = None;
    }

    /// Waits until a request hangs.
    pub async fn somebody_waits(&self) {
        for _ in 0..600 {
            if self.shared.lock().unwrap().waits {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nobody asked for what is not answered");
    }

    /// `since` of every request so far.
    pub fn asked_since(&self) -> Vec<String> {
        self.shared.lock().unwrap().asked.clone()
    }
}

fn ticket(n: u32, at: &str, priority: impl Into<Value>) -> Value {
    json!({"id": n, "subject": "words ".repeat(1400), "priority": priority.into(),
        "requester": {"email": format!("{n}@example.org")}, "updated_at": at})
}

async fn page(State(shared): State<Arc<Mutex<Shared>>>, uri: Uri, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let url = reqwest::Url::parse(&format!("http://tickets{uri}")).unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let asked = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if headers.get("authorization").is_none_or(|token| token != "Bearer hunter2secret") {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "who are you?"})));
    }
    let (trouble, data) = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(asked("since").to_owned());
        let trouble = shared.trouble.as_ref().filter(|(day, _)| asked("since") >= day.as_str()).map(|(_, what)| *what);
        shared.waits |= matches!(trouble, Some(Trouble::Hang));
        let (since, until) = (asked("since"), asked("until"));
        let number = |name: &str, default: usize| asked(name).parse().unwrap_or(default);
        let within = |t: &&Value| (since..=until).contains(&t["updated_at"].as_str().unwrap());
        let found = shared.tickets.iter().filter(within).skip(number("offset", 0)).take(number("limit", 100));
        (trouble, found.cloned().collect::<Vec<_>>())
    };
    match trouble {
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Refuse) => (StatusCode::FORBIDDEN, Json(json!({"error": "not for you"}))),
        None => (StatusCode::OK, Json(json!({"data": data}))),
    }
}
