//! The writes of one heal, without Events, and how to recognize each.

use testbed::proxy::{Entry, Fate, Kill, On, Rule};

/// One write of a heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// The policy reports that its target is healthy.
    ReportHealthy,
    /// The policy reports that its target is breached, but not yet for long enough.
    ReportPending,
    /// The policy reports that its target is unhealthy, while an action is reserved.
    ReportFiring,
    /// The action is created, which spends budget.
    Reserve,
    /// The policy reports the reserved action.
    ReportReserved,
    /// `Pending → Running`.
    Begin,
    /// The policy reports that the action runs.
    ReportRunning,
    /// The effect.
    Evict,
    /// `Running → Settling`.
    Executed,
    /// The policy reports that the action settles.
    ReportSettling,
    /// `Settling → Verifying`.
    Settled,
    /// The policy reports that the action is verified.
    ReportVerifying,
    /// `Verifying → Succeeded`.
    Finish,
    /// The policy reports the outcome.
    ReportOutcome,
    /// The finalizer is removed.
    Release,
}

impl Write {
    /// In order, except that `ReportFiring` and `Reserve` are sent at the same time.
    pub(crate) const ALL: [Self; 15] = [
        Self::ReportHealthy,
        Self::ReportPending,
        Self::ReportFiring,
        Self::Reserve,
        Self::ReportReserved,
        Self::Begin,
        Self::ReportRunning,
        Self::Evict,
        Self::Executed,
        Self::ReportSettling,
        Self::Settled,
        Self::ReportVerifying,
        Self::Finish,
        Self::ReportOutcome,
        Self::Release,
    ];

    /// Whether every heal needs it. A state that ends before it could be reported is skipped.
    pub(crate) fn is_vital(self) -> bool {
        !matches!(
            self,
            Self::ReportPending
                | Self::ReportFiring
                | Self::ReportReserved
                | Self::ReportRunning
                | Self::ReportSettling
                | Self::ReportVerifying
        )
    }

    /// Recognizes it among the requests about one lane.
    pub(crate) fn on(self, lane: &str) -> On {
        let (method, resource) = match self {
            Self::Reserve => ("POST", "healingactions"),
            Self::Evict => ("POST", "pods/eviction"),
            Self::Begin | Self::Executed | Self::Settled | Self::Finish => ("PUT", "healingactions/status"),
            Self::Release => ("PATCH", "healingactions"),
            _ => ("PATCH", "healingpolicies/status"),
        };
        let body = match self {
            Self::ReportHealthy => r#""reason":"AllTargetsHealthy""#.to_owned(),
            Self::ReportPending => r#""reason":"TargetsPending""#.to_owned(),
            Self::ReportFiring => r#""reason":"TargetsUnhealthy""#.to_owned(),
            Self::Reserve => format!(r#""name":"{lane}-"#),
            Self::ReportReserved => with_condition("Pending", "Healing"),
            Self::Begin => with_condition("Running", "Progressing"),
            Self::ReportRunning => with_condition("Running", "Healing"),
            Self::Evict => String::new(),
            Self::Executed => with_condition("Settling", "Progressing"),
            Self::ReportSettling => with_condition("Settling", "Healing"),
            Self::Settled => with_condition("Verifying", "Progressing"),
            Self::ReportVerifying => with_condition("Verifying", "Healing"),
            Self::Finish | Self::ReportOutcome => r#""outcome":"Succeeded""#.to_owned(),
            Self::Release => r#""finalizers":[]"#.to_owned(),
        };
        On {
            method: Some(method.into()),
            resource: Some(resource.into()),
            // A creation has no name in its path.
            path: (self != Self::Reserve).then(|| format!("/{lane}")),
            body: Some(body),
            ..On::default()
        }
    }

    /// Which write of a lane's heal a request was.
    pub(crate) fn of(entry: &Entry, lane: &str) -> Option<Self> {
        let body = entry.body.to_string();
        let is = |on: &On| {
            on.method.as_ref() == Some(&entry.asked.method)
                && on.resource.as_ref() == Some(&entry.asked.resource)
                && on.path.as_ref().is_none_or(|part| entry.asked.path.contains(part))
                && on.body.as_ref().is_none_or(|part| body.contains(part))
        };
        // The last match counts: the outcome is reported together with the recovery.
        Self::ALL.into_iter().rev().find(|write| is(&write.on(lane)))
    }
}

fn with_condition(reason: &str, condition: &str) -> String {
    format!(r#""reason":"{reason}","status":"True","type":"{condition}""#)
}

/// It arrives after the controller's deadline of five seconds.
const LATE: Fate = Fate::Stall { millis: Some(12_000) };

/// A fault of the API server at one write of a heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The write.
    pub(crate) write: Write,
    /// What happens to it.
    pub(crate) fate: Fate,
    /// Whether the controller is killed then.
    pub(crate) killed: bool,
}

impl Trouble {
    /// At every write: the controller is killed before the write is sent, and after it took effect
    /// but before the response.
    pub(crate) fn kills() -> Vec<Self> {
        let points = Self::each(Write::ALL, &[Fate::Swallow, Fate::ApplyThenDrop]);
        points.into_iter().map(|point| Self { killed: true, ..point }).collect()
    }

