//! One circuit breaker per instance: a server in trouble is left alone for a while, and asked with one call whether it
//! is back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row open it: more than a restart of one pod causes, fewer than a turn over a hundred
/// connections makes.
const FAILURES: u32 = 5;
/// The first rest, doubled with each trial that fails.
const FIRST_REST: Duration = Duration::from_secs(2);
/// The longest rest: a server that is back after an hour is found within it.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Opens after failures in a row; lets one call through after each rest.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Instant,
    until: Instant,
    rest: Duration,
}

impl Breaker {
    /// Whether a call may go out now. While open: since when, and until when it rests.
    pub fn admit(&self) -> Result<(), (Duration, Duration)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(open) = &mut state.open else { return Ok(()) };
        if now < open.until {
            return Err((now - open.since, open.until - now));
        }
        // This call is the trial; the others wait for what becomes of it.
        open.until = now + open.rest;
        Ok(())
    }

    /// Takes the outcome of a call. What it changed, for the log.
    pub fn heard(&self, well: bool) -> Option<Turned> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if well {
            state.failures = 0;
            return state.open.take().map(|open| Turned::Closed(now - open.since));
        }
        state.failures += 1;
        let too_many = state.failures >= FAILURES;
        match &mut state.open {
            Some(open) => {
                open.rest = (open.rest * 2).min(LONGEST_REST);
                open.until = now + open.rest;
                None
            }
            None if too_many => {
                state.open = Some(Open { since: now, until: now + FIRST_REST, rest: FIRST_REST });
                Some(Turned::Opened)
            }
            None => None,
        }
    }
}

/// A change of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Calls are held back from now on.
    Opened,
    /// The server answers again; so long it did not.
    Closed(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_tries_one_call_and_closes() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.heard(false), None);
        }
        assert!(breaker.admit().is_ok());
        assert_eq!(breaker.heard(false), Some(Turned::Opened));
        assert!(breaker.admit().is_err());
        tokio::time::advance(FIRST_REST).await;
        assert!(breaker.admit().is_ok(), "the trial");
        assert!(breaker.admit().is_err(), "one at a time");
        assert_eq!(breaker.heard(false), None);
        tokio::time::advance(FIRST_REST).await;
        assert!(breaker.admit().is_err(), "rests longer each time");
        tokio::time::advance(FIRST_REST).await;
        assert!(breaker.admit().is_ok());
        assert_eq!(breaker.heard(true), Some(Turned::Closed(FIRST_REST * 3)));
        assert!(breaker.admit().is_ok());
        assert_eq!(breaker.heard(false), None, "counting starts anew");
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_silence_is_noticed_to_be_over_within_a_minute() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.heard(false);
        }
        let mut trials = 0;
        for _ in 0..3600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            if breaker.admit().is_ok() {
                trials += 1;
                breaker.heard(false);
            }
        }
        assert!((60..70).contains(&trials), "{trials}");
    }
}
