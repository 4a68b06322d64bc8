//! The one place where faults begin and end: keeps board, workers and state
//! file in step.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use crate::board::{Active, Board};
use crate::fault::{Kind, Order};
use crate::state_file::{Failure, StateFile};
use crate::worker::{self, Worker};

pub(crate) struct Simulator {
    board: watch::Sender<Board>,
    /// Held through every change, so that changes come one after the other.
    workers: Mutex<Workers>,
    state_file: Option<StateFile>,
}

type Workers = BTreeMap<Kind, Worker>;

/// Why a fault was not begun or not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("sticky needs a folder that outlives the process; start with --state-dir or STATE_DIR on a volume")]
    NoStateFolder,
    #[error(transparent)]
    Worker(#[from] worker::Refusal),
    #[error(transparent)]
    StateFile(#[from] Failure),
}

impl Simulator {
    pub(crate) fn new(state_file: Option<StateFile>) -> Self {
        Self { board: watch::Sender::new(Board::default()), workers: Mutex::default(), state_file }
    }

    /// Begins again what outlived the process before, and returns it.
    pub(crate) fn resume(&self, now: Instant, wall: SystemTime) -> Result<Vec<Order>, Refusal> {
        let Some(state_file) = &self.state_file else { return Ok(Vec::new()) };
        let mut workers = self.workers();
        let mut board = Board::default();
        let mut resumed = Vec::new();
        for (order, asked) in state_file.load()? {
            let Some(active) = Active::begin(order.clone(), asked, now, wall) else { continue };
            put(&mut workers, order.fault.kind(), Worker::begin(&active)?);
            board = board.with(active, now);
            resumed.push(order);
        }
        // Once for all of them: written one by one, a crash fault could leave
        // a file without the rest.
        state_file.save(board.on(now))?;
        self.board.send_replace(board);
        Ok(resumed)
    }

    /// Begins a fault, in place of one of the same kind. Blocks: it writes the
    /// state file and waits for the threads of the fault it replaces.
    pub(crate) fn begin(&self, order: Order, now: Instant, wall: SystemTime) -> Result<(), Refusal> {
        if order.sticky && self.state_file.is_none() {
            return Err(Refusal::NoStateFolder);
        }
        let kind = order.fault.kind();
        let Some(active) = Active::begin(order, wall, now, wall) else { return Ok(()) };
        let mut workers = self.workers();
        let worker = Worker::begin(&active)?;
        let board = self.board.borrow().with(active, now);
        // On failure the worker just begun is dropped, and so undone. A crash
        // cannot come before the file is written: it has a least delay.
        self.save(&board, now)?;
        put(&mut workers, kind, worker);
        self.board.send_replace(board);
        Ok(())
    }

    /// Ends all faults. Blocks until memory is free and threads have ended.
    pub(crate) fn reset(&self, now: Instant) -> Result<(), Refusal> {
        let mut workers = self.workers();
        self.save(&Board::default(), now)?;
        self.board.send_replace(Board::default());
        workers.clear();
        Ok(())
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, board: &Board, now: Instant) -> Result<(), Failure> {
        self.state_file.as_ref().map_or(Ok(()), |state_file| state_file.save(board.on(now)))
    }

    /// What is simulated. To be held only for a moment: changes wait for it.
    pub(crate) fn board(&self) -> watch::Ref<'_, Board> {
        self.board.borrow()
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }
}

/// In place of the worker of the fault before, which ends here.
fn put(workers: &mut Workers, kind: Kind, worker: Option<Worker>) {
    match worker {
        Some(worker) => workers.insert(kind, worker),
        None => workers.remove(&kind),
    };
}
