//! A provider's circuit: how many requests may be under way, and when it is left alone for a while.
//!
//! What counts as a failure is `providers`' to say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Trouble;

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitSettings {
    /// The most requests under way.
    pub max_requests: usize,
    /// So many failures in a row open it; 0 never does.
    pub consecutive_errors: u32,
    /// How long it stays open before one request may try.
    pub open_for: Duration,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        // As Envoy's `max_requests` and `consecutive_5xx`. Its ejection of 30 s is for one of many
        // hosts; a provider has no other.
        Self { max_requests: 1024, consecutive_errors: 5, open_for: Duration::from_secs(1) }
    }
}

/// How a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// Requests go through.
    Closed,
    /// One request tries.
    HalfOpen,
    /// None goes through.
    Open,
}

impl CircuitState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// For logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

#[derive(Debug)]
pub(super) struct Circuit {
    settings: CircuitSettings,
    under_way: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Trying,
}

impl Circuit {
    pub(super) fn new(settings: CircuitSettings) -> Self {
        let state = Mutex::new(State::Closed { failures: 0 });
        Self { settings, under_way: AtomicUsize::new(0), state }
    }

    /// Lets a request through, or says why not. What it came to must be said of the passage; one
    /// that is dropped without says nothing of the provider.
    pub(super) fn enter(&self) -> Result<Entered<'_>, Trouble> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => {}
            State::Open { until } if Instant::now() < until => return Err(Trouble::CircuitOpen),
            State::Trying => return Err(Trouble::CircuitOpen),
            State::Open { .. } => {}
        }
        // Counted under the lock, so that there are never more.
        if self.under_way.load(Ordering::Relaxed) >= self.settings.max_requests {
            return Err(Trouble::Overflow);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let tries = matches!(*state, State::Open { .. });
        if tries {
            *state = State::Trying;
        }
        Ok(Entered { circuit: self, tries })
    }

    pub(super) fn state(&self) -> CircuitState {
        match *self.lock() {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::Trying => CircuitState::HalfOpen,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was let through.
#[derive(Debug)]
pub(super) struct Entered<'c> {
    circuit: &'c Circuit,
    /// Whether all others wait for it.
    tries: bool,
}

/// What changed for the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// It fails, and did not before.
    Fails,
    /// It is left alone now.
    Opened,
    /// It answers again.
    Recovered,
}

impl Entered<'_> {
    pub(super) fn succeeded(self) -> Change {
        let mut state = self.circuit.lock();
        match *state {
            State::Closed { failures: 0 } => Change::None,
            // One that began before it opened says nothing of now.
            State::Open { .. } | State::Trying if !self.tries => Change::None,
            State::Closed { .. } | State::Open { .. } | State::Trying => {
                *state = State::Closed { failures: 0 };
                Change::Recovered
            }
        }
    }

    pub(super) fn failed(self) -> Change {
        let CircuitSettings { consecutive_errors, open_for, .. } = self.circuit.settings;
        let mut state = self.circuit.lock();
        match *state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                if consecutive_errors > 0 && failures >= consecutive_errors {
                    *state = State::Open { until: Instant::now() + open_for };
                    return Change::Opened;
                }
                *state = State::Closed { failures };
                if failures == 1 { Change::Fails } else { Change::None }
            }
            State::Trying if self.tries => {
                *state = State::Open { until: Instant::now() + open_for };
                Change::None
            }
            State::Open { .. } | State::Trying => Change::None,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.circuit.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.circuit.lock();
        if self.tries && matches!(*state, State::Trying) {
            // It was given up, and another may try.
            *state = State::Open { until: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(1);

    fn circuit(max_requests: usize, consecutive_errors: u32) -> Circuit {
        Circuit::new(CircuitSettings { max_requests, consecutive_errors, open_for: OPEN_FOR })
    }

    fn fail(circuit: &Circuit) -> Change {
        circuit.enter().unwrap().failed()
    }

    #[tokio::test(start_paused = true)]
    async fn opens_tries_and_closes() {
        let circuit = circuit(10, 3);
        assert_eq!([fail(&circuit), fail(&circuit)], [Change::Fails, Change::None]);
        assert_eq!(circuit.enter().unwrap().succeeded(), Change::Recovered);
        assert_eq!([fail(&circuit), fail(&circuit)], [Change::Fails, Change::None]);
        assert_eq!((fail(&circuit), circuit.state()), (Change::Opened, CircuitState::Open));
        assert_eq!(circuit.enter().unwrap_err(), Trouble::CircuitOpen);
        advance(OPEN_FOR).await;
        let trying = circuit.enter().unwrap();
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        assert_eq!(circuit.enter().unwrap_err(), Trouble::CircuitOpen);
        assert_eq!((trying.failed(), circuit.state()), (Change::None, CircuitState::Open));
        assert_eq!(circuit.enter().unwrap_err(), Trouble::CircuitOpen);
        advance(OPEN_FOR).await;
        assert_eq!(circuit.enter().unwrap().succeeded(), Change::Recovered);
        assert_eq!((circuit.state(), circuit.under_way()), (CircuitState::Closed, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_is_given_up_lets_another_try() {
        let circuit = circuit(10, 1);
        fail(&circuit);
        advance(OPEN_FOR).await;
        drop(circuit.enter().unwrap());
        assert_eq!(circuit.enter().unwrap().succeeded(), Change::Recovered);
    }

    #[tokio::test(start_paused = true)]
    async fn who_began_before_it_opened_neither_closes_nor_prolongs() {
        let circuit = circuit(10, 1);
        let (early, late) = (circuit.enter().unwrap(), circuit.enter().unwrap());
        fail(&circuit);
        assert_eq!((early.succeeded(), circuit.state()), (Change::None, CircuitState::Open));
        advance(OPEN_FOR).await;
        let trying = circuit.enter().unwrap();
        assert_eq!((late.failed(), circuit.state()), (Change::None, CircuitState::HalfOpen));
        assert_eq!(trying.succeeded(), Change::Recovered);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_under_way() {
        let circuit = circuit(2, 0);
        let (one, two) = (circuit.enter().unwrap(), circuit.enter().unwrap());
        assert_eq!(circuit.enter().unwrap_err(), Trouble::Overflow);
        drop(one);
        let three = circuit.enter().unwrap();
        assert_eq!(circuit.under_way(), 2);
        drop((two, three));
        // 0 never opens.
        assert!((0..10).all(|_| fail(&circuit) != Change::Opened));
        assert_eq!(circuit.state(), CircuitState::Closed);
    }
}
