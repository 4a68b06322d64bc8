//! Stores equal values once.

use std::borrow::{Borrow, ToOwned};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Stores values that many objects share, for example the labels of a workload's pods, once
/// each. It has at most as many unused values as used ones, plus [`SPARE`].
#[derive(Debug)]
pub(crate) struct Pool<T: ?Sized>(Mutex<Values<T>>);

#[derive(Debug)]
struct Values<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// At this number of values, unused ones are dropped.
    swept_at: usize,
}

/// Fewer unused values than this are not worth a sweep.
const SPARE: usize = 64;

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Values { values: HashSet::new(), swept_at: SPARE }))
    }
}

impl<T: ?Sized + Eq + Hash + ToOwned> Pool<T>
where
    Arc<T>: From<T::Owned> + Borrow<T>,
{
    /// The stored value that equals `value`.
    pub(crate) fn of(&self, value: &T) -> Arc<T> {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Values { values, swept_at } = &mut *stored;
        if let Some(one) = values.get(value) {
            return Arc::clone(one);
        }
        if values.len() >= *swept_at {
            values.retain(|one| Arc::strong_count(one) > 1);
            *swept_at = 2 * values.len() + SPARE;
            values.shrink_to(*swept_at);
        }
        let one = Arc::from(value.to_owned());
        values.insert(Arc::clone(&one));
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_stored_once_and_unused_ones_are_dropped() {
        let pool = Pool::<str>::default();
        let (first, second) = (pool.of("web"), pool.of("web"));
        assert!(Arc::ptr_eq(&first, &second));
        let used: Vec<_> = (0..1000).map(|number| pool.of(&format!("used-{number}"))).collect();
        for number in 0..10_000 {
            drop(pool.of(&number.to_string()));
        }
        let stored = pool.0.lock().unwrap();
        assert!(["web", "used-0", "used-999"].iter().all(|one| stored.values.contains(*one)));
        let most = 2 * used.len() + 2 * SPARE;
        assert!(stored.values.len() <= most, "{} values, {} of them used", stored.values.len(), used.len());
        assert!(stored.values.capacity() < 2 * most, "{}", stored.values.capacity());
    }
}
