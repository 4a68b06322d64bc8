//! What can go wrong between a process and the world, at every single step. All rates
//! are per million, so that a history of many thousand steps meets each a few times.

use jiff::SignedDuration;

use crate::dice::Dice;
use crate::queue::Reply;

/// How long a client waits for an answer to a write.
const DEADLINE: i64 = 10_000;

/// How often what goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// A write never arrives.
    pub lost: u32,
    /// A write is applied and its answer never comes back.
    pub answer_lost: u32,
    /// A write is given up by its sender and arrives long afterwards.
    pub delayed: u32,
    /// A write is refused without effect, like by a 500 or a 503.
    pub refused: u32,
    /// The process is killed instead of sending a write.
    pub killed_before: u32,
    /// The process is killed when a write was applied, before its answer.
    pub killed_after: u32,
    /// The process is killed between any two steps.
    pub killed: u32,
    /// The process is stopped between any two steps, and goes on later.
    pub paused: u32,
    /// A read fails.
    pub unreadable: u32,
}

/// What becomes of one write.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The process is killed before it goes out.
    KilledBefore,
    /// It arrives after this time, or never.
    Travels { arrives: Option<SignedDuration>, reply: Reply, given_up: Option<SignedDuration> },
    /// It is refused, and the sender told so after this time.
    Refused(SignedDuration),
}

impl Weather {
    /// Every write arrives and is answered; nobody is killed.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    pub(crate) fn fate(&self, dice: &mut Dice) -> Fate {
        let travels = dice.millis(1, 40);
        // Soon when a connection breaks, late when nothing comes at all.
        let told = if dice.percent(50) { dice.millis(1, 100) } else { SignedDuration::from_millis(DEADLINE) };
        let lost = |arrives| Fate::Travels { arrives, reply: Reply::Lost, given_up: Some(told) };
        if dice.in_a_million(self.killed_before) {
            Fate::KilledBefore
        } else if dice.in_a_million(self.lost) {
            lost(None)
        } else if dice.in_a_million(self.answer_lost) {
            lost(Some(travels))
        } else if dice.in_a_million(self.delayed) {
            lost(Some(dice.seconds(0, 60)))
        } else if dice.in_a_million(self.refused) {
            Fate::Refused(travels)
        } else if dice.in_a_million(self.killed_after) {
            Fate::Travels { arrives: Some(travels), reply: Reply::Killed, given_up: None }
        } else {
            Fate::Travels { arrives: Some(travels), reply: Reply::Back(dice.millis(1, 40)), given_up: None }
        }
    }

    pub(crate) fn kills(&self, dice: &mut Dice) -> bool {
        dice.in_a_million(self.killed)
    }

    pub(crate) fn pauses(&self, dice: &mut Dice) -> Option<SignedDuration> {
        dice.in_a_million(self.paused)
            .then(|| if dice.percent(80) { dice.seconds(0, 30) } else { dice.seconds(30, 200) })
    }

    pub(crate) fn read_fails(&self, dice: &mut Dice) -> bool {
        dice.in_a_million(self.unreadable)
    }
}
