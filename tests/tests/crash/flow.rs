//! The writes of one heal, Events aside, and how each is known on its way.

use testbed::proxy::{Entry, Fate, Kill, On, Rule};

/// One write of a heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// The policy tells that its target is not sick.
    TellWell,
    /// The policy tells that its target is breached, not yet for long enough.
    TellPending,
    /// The policy tells that its target is sick, while something is reserved about it.
    TellFiring,
    /// The action is created: its budget is spent.
    Reserve,
    /// The policy tells of the action that was reserved.
    TellReserved,
    /// `Pending → Running`.
    Begin,
    /// The policy tells of the action that runs.
    TellRunning,
    /// The effect.
    Evict,
    /// `Running → Settling`.
    Executed,
    /// The policy tells of the action that settles.
    TellSettling,
    /// `Settling → Verifying`.
    Settled,
    /// The policy tells of the action that is verified.
    TellVerifying,
    /// `Verifying → Succeeded`.
    Finish,
    /// The policy tells how the action ended.
    TellOutcome,
    /// The finalizer is taken off.
    Release,
}

impl Write {
    /// In the order in which they go out, but that `TellFiring` and `Reserve` go out together.
    pub(crate) const ALL: [Self; 15] = [
        Self::TellWell,
        Self::TellPending,
        Self::TellFiring,
        Self::Reserve,
        Self::TellReserved,
        Self::Begin,
        Self::TellRunning,
        Self::Evict,
        Self::Executed,
        Self::TellSettling,
        Self::Settled,
        Self::TellVerifying,
        Self::Finish,
        Self::TellOutcome,
        Self::Release,
    ];

    /// Whether a heal cannot go without it. What is told of a stage is left out when
    /// the stage was over before it could be told.
    pub(crate) fn is_vital(self) -> bool {
        !matches!(
            self,
            Self::TellPending
                | Self::TellFiring
                | Self::TellReserved
                | Self::TellRunning
                | Self::TellSettling
                | Self::TellVerifying
        )
    }

    /// Names it among the requests about one lane.
    pub(crate) fn on(self, lane: &str) -> On {
        let (method, resource) = match self {
            Self::Reserve => ("POST", "healingactions"),
            Self::Evict => ("POST", "pods/eviction"),
            Self::Begin | Self::Executed | Self::Settled | Self::Finish => ("PUT", "healingactions/status"),
            Self::Release => ("PATCH", "healingactions"),
            _ => ("PATCH", "healingpolicies/status"),
        };
        let body = match self {
            Self::TellWell => r#""reason":"NoTargetSick""#.to_owned(),
            Self::TellPending => r#""reason":"TargetsPending""#.to_owned(),
            Self::TellFiring => r#""reason":"TargetsSick""#.to_owned(),
            Self::Reserve => format!(r#""name":"{lane}-"#),
            Self::TellReserved => told("Pending", "Healing"),
            Self::Begin => told("Running", "Progressing"),
            Self::TellRunning => told("Running", "Healing"),
            Self::Evict => String::new(),
            Self::Executed => told("Settling", "Progressing"),
            Self::TellSettling => told("Settling", "Healing"),
            Self::Settled => told("Verifying", "Progressing"),
            Self::TellVerifying => told("Verifying", "Healing"),
            Self::Finish | Self::TellOutcome => r#""outcome":"Succeeded""#.to_owned(),
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
        // The later word counts: the end is told together with who is well again.
        Self::ALL.into_iter().rev().find(|write| is(&write.on(lane)))
    }
}

fn told(reason: &str, condition: &str) -> String {
    format!(r#""reason":"{reason}","status":"True","type":"{condition}""#)
}

/// It arrives when the controller has long given it up, after five seconds.
const LATE: Fate = Fate::Stall { millis: Some(12_000) };

/// What befalls one write of a heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Which.
    pub(crate) write: Write,
    /// What becomes of it.
    pub(crate) fate: Fate,
    /// Whether the controller is killed at that point.
    pub(crate) killed: bool,
}

impl Trouble {
    /// Killed before the write goes out, and killed after it took effect but before the
    /// answer: of every write.
    pub(crate) fn kills() -> Vec<Self> {
        let points = Self::each(Write::ALL, &[Fate::Swallow, Fate::ApplyThenDrop]);
        points.into_iter().map(|point| Self { killed: true, ..point }).collect()
    }

    /// What an API server, or whatever stands before it, may answer: everything to the
    /// eviction, and what the others have to survive.
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
        all.extend(Self::each([Write::TellOutcome, Write::Release], &[Fate::Answer(409), Fate::ApplyThenAnswer(504)]));
        all
    }

    /// Every answer to every write.
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

    /// Whether the action cannot be begun before its evidence is stale. It had no effect
    /// then: another one has to find the whole budget.
    pub(crate) fn expires(self) -> bool {
        self.write == Write::Begin && matches!(self.fate, Fate::Stall { .. })
    }

    /// Whether the eviction reaches the API server a second time, late, when the first is
    /// done: it is granted then, for the very same pod, and changes nothing.
    pub(crate) fn comes_late(self) -> bool {
        self.write == Write::Evict && matches!(self.fate, Fate::Stall { .. })
    }

    /// The rule that brings it about: once, or until it is too late to begin.
    pub(crate) fn rule(self, lane: &str, gun: &[String]) -> Rule {
        let kill = self.killed.then(|| Kill::Command(gun.to_vec()));
        let times = if self.expires() { 2 } else { 1 };
        Rule { kill, times, ..Rule::new(self.write.on(lane), self.fate) }
    }
}
