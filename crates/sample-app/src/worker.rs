//! Threads that simulate what a board alone cannot: memory, processor, exit.
//!
//! Plain threads and not tasks: a burning or page-touching task would stall
//! the requests that share its runtime thread, which is a fault nobody asked for.

mod burn;
mod crash;
mod leak;

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::board::Active;
use crate::fault::Fault;

/// The threads of one fault. Dropping it ends them and waits until they have:
/// a leak's memory is free again when its worker has been dropped.
pub(crate) struct Worker {
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

/// Why a fault could not be begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("cannot reserve {ceiling} of address space; ask for a lower ceiling")]
    Reserve { ceiling: String },
    #[error("cannot start a thread: {0}; ask for fewer threads")]
    Thread(#[from] io::Error),
}

impl Worker {
    /// Begins the work of a fault; `None` for one that only changes answers.
    pub(crate) fn begin(active: &Active) -> Result<Option<Self>, Refusal> {
        let mut worker = Self { stop: Stop::default(), threads: Vec::new() };
        match active.order.fault {
            Fault::MemoryLeak { rate, ceiling } => {
                let leak = leak::Leak::reserve(rate, ceiling, active)?;
                worker.spawn(move |stop| leak.run(stop))?;
            }
            Fault::Cpu { percentage, threads } => {
                let ends = active.ends;
                for _ in 0..threads {
                    worker.spawn(move |stop| burn::run(percentage, ends, stop))?;
                }
            }
            Fault::Crash { code, delay } => {
                let ends = active.ends;
                worker.spawn(move |stop| crash::run(code, delay, ends, stop))?;
            }
            Fault::Errors { .. } | Fault::Latency { .. } | Fault::NotReady | Fault::Deadlock | Fault::Gauge { .. } => {
                return Ok(None);
            }
        }
        Ok(Some(worker))
    }

    fn spawn(&mut self, work: impl FnOnce(&Stop) + Send + 'static) -> io::Result<()> {
        let stop = self.stop.clone();
        self.threads.push(Builder::new().name("fault".to_owned()).spawn(move || work(&stop))?);
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.ring();
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too, and has said so on stderr.
            let _ = thread.join();
        }
    }
}

/// A bell that ends threads while they wait.
#[derive(Clone, Default)]
struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    fn ring(&self) {
        let (rung, bell) = &*self.0;
        *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
    }

    /// Waits that long, less when the bell rings. Says whether it has rung.
    fn within(&self, span: Duration) -> bool {
        let (rung, bell) = &*self.0;
        let rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = bell.wait_timeout_while(rung, span, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the bell rings.
    fn wait(&self) {
        let (rung, bell) = &*self.0;
        let rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
        drop(bell.wait_while(rung, |rung| !*rung));
    }
}
