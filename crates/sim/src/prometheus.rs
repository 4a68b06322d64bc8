//! The model Prometheus: samples of every pod at every scrape, and what a query over
//! them returns. A target that vanishes or falls silent is marked stale at the next
//! scrape; functions over a range go on telling of it for as long as the range.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use prunella_core::observation::{Answer, Freshness, History, Labels, Series, SeriesHistory, UnknownReason};
use prunella_core::target::Uid;
use prunella_core::time::{before, elapsed};

/// What an unhealthy pod is seen with.
pub(crate) const BAD: f64 = 9.0;

/// How a policy looks at the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The newest sample is above the threshold.
    Newest,
    /// The newest of at least two samples in the range is.
    Range(SignedDuration),
}

/// Whether the source answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It scrapes and answers.
    Up,
    /// It does neither.
    Down,
    /// It scrapes, and its answers do not arrive in time.
    Hanging,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    Bad,
    Good,
    /// The series has ended here.
    Stale,
}

/// What was scraped of one pod.
#[derive(Debug)]
struct Pod {
    name: String,
    samples: Vec<(Timestamp, Sample)>,
}

/// The samples, by the pod's uid: one target of a scrape, one set of series.
#[derive(Debug)]
pub(crate) struct Prometheus {
    pub(crate) health: Health,
    lookback: SignedDuration,
    series: BTreeMap<Uid, Pod>,
    /// Whether series carry the uid of their pod.
    uid_label: bool,
    /// The pods whose exporter is dead.
    pub(crate) silent: BTreeSet<Uid>,
    /// The pods that were ever sampled as unhealthy.
    pub(crate) seen_bad: BTreeSet<Uid>,
    /// When it was not up, newest last; the last may be open.
    outages: Vec<(Timestamp, Option<Timestamp>)>,
}

impl Prometheus {
    pub(crate) fn new(lookback: SignedDuration, uid_label: bool) -> Self {
        Self {
            health: Health::Up,
            lookback,
            series: BTreeMap::new(),
            uid_label,
            silent: BTreeSet::new(),
            seen_bad: BTreeSet::new(),
            outages: Vec::new(),
        }
    }

    pub(crate) fn becomes(&mut self, health: Health, now: Timestamp) {
        match (self.health, health) {
            (Health::Up, Health::Up) => {}
            (Health::Up, _) => self.outages.push((now, None)),
            (_, Health::Up) => {
                if let Some((_, end)) = self.outages.last_mut() {
                    *end = Some(now);
                }
            }
            _ => {}
        }
        self.health = health;
    }

