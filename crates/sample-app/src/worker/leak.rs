//! Memory that grows at a rate, up to a ceiling, and is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Refusal, Stop};
use crate::board::Active;
use crate::quantity::Size;

/// How often it grows: fine enough to look steady to any scrape.
const STEP: Duration = Duration::from_millis(50);

/// What is written into the memory, a piece at a time. Not zeros, which the
/// kernel could share between pages.
static FILL: [u8; 64 << 10] = [0xA5; 64 << 10];

/// Address space for the whole leak, of which pages are used one by one.
///
/// One large reservation, because the allocator of a small one may keep the
/// memory when it is freed: from 32 MiB up (glibc's highest
/// `M_MMAP_THRESHOLD`) it always goes back to the system at once.
pub(super) struct Leak {
    memory: Vec<u8>,
    rate: Size,
    ceiling: Size,
    began: Instant,
    ends: Option<Instant>,
    leaked: Arc<AtomicU64>,
}

impl Leak {
    const LEAST_RESERVATION: Size = Size::mebibytes(64);

    pub(super) fn reserve(rate: Size, ceiling: Size, active: &Active) -> Result<Self, Refusal> {
        let mut memory = Vec::new();
        let reservation = ceiling.max(Self::LEAST_RESERVATION).bytes();
        let reserved = usize::try_from(reservation).is_ok_and(|bytes| memory.try_reserve_exact(bytes).is_ok());
        if !reserved {
            return Err(Refusal::Reserve { ceiling: ceiling.to_string() });
        }
        let leaked = Arc::clone(&active.leaked);
        Ok(Self { memory, rate, ceiling, began: active.began, ends: active.ends, leaked })
    }

    pub(super) fn run(mut self, stop: &Stop) {
        loop {
            let now = Instant::now();
            if self.grow(self.wanted(now), stop) {
                return;
            }
            let over = self.ends.is_some_and(|ends| now >= ends);
            if over || self.held() >= self.ceiling.bytes() {
                return stop.wait();
            }
            if stop.within(STEP) {
                return;
            }
        }
    }

    /// Bytes that should be held by now.
    fn wanted(&self, now: Instant) -> u64 {
        let until = self.ends.map_or(now, |ends| now.min(ends));
        let milliseconds = until.saturating_duration_since(self.began).as_millis();
        let grown = u128::from(self.rate.bytes()).saturating_mul(milliseconds) / 1000;
        u64::try_from(grown).unwrap_or(u64::MAX).min(self.ceiling.bytes())
    }

    fn held(&self) -> u64 {
        self.leaked.load(Ordering::Relaxed)
    }

    /// Touches pages until that much is held. Says whether it was told to stop.
    fn grow(&mut self, wanted: u64, stop: &Stop) -> bool {
        while self.held() < wanted {
            let missing = usize::try_from(wanted - self.held()).unwrap_or(usize::MAX);
            let piece = FILL.get(..missing).unwrap_or(&FILL);
            self.memory.extend_from_slice(piece);
            self.leaked.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if stop.within(Duration::ZERO) {
                return true;
            }
        }
        false
    }
}
