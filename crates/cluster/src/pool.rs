//! Equal values kept once.

use std::borrow::{Borrow, ToOwned};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Values that many objects have in common, like the labels of a workload's pods: each is
/// kept once, for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct Pool<T: ?Sized>(Mutex<HashSet<Arc<T>>>);

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: ?Sized + Eq + Hash + ToOwned> Pool<T>
where
    Arc<T>: From<T::Owned> + Borrow<T>,
{
    /// The one that equals `value`.
    pub(crate) fn of(&self, value: &T) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = kept.get(value) {
            return Arc::clone(one);
        }
        if kept.len() == kept.capacity() {
            kept.retain(|one| Arc::strong_count(one) > 1);
            // Room for as many again, so that not every new one comes by here.
            let room = kept.len();
            kept.reserve(room);
        }
        let one = Arc::from(value.to_owned());
        kept.insert(Arc::clone(&one));
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_what_nobody_has_goes() {
        let pool = Pool::<str>::default();
        let (first, second) = (pool.of("web"), pool.of("web"));
        assert!(Arc::ptr_eq(&first, &second));
        for number in 0..10_000 {
            drop(pool.of(&number.to_string()));
        }
        let kept = pool.0.lock().unwrap();
        assert!(kept.contains("web"));
        assert!(kept.len() < 100, "{} are kept of one that somebody has", kept.len());
    }
}
