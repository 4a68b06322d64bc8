//! What can go wrong between a process and the world. Rates are per million requests, so that a history
//! of a thousand requests meets each a few times.

use std::time::Duration;

use crate::chance::Chance;

/// How long a client waits when its connection is dead.
const SILENCE: u64 = 30_000;
/// How long a write may travel whose sender has given up.
const LATE: u64 = 60_000;

/// How often each thing goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// A write never arrives.
    pub lost: u32,
    /// A write takes effect, and its answer is lost.
    pub answer_lost: u32,
    /// The sender of a write is told that it failed, and it arrives up to a minute later.
    pub delayed: u32,
    /// A write is refused without effect: 500, 503 or 429.
    pub refused: u32,
    /// The process is killed when it is about to send a write.
    pub killed_before: u32,
    /// The process is killed when a write has taken effect, before it knows.
    pub killed_after: u32,
    /// A read fails: refused, reset, or cut in the middle of the answer.
    pub unreadable: u32,
    /// A watch ends with an error.
    pub watch_cut: u32,
    /// A watch delivers its events late.
    pub watch_held: u32,
    /// A source does not answer as it should.
    pub source: u32,
}

impl Weather {
    /// Everything goes wrong now and then.
    #[must_use]
    pub fn stormy(by: u32) -> Self {
        Self {
            lost: 20_000 * by,
            answer_lost: 30_000 * by,
            delayed: 15_000 * by,
            refused: 20_000 * by,
            killed_before: 5_000 * by,
            killed_after: 5_000 * by,
            unreadable: 20_000 * by,
            watch_cut: 150_000 * by,
            watch_held: 100_000 * by,
            source: 20_000 * by,
        }
    }
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteFate {
    Answered,
    KilledBefore,
    KilledAfter,
    Lost { told: Duration },
    AnswerLost { told: Duration },
    Delayed { told: Duration, arrives: Duration },
    Refused(u16),
}

/// What becomes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFate {
    Answered,
    Reset { told: Duration },
    CutShort,
    Refused(u16),
}

/// What becomes of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WatchFate {
    /// Ends with an error after this time.
    pub(crate) cut: Option<Duration>,
    /// Delivers nothing from the first time until the second.
    pub(crate) held: Option<(Duration, Duration)>,
}

/// What becomes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryFate {
    Answered,
    /// A code, and a body that is not Prometheus' JSON.
    Refused(u16),
    /// As of a server that has lost its data.
    Empty,
    /// The right answer, marked as incomplete.
    Partial,
    /// The answer comes after this time.
    Late(Duration),
}

/// Decides for each request of one process. The same request has the same fate whenever the seed runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fates {
    pub(crate) chance: Chance,
    pub(crate) weather: Weather,
}

impl Fates {
    pub(crate) fn write(self, line: &str) -> WriteFate {
        let weather = self.weather;
        let told = self.told(line);
        let arrives = self.millis(&format!("{line} arrives"), 1, LATE);
        self.pick(
            line,
            &[
                (weather.killed_before, WriteFate::KilledBefore),
                (weather.killed_after, WriteFate::KilledAfter),
                (weather.lost, WriteFate::Lost { told }),
                (weather.answer_lost, WriteFate::AnswerLost { told }),
                (weather.delayed, WriteFate::Delayed { told, arrives }),
                (weather.refused, WriteFate::Refused(self.code(line))),
            ],
        )
        .unwrap_or(WriteFate::Answered)
    }

    pub(crate) fn read(self, line: &str) -> ReadFate {
        let share = self.weather.unreadable / 3;
        let fates = [
            (share, ReadFate::Reset { told: self.told(line) }),
            (share, ReadFate::CutShort),
            (share, ReadFate::Refused(self.code(line))),
        ];
        self.pick(line, &fates).unwrap_or(ReadFate::Answered)
    }

    pub(crate) fn watch(self, line: &str) -> WatchFate {
        let from = self.millis(&format!("{line} held"), 1, 30_000);
        let held = (from, from + self.millis(&format!("{line} held for"), 1, 40_000));
        WatchFate {
            cut: self.happens(&format!("{line} cut"), self.weather.watch_cut).then(|| self.millis(line, 1, 60_000)),
            held: self.happens(&format!("{line} is held"), self.weather.watch_held).then_some(held),
        }
    }

    pub(crate) fn query(self, line: &str) -> QueryFate {
        let share = self.weather.source / 4;
        let fates = [
            (share, QueryFate::Refused(self.code(line))),
            (share, QueryFate::Empty),
            (share, QueryFate::Partial),
            (share, QueryFate::Late(self.millis(&format!("{line} late"), 1, 20_000))),
        ];
        self.pick(line, &fates).unwrap_or(QueryFate::Answered)
    }

    fn pick<T: Copy>(self, line: &str, fates: &[(u32, T)]) -> Option<T> {
        let mut drawn = self.chance.between(&format!("{line} fate"), 0, 999_999);
        for (rate, fate) in fates {
            let rate = u64::from(*rate);
            if drawn < rate {
                return Some(*fate);
            }
            drawn -= rate;
        }
        None
    }

    fn happens(self, thing: &str, rate: u32) -> bool {
        self.chance.between(thing, 0, 999_999) < u64::from(rate)
    }

    /// Soon when a connection breaks, late when nothing comes at all.
    fn told(self, line: &str) -> Duration {
        let is_late = self.happens(&format!("{line} silence"), 500_000);
        let most = if is_late { SILENCE } else { 100 };
        self.millis(&format!("{line} told"), 1, most)
    }

    fn code(self, line: &str) -> u16 {
        let codes = [500, 503, 429];
        let drawn = self.chance.between(&format!("{line} code"), 0, 2);
        usize::try_from(drawn).ok().and_then(|drawn| codes.get(drawn).copied()).unwrap_or(500)
    }

    fn millis(self, thing: &str, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.chance.between(thing, least, most))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Otherwise a history is quieter than it says.
    #[test]
    fn every_fate_is_met_and_calm_weather_has_none() {
        let lines: Vec<String> = (0..4000).map(|number| format!("PATCH /x #{number}")).collect();
        let stormy = Fates { chance: Chance::new(1), weather: Weather::stormy(1) };
        let seen = |fates: Fates| {
            let writes = lines.iter().map(|line| format!("{:?}", fates.write(line)));
            let reads = lines.iter().map(|line| format!("{:?}", fates.read(line)));
            let queries = lines.iter().map(|line| format!("{:?}", fates.query(line)));
            let words =
                writes.chain(reads).chain(queries).filter_map(|fate| fate.split([' ', '(']).next().map(str::to_owned));
            words.collect::<BTreeSet<_>>()
        };
        let expected = [
            "Answered",
            "AnswerLost",
            "CutShort",
            "Delayed",
            "Empty",
            "KilledAfter",
            "KilledBefore",
            "Late",
            "Lost",
            "Partial",
            "Refused",
            "Reset",
        ];
        let expected: BTreeSet<String> = expected.map(str::to_owned).into_iter().collect();
        assert_eq!(seen(stormy), expected);
        let calm = Fates { weather: Weather::default(), ..stormy };
        assert_eq!(seen(calm), BTreeSet::from(["Answered".to_owned()]));
        assert!(lines.iter().any(|line| stormy.watch(line).cut.is_some()));
        assert!(lines.iter().all(|line| calm.watch(line) == WatchFate::default()));
    }
}
