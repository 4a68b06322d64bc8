//! What is to happen to which requests: a value, so that a test can write it
//! down, and the counting of what came by.

use super::request::Asked;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What is to happen to some requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Which requests are counted. [default: every change]
    #[serde(default)]
    pub on: On,
    /// The first of them that is meant, counted from when the rule is armed.
    #[serde(default = "once")]
    pub nth: u32,
    /// How many from there on.
    #[serde(default = "once")]
    pub times: u32,
    /// What becomes of it.
    pub fate: Fate,
    /// Who is killed at that point: before the request arrives, or after it
    /// took effect and before its answer.
    #[serde(default)]
    pub kill: Option<Kill>,
}

/// Which requests: those of which all is true that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct On {
    /// Its number.
    pub number: Option<u64>,
    /// Its method. Without one, changes only.
    pub method: Option<String>,
    /// Its resource, such as `pods/eviction`.
    pub resource: Option<String>,
    /// A part of its path and query.
    pub path: Option<String>,
    /// A part of its body.
    pub body: Option<String>,
    /// Where it comes from.
    pub peer: Option<IpAddr>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It never arrives, and the connection is closed.
    Swallow,
    /// It takes effect, and the connection is closed instead of an answer.
    ApplyThenDrop,
    /// It never arrives, and is answered with this status.
    Answer(u16),
    /// It takes effect, and is answered with this status.
    ApplyThenAnswer(u16),
    /// It is kept back, then passed on, whether its client still waits or not.
    Stall {
        /// For so long; until released if not given.
        millis: Option<u64>,
    },
    /// It takes effect, and its answer is kept back.
    ApplyThenStall {
        /// For so long; until released if not given.
        millis: Option<u64>,
    },
    /// It never arrives, and every connection of the proxy is closed.
    Cut,
}

impl Fate {
    /// Whether it arrives before anything else happens.
    pub(super) fn applies_first(self) -> bool {
        matches!(self, Self::ApplyThenDrop | Self::ApplyThenAnswer(_) | Self::ApplyThenStall { .. })
    }
}

/// Who is killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kill {
    /// This process of the host, by SIGKILL.
    Pid(i32),
    /// Whoever this command kills: a program and its arguments.
    Command(Vec<String>),
}

fn once() -> u32 {
    1
}

impl Rule {
    /// What becomes of the first request that this names.
    #[must_use]
    pub fn new(on: On, fate: Fate) -> Self {
        Self { on, nth: 1, times: 1, fate, kill: None }
    }

    /// The same, and a process is killed at that point.
    #[must_use]
    pub fn killing(self, pid: i32) -> Self {
        Self { kill: Some(Kill::Pid(pid)), ..self }
    }
}

impl On {
    fn names(&self, number: Option<u64>, asked: &Asked, body: &[u8], peer: IpAddr) -> bool {
        let method = match &self.method {
            Some(method) => asked.method.eq_ignore_ascii_case(method),
            None => asked.is_change(),
        };
        method
            && self.number.is_none_or(|wanted| number == Some(wanted))
            && self.resource.as_ref().is_none_or(|resource| asked.resource == *resource)
            && self.path.as_ref().is_none_or(|part| asked.path.contains(part))
            && self.body.as_ref().is_none_or(|part| contains(body, part.as_bytes()))
            && self.peer.is_none_or(|wanted| wanted == peer)
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// The rules that are set, and what they have counted.
#[derive(Debug)]
pub(super) struct Script {
    uncounted: Vec<String>,
    numbered: u64,
    next: u64,
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    rule: Rule,
    seen: u32,
    hits: u32,
    live: bool,
}

/// What is to happen to one request, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) rule: u64,
    pub(super) fate: Fate,
    pub(super) kill: Option<Kill>,
}

impl Script {
    pub(super) fn new(uncounted: Vec<String>) -> Self {
        Self { uncounted, numbered: 0, next: 0, armed: Vec::new() }
    }

    pub(super) fn arm(&mut self, rule: Rule) -> u64 {
        self.next += 1;
        self.armed.push(Armed { id: self.next, rule, seen: 0, hits: 0, live: true });
        self.next
    }

