//! Counts panics, also those that are caught: none may happen.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How many panics this thread has seen. A world runs on one thread.
pub(crate) fn count() -> u64 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            COUNT.with(|count| count.set(count.get() + 1));
            before(info);
        }));
    });
    COUNT.with(Cell::get)
}