    /// Possible responses of an API server, or of a proxy in front of it: all of them to the
    /// eviction, and the important ones to the other writes.
    pub(crate) fn answers() -> Vec<Self> {
        let record = [Write::Begin, Write::Executed, Write::Settled, Write::Finish];
        let refused = [Fate::Answer(409), Fate::Answer(429), Fate::Answer(503)];
        let lost = [Fate::ApplyThenAnswer(504), Fate::ApplyThenAnswer(409), Fate::ApplyThenDrop];
        let mut all = Self::each([Write::Evict], &Self::ANSWERS);
        all.extend(Self::each(record, &refused));
        all.extend(Self::each(record, &[Fate::ApplyThenAnswer(504)]));
        all.extend(Self::each([Write::Begin, Write::Finish], &[Fate::ApplyThenAnswer(409)]));
        all.extend(Self::each([Write::Begin], &[LATE]));
        all.extend(Self::each([Write::Reserve], &refused));
        all.extend(Self::each([Write::Reserve], &lost));
        all.extend(Self::each(
            [Write::ReportOutcome, Write::Release],
            &[Fate::Answer(409), Fate::ApplyThenAnswer(504)],
        ));
        all
    }

    /// Every response to every write.
    pub(crate) fn every_answer() -> Vec<Self> {
        Self::each(Write::ALL, &Self::ANSWERS)
    }

    const ANSWERS: [Fate; 12] = [
        Fate::Answer(409),
        Fate::Answer(429),
        Fate::Answer(500),
        Fate::Answer(503),
        Fate::Answer(504),
        Fate::ApplyThenAnswer(409),
        Fate::ApplyThenAnswer(500),
        Fate::ApplyThenAnswer(504),
        Fate::Swallow,
        Fate::ApplyThenDrop,
        LATE,
        Fate::ApplyThenStall { millis: Some(12_000) },
    ];

    fn each(writes: impl IntoIterator<Item = Write>, fates: &[Fate]) -> Vec<Self> {
        let fall = |write| fates.iter().map(move |&fate| Self { write, fate, killed: false });
        writes.into_iter().flat_map(fall).collect()
    }

    /// Whether the action cannot start before its evidence is too old. It has no effect then, and
    /// the next action must have the whole budget.
    pub(crate) fn expires(self) -> bool {
        self.write == Write::Begin && matches!(self.fate, Fate::Stall { .. })
    }

    /// Whether the eviction reaches the API server a second time, late. It is accepted for the same
    /// pod and changes nothing.
    pub(crate) fn comes_late(self) -> bool {
        self.write == Write::Evict && matches!(self.fate, Fate::Stall { .. })
    }

    /// The proxy's rule for it: once, or until it is too late to start.
    pub(crate) fn rule(self, lane: &str, gun: &[String]) -> Rule {
        let kill = self.killed.then(|| Kill::Command(gun.to_vec()));
        let times = if self.expires() { 2 } else { 1 };
        Rule { kill, times, ..Rule::new(self.write.on(lane), self.fate) }
    }
}
