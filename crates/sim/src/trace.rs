//! A history as people read it: one line for each thing that happened. Nothing is
//! written, and nothing formatted, unless somebody wants to read it.

use std::fmt::Display;

use jiff::Timestamp;
use prunella_core::Decision;

/// The lines of one history.
#[derive(Debug, Default)]
pub struct Trace {
    wanted: bool,
    begun: Timestamp,
    lines: Vec<String>,
    /// What was said last of each policy by each process: only changes are told.
    said: std::collections::BTreeMap<(usize, String), String>,
}

impl Trace {
    pub(crate) fn new(wanted: bool, begun: Timestamp) -> Self {
        Self { wanted, begun, ..Self::default() }
    }

    /// The lines, in the order of time.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(crate) fn say<T: Display>(&mut self, now: Timestamp, who: &str, what: impl FnOnce() -> T) {
        if self.wanted {
            let seconds = now.duration_since(self.begun).as_secs_f64();
            self.lines.push(format!("{seconds:>10.3}  {who:<12} {}", what()));
        }
    }

    /// What a process decided about a policy, if that is another thing than before.
    pub(crate) fn decision(&mut self, now: Timestamp, process: usize, policy: &str, decision: &Decision) {
        if !self.wanted {
            return;
        }
        let name = |uid| decision.names.get(uid).map_or("?", String::as_str);
        let unhealthy = decision.memory.timers.iter().map(|(uid, timer)| format!("{}={:?}", name(uid), timer.phase));
        let refused = decision.refusals.iter().map(|one| format!("{}:{}", name(&one.target), one.refusal.reason));
        let verdicts = decision.verdicts.iter().map(|one| format!("{}:{}", one.action, one.outcome.as_str()));
        let what = unhealthy.chain(refused).chain(verdicts).collect::<Vec<_>>().join(" ");
        let key = (process, policy.to_owned());
        if self.said.get(&key) != Some(&what) {
            self.say(now, &format!("judge {process}"), || {
                format!("{policy}: {}", if what.is_empty() { "all well" } else { &what })
            });
            self.said.insert(key, what);
        }
    }
}
