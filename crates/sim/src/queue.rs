//! What is going to happen, in the order in which it will.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use jiff::Timestamp;

use crate::api_server::{Answer, Kind, Write};
use crate::objects::ActionObject;
use crate::process::{Caches, Task};
use crate::scenario::Happening;
use prunella_core::target::Uid;
use std::rc::Rc;

/// Everything that can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// Prometheus looks at its targets.
    Scrape,
    /// The checks that need time to pass.
    Audit,
    /// What the scenario wants to happen.
    Happens(Happening),
    /// A pod's grace period is over.
    PodGone(Uid),
    /// A workload makes another pod in place of this one.
    PodReplaced(Uid),
    /// A workload makes a pod that there was not before.
    PodAdded(usize),
    /// A workload goes on replacing the pods of an older template.
    RollsOut(usize),
    /// A pod passes its readiness.
    PodReady(Uid),
    /// A pod becomes unhealthy, or gets well.
    PodUnhealthy(Uid, bool),
    /// A write reaches the API server.
    Arrives(Box<Request>),
    /// A process that was killed is started again.
    Starts(usize),
    /// A process goes on; dropped when that life of it is over.
    Goes { process: usize, life: u32, step: Step },
}

/// What a process does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// It sees the changes of a kind, up to this place of the journal.
    Sees(Kind, usize),
    /// A list of the world that it asked for has arrived.
    Relists(Box<Caches>),
    /// It begins a pass, unless another wake-up came first.
    Wakes(Task, u64),
    /// The source has answered the judge's query, or has not in time.
    Hears(String),
    /// The executor has read this action, and reads the world around it.
    Surveys(Rc<ActionObject>),
    /// A write goes out.
    Sends(Box<Request>),
    /// It learns what became of a write.
    Learns(Box<Request>, Answer),
}

/// A write on its way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) task: Task,
    pub(crate) write: Write,
    /// When the world was read that led to it.
    pub(crate) decided: Timestamp,
    /// What becomes of the answer; known once it was sent.
    pub(crate) reply: Reply,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It comes back after this time.
    Back(jiff::SignedDuration),
    /// It never does; the sender was or will be told so.
    Lost,
    /// The sender is killed before it comes back.
    Killed,
}

/// Events in the order of their times; at one time, in the order they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    order: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Timestamp, event: Event) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at, order: self.count, event }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Timestamp, Event)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}
