//! Between a process and the API server: a write goes out, arrives or does not, and
//! its sender learns of it or does not.

use jiff::SignedDuration;
use prunella_core::time::after;

use super::World;
use crate::api_server::{Answer, Write};
use crate::faults::Fate;
use crate::process::Process;
use crate::queue::{Event, Reply, Request, Step};

impl World<'_> {
    pub(super) fn sends(&mut self, request: Request) {
        let process = request.process;
        match self.weather.fate(&mut self.dice) {
            Fate::KilledBefore => {
                self.trace.say(self.now, "network", || format!("{process} would send {}", words(&request.write)));
                self.kill(process, "before it sends");
            }
            Fate::Refused(told) => {
                self.trace.say(self.now, "network", || format!("{process} is refused {}", words(&request.write)));
                self.learns(request, Answer::Refused, told);
            }
            Fate::Travels { arrives, reply, given_up } => {
                self.trace.say(self.now, "network", || match (arrives, reply) {
                    (None, _) => format!("{process} sends {}, which never arrives", words(&request.write)),
                    (Some(_), Reply::Back(_)) => format!("{process} sends {}", words(&request.write)),
                    (Some(time), _) => {
                        format!("{process} sends {}, arrives in {time:#}, answer lost", words(&request.write))
                    }
                });
                let request = Request { reply, ..request };
                if let Some(told) = given_up {
                    self.check.tally.untold += 1;
                    self.learns(request.clone(), Answer::Lost, told);
                }
                if let Some(time) = arrives {
                    self.queue.push(after(self.now, time), Event::Arrives(Box::new(request)));
                }
            }
        }
    }

    pub(super) fn arrives(&mut self, request: Request) {
        let before = match &request.write {
            Write::Replace { name, .. } => self.api.actions.get(name).cloned(),
            _ => None,
        };
        let had_effect = match &request.write {
            Write::Evict { pod, uid: _, .. } => {
                self.api.pods.get(pod).filter(|pod| !pod.terminating).map(|pod| pod.object.uid.clone())
            }
            _ => None,
        };
        let whole = match &request.write {
            Write::Restart { action, .. } | Write::Scale { action, .. } => self.api.workload(&action.spec.subject.uid),
            _ => None,
        };
        let answer = self.api.apply(&request.write, self.now);
        self.trace.say(self.now, "api server", || {
            format!("{} of {}: {}", words(&request.write), request.process, answer_words(&answer))
        });
        match (&request.write, &answer) {
            (Write::Create { .. }, Answer::Written(action)) => {
                self.check.created(self.now, action, &self.api, &self.prometheus);
            }
            (Write::Create { .. }, _) => self.check.tally.collisions += 1,
            (Write::Replace { .. }, Answer::Written(action)) => {
                if let Some(before) = before {
                    let pair = [&*before, &**action];
                    self.check.replaced(self.now, request.decided, pair, &self.api, &self.prometheus);
                }
            }
            (Write::Replace { .. }, _) => self.check.tally.conflicts += 1,
            (Write::Evict { action, grace, .. }, Answer::Done) => {
                if let Some(uid) = had_effect {
                    self.check.changed(self.now, &request, action, &uid, &self.api, &self.prometheus);
                    self.pod_leaves(&uid, *grace);
                }
            }
            (Write::Restart { action, .. }, Answer::Done) => {
                let changed = whole.filter(|(at, before)| before.template != self.api.workloads[*at].template);
                if let Some((at, before)) = changed {
                    self.check.changed(self.now, &request, action, &before.object.uid, &self.api, &self.prometheus);
                    self.restarted(at);
                }
            }
            (Write::Scale { action, from, to, .. }, Answer::Done) => {
                if let Some((at, before)) = whole {
                    self.check.changed(self.now, &request, action, &before.object.uid, &self.api, &self.prometheus);
                    self.scaled(at, *from, *to);
                }
            }
            (Write::Evict { .. }, Answer::TooManyRequests) => self.check.tally.refused_by_budget += 1,
            (Write::Evict { .. } | Write::Restart { .. } | Write::Scale { .. }, _) => self.check.tally.missed += 1,
            (Write::Tell { .. }, _) => self.check.tally.told += 1,
            (Write::Collect { .. }, _) => {}
        }
        match request.reply {
            Reply::Back(time) => self.learns(request, answer, time),
            Reply::Lost => {}
            Reply::Killed => {
                let Process { life, .. } = self.processes[request.process];
                if life == request.life {
                    self.kill(request.process, "before the answer");
                }
            }
        }
    }

    fn learns(&mut self, request: Request, answer: Answer, after_time: SignedDuration) {
        let (process, life) = (request.process, request.life);
        let step = Step::Learns(Box::new(request), answer);
        self.queue.push(after(self.now, after_time), Event::Goes { process, life, step });
    }
}

fn words(write: &Write) -> String {
    match write {
        Write::Create { name, spec } => {
            format!("the reservation {name} of {} ({}/{})", spec.target.name, spec.step, spec.attempt)
        }
        Write::Replace { name, revision, status } => {
            let blocked = if status.blocked { ", blocked" } else { "" };
            format!("{name} → {}{blocked} over version {revision}", status.state().as_str())
        }
        Write::Evict { action, pod, .. } => format!("the eviction of {pod} for {}", action.name),
        Write::Restart { action, .. } => format!("the restart of {} for {}", action.spec.subject, action.name),
        Write::Scale { action, from, to, .. } => {
            format!("the scaling of {} from {from} to {to} for {}", action.spec.subject, action.name)
        }
        Write::Tell { policy, .. } => format!("the status of {policy}"),
        Write::Collect { name } => format!("the end of {name}"),
    }
}

fn answer_words(answer: &Answer) -> &'static str {
    match answer {
        Answer::Written(_) | Answer::Done => "done",
        Answer::AlreadyExists => "the name is taken",
        Answer::Conflict => "it is another by now",
        Answer::NotFound => "not found",
        Answer::TooManyRequests => "a disruption budget allows none",
        Answer::Refused => "refused",
        Answer::Lost => "lost",
    }
}
