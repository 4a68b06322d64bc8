//! Equal values kept once.

use std::borrow::{Borrow, ToOwned};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Values that many objects have in common, like the labels of a workload's pods: each is
/// kept once. Of those that nobody has any more there are never more than of the others,
/// and [`SPARE`].
#[derive(Debug)]
pub(crate) struct Pool<T: ?Sized>(Mutex<Kept<T>>);

#[derive(Debug)]
struct Kept<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// At how many those that nobody has are dropped.
    swept_at: usize,
}

/// So few are not worth a sweep.
const SPARE: usize = 64;

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept { values: HashSet::new(), swept_at: SPARE }))
    }
}

impl<T: ?Sized + Eq + Hash + ToOwned> Pool<T>
where
    Arc<T>: From<T::Owned> + Borrow<T>,
{
    /// The one that equals `value`.
    pub(crate) fn of(&self, value: &T) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { values, swept_at } = &mut *kept;
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
    fn equal_values_are_one_and_what_nobody_has_goes() {
        let pool = Pool::<str>::default();
        let (first, second) = (pool.of("web"), pool.of("web"));
        assert!(Arc::ptr_eq(&first, &second));
        let had: Vec<_> = (0..1000).map(|number| pool.of(&format!("had-{number}"))).collect();
        for number in 0..10_000 {
            drop(pool.of(&number.to_string()));
        }
        let kept = pool.0.lock().unwrap();
        assert!(["web", "had-0", "had-999"].iter().all(|one| kept.values.contains(*one)));
        let most = 2 * had.len() + 2 * SPARE;
        assert!(kept.values.len() <= most, "{} are kept, of which {} are had", kept.values.len(), had.len());
        assert!(kept.values.capacity() < 2 * most, "{}", kept.values.capacity());
    }
}