    /// Takes a sample of every running pod, with its truth.
    pub(crate) fn scrape<'a>(&mut self, now: Timestamp, pods: impl Iterator<Item = (&'a str, &'a Uid, bool)>) {
        if self.health == Health::Down {
            return;
        }
        let mut sampled = BTreeSet::new();
        for (name, uid, bad) in pods.filter(|(_, uid, _)| !self.silent.contains(*uid)) {
            sampled.insert(uid);
            if bad {
                self.seen_bad.insert(uid.clone());
            }
            let sample = if bad { Sample::Bad } else { Sample::Good };
            let fresh = || Pod { name: name.to_owned(), samples: Vec::new() };
            self.series.entry(uid.clone()).or_insert_with(fresh).samples.push((now, sample));
        }
        for (uid, Pod { samples, .. }) in &mut self.series {
            let ended = samples.last().is_none_or(|(_, sample)| *sample == Sample::Stale);
            if !ended && !sampled.contains(uid) {
                samples.push((now, Sample::Stale));
            }
        }
    }

    fn until(samples: &[(Timestamp, Sample)], at: Timestamp) -> &[(Timestamp, Sample)] {
        &samples[..samples.partition_point(|(sampled, _)| *sampled <= at)]
    }

    /// The series' value at an instant, as far as an instant selector tells.
    fn newest(&self, samples: &[(Timestamp, Sample)], at: Timestamp) -> Option<Sample> {
        let (taken, sample) = Self::until(samples, at).last()?;
        (*sample != Sample::Stale && elapsed(*taken, at) < self.lookback).then_some(*sample)
    }

    /// What a condition tells of a series: breached, clear, or nothing.
    fn told(&self, samples: &[(Timestamp, Sample)], condition: Condition, at: Timestamp) -> Option<bool> {
        match condition {
            Condition::Newest => self.newest(samples, at).map(|sample| sample == Sample::Bad),
            Condition::Range(range) => {
                let from = before(at, range);
                let mut within = Self::until(samples, at)
                    .iter()
                    .rev()
                    .take_while(|(sampled, _)| *sampled > from)
                    .filter(|(_, sample)| *sample != Sample::Stale);
                let (_, newest) = within.next()?;
                within.next()?;
                Some(*newest == Sample::Bad)
            }
        }
    }

    /// What a condition would tell of a pod at an instant, were the source asked.
    pub(crate) fn truth(&self, pod: &Uid, condition: Condition, at: Timestamp) -> Option<bool> {
        self.told(&self.series.get(pod)?.samples, condition, at)
    }

    /// Whether it could not be asked at an instant.
    pub(crate) fn was_out(&self, at: Timestamp) -> bool {
        self.outages.iter().any(|(from, until)| *from <= at && until.is_none_or(|until| at <= until))
    }

    fn unknown(&self) -> Option<Answer> {
        match self.health {
            Health::Up => None,
            Health::Down => Some(Answer::unknown(UnknownReason::Unreachable, "no connection")),
            Health::Hanging => Some(Answer::unknown(UnknownReason::Timeout, "no answer in time")),
        }
    }

    fn answer(&self, condition: Condition, at: Timestamp, wanted: impl Fn(bool) -> bool) -> Answer {
        self.unknown().unwrap_or_else(|| {
            let told =
                self.series.iter().filter(|(_, pod)| self.told(&pod.samples, condition, at).is_some_and(&wanted));
            Answer::Answered(
                told.map(|(uid, pod)| Series { labels: self.labels(uid, &pod.name), value: BAD }).collect(),
            )
        })
    }

    /// Who is breached.
    pub(crate) fn breach(&self, condition: Condition, at: Timestamp) -> Answer {
        self.answer(condition, at, |breached| breached)
    }

    /// Who has data at all.
    pub(crate) fn evidence(&self, condition: Condition, at: Timestamp) -> Answer {
        self.answer(condition, at, |_| true)
    }

    /// Whether a pod has a sample right now.
    pub(crate) fn freshness(&self, pod: &str, at: Timestamp) -> Freshness {
        let mut named = self.series.values().filter(|one| one.name == pod);
        if self.health != Health::Up {
            Freshness::Unknown
        } else if named.any(|one| self.newest(&one.samples, at).is_some()) {
            Freshness::Fresh
        } else {
            Freshness::Stale(format!("the pod {pod} has no sample now"))
        }
    }

    /// Who was breached at each step of a range query.
    pub(crate) fn history(
        &self,
        condition: Condition,
        since: Timestamp,
        until: Timestamp,
        step: SignedDuration,
    ) -> History {
        if let Some(Answer::Unknown(unknown)) = self.unknown() {
            return History::Unknown(unknown);
        }
        let steps: Vec<Timestamp> =
            std::iter::successors(Some(since), |at| at.checked_add(step).ok()).take_while(|at| *at <= until).collect();
        let breached = |samples: &[(Timestamp, Sample)]| -> Vec<Timestamp> {
            steps.iter().copied().filter(|at| self.told(samples, condition, *at) == Some(true)).collect()
        };
        let series = self.series.iter().map(|(uid, pod)| (self.labels(uid, &pod.name), breached(&pod.samples)));
        History::Answered(
            series.filter(|(_, at)| !at.is_empty()).map(|(labels, at)| SeriesHistory { labels, at }).collect(),
        )
    }

    fn labels(&self, uid: &Uid, pod: &str) -> Labels {
        let mut labels = Labels::from([("namespace".into(), "shop".into()), ("pod".into(), pod.into())]);
        if self.uid_label {
            labels.insert("uid".into(), uid.to_string());
        }
        labels
    }
}
