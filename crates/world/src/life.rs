//! The life of one process: from its start until it is killed. All its connections belong to it, and
//! nothing of a dead process reaches the world, except what was on its way.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::chance::Chance;
use crate::faults::{Fates, Weather};

/// What a story can change about all processes while they run. All copies are the same.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    state: Arc<Mutex<ConditionsState>>,
    killed: Arc<Mutex<BTreeMap<String, Arc<Notify>>>>,
}

#[derive(Debug, Default)]
struct ConditionsState {
    weather: Weather,
    /// Until when the requests and answers of a process are held.
    paused: BTreeMap<String, Instant>,
    /// Until when its watches are held.
    blind: BTreeMap<String, Instant>,
    source: SourceState,
    tally: Tally,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Processes that were killed.
    pub kills: u64,
    /// Processes that ended by themselves.
    pub exits: u64,
    /// What became of requests, beside those that were answered.
    pub fates: BTreeMap<&'static str, u64>,
}

/// How the source is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It answers.
    #[default]
    Fine,
    /// It refuses connections: 503.
    Down,
    /// It has lost its data: all answers are empty.
    Empty,
    /// All answers are marked as incomplete.
    Partial,
}

impl Conditions {
    /// From now on, nothing goes wrong.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        let tally = std::mem::take(&mut state.tally);
        *state = ConditionsState { tally, ..ConditionsState::default() };
    }

    pub(crate) fn count(&self, what: impl FnOnce(&mut Tally)) {
        what(&mut self.state().tally);
    }

    /// What happened so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    /// From now on, so much goes wrong.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Holds all requests of a process, and their answers, until then.
    pub fn pause(&self, process: &str, until: Instant) {
        self.state().paused.insert(process.to_owned(), until);
    }

    /// Holds the events of all its watches until then.
    pub fn blind(&self, process: &str, until: Instant) {
        self.state().blind.insert(process.to_owned(), until);
    }

    /// Kills it. It starts again some seconds later.
    pub fn kill(&self, process: &str) {
        // `notify_waiters`, because a process that is down cannot be killed.
        self.switch(process).notify_waiters();
    }

    /// Changes the source.
    pub fn set_source(&self, source: SourceState) {
        self.state().source = source;
    }

    pub(crate) fn source(&self) -> SourceState {
        self.state().source
    }

    pub(crate) fn weather(&self) -> Weather {
        self.state().weather
    }

    pub(crate) async fn until_killed(&self, process: &str) {
        self.switch(process).notified().await;
    }

    fn switch(&self, process: &str) -> Arc<Notify> {
        let mut killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(killed.entry(process.to_owned()).or_default())
    }

    fn paused_until(&self, process: &str) -> Option<Instant> {
        self.state().paused.get(process).copied()
    }

    fn blind_until(&self, process: &str) -> Option<Instant> {
        self.state().blind.get(process).copied()
    }

    fn state(&self) -> MutexGuard<'_, ConditionsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process from its start to its end.
#[derive(Debug)]
pub(crate) struct Life {
    /// The name of the process: the same in its next life.
    pub(crate) name: Arc<str>,
    number: u64,
    conditions: Conditions,
    chance: Chance,
    is_dead: AtomicBool,
    killed: Notify,
    /// How many requests each line has had.
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Life {
    pub(crate) fn new(name: &str, number: u64, conditions: Conditions, chance: Chance) -> Self {
        Self {
            name: name.into(),
            number,
            conditions,
            chance,
            is_dead: AtomicBool::new(false),
            killed: Notify::new(),
            counts: Mutex::default(),
        }
    }

    /// Ends it, at once.
    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.killed.notify_one();
    }

    /// Waits until it is killed.
    pub(crate) async fn until_killed(&self) {
        self.killed.notified().await;
    }

    /// Waits while the process is paused, and for ever if it is dead.
    pub(crate) async fn goes_on(&self) {
        while let Some(until) = self.conditions.paused_until(&self.name).filter(|until| *until > Instant::now()) {
            sleep_until(until).await;
        }
        if self.is_dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    /// Waits while its watches are held.
    pub(crate) async fn sees(&self) {
        while let Some(until) = self.conditions.blind_until(&self.name).filter(|until| *until > Instant::now()) {
            sleep_until(until).await;
        }
        self.goes_on().await;
    }

    /// Counts what became of a request.
    pub(crate) fn met(&self, fate: &'static str) {
        self.conditions.count(|tally| *tally.fates.entry(fate).or_default() += 1);
    }

    /// The fates of its requests now.
    pub(crate) fn fates(&self) -> Fates {
        Fates { chance: self.chance, weather: self.conditions.weather() }
    }

    pub(crate) fn source(&self) -> SourceState {
        self.conditions.source()
    }

    /// Tells one request from all others: by its text, and which one of these it is.
    pub(crate) fn line(&self, request: &str) -> String {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(request.to_owned()).or_default();
        *count += 1;
        format!("{}.{} {request} #{count}", self.name, self.number)
    }
}