    /// Rules that are over are still asked about.
    pub(super) fn disarm(&mut self) {
        for armed in &mut self.armed {
            armed.live = false;
        }
    }

    pub(super) fn hits(&self, id: u64) -> u32 {
        self.armed.iter().find(|armed| armed.id == id).map_or(0, |armed| armed.hits)
    }

    pub(super) fn hit(&mut self, id: u64) {
        if let Some(armed) = self.armed.iter_mut().find(|armed| armed.id == id) {
            armed.hits += 1;
        }
    }

    /// Numbers a request, counts it in every rule that names it, and gives
    /// the order of the first rule that is due.
    pub(super) fn meet(&mut self, asked: &Asked, body: &[u8], peer: IpAddr) -> (Option<u64>, Option<Order>) {
        if self.uncounted.iter().any(|plural| plural == asked.plural()) {
            return (None, None);
        }
        let number = asked.is_change().then(|| {
            self.numbered += 1;
            self.numbered
        });
        let mut order = None;
        for Armed { id, rule, seen, live, .. } in self.armed.iter_mut().filter(|armed| armed.live) {
            if !rule.on.names(number, asked, body, peer) {
                continue;
            }
            *seen += 1;
            let end = rule.nth.saturating_add(rule.times);
            *live = *seen + 1 < end;
            if order.is_none() && (rule.nth..end).contains(seen) {
                order = Some(Order { rule: *id, fate: rule.fate, kill: rule.kill.clone() });
            }
        }
        (number, order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn meet(script: &mut Script, method: &str, path: &str) -> (Option<u64>, Option<u64>) {
        let (number, order) = script.meet(&Asked::new(method, path), b"{\"state\":\"Running\"}", PEER);
        (number, order.map(|order| order.rule))
    }

    #[test]
    fn changes_are_numbered_and_what_comes_by_the_clock_is_not() {
        let mut script = Script::new(vec!["leases".into()]);
        let rule = script.arm(Rule::new(On::default(), Fate::Cut));
        assert_eq!(meet(&mut script, "GET", "/api/v1/pods"), (None, None));
        assert_eq!(meet(&mut script, "PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"), (None, None));
        assert_eq!(meet(&mut script, "POST", "/api/v1/namespaces/a/pods"), (Some(1), Some(rule)));
        assert_eq!(meet(&mut script, "POST", "/api/v1/namespaces/a/pods"), (Some(2), None));
    }

    #[test]
    fn a_rule_is_meant_for_the_nth_and_so_many_more() {
        let mut script = Script::new(Vec::new());
        let on = On { resource: Some("pods".into()), body: Some("Running".into()), ..On::default() };
        let rule = script.arm(Rule { nth: 2, times: 2, ..Rule::new(on, Fate::Swallow) });
        let mut due = Vec::new();
        for path in ["/api/v1/pods/a", "/api/v1/nodes/a", "/api/v1/pods/b", "/api/v1/pods/c", "/api/v1/pods/d"] {
            due.push(meet(&mut script, "DELETE", path).1 == Some(rule));
        }
        assert_eq!(due, [false, false, true, true, false]);
    }

    #[test]
    fn a_script_is_written_as_json() {
        let text = r#"[
            {"on": {"resource": "pods/eviction"}, "nth": 2, "fate": "applyThenDrop", "kill": {"pid": 7}},
            {"on": {"number": 3}, "fate": {"answer": 429}},
            {"on": {"method": "PATCH"}, "times": 5, "fate": {"stall": {"millis": 500}}},
            {"fate": {"stall": {}}, "kill": {"command": ["kill", "-9", "7"]}}
        ]"#;
        let rules: Vec<Rule> = serde_json::from_str(text).unwrap();
        assert_eq!(rules[0].fate, Fate::ApplyThenDrop);
        assert_eq!((rules[0].nth, rules[0].kill.clone()), (2, Some(Kill::Pid(7))));
        assert_eq!(rules[3].fate, Fate::Stall { millis: None });
        serde_json::from_str::<Rule>(r#"{"fate": "swallow", "onn": {}}"#).unwrap_err();
    }
}
