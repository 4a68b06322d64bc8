//! All objects, and every change of them: so a list can be of an earlier version, and a watch can
//! start at one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::KindIndex;
use super::refusal::Refusal;

/// How many changes are kept. A watch or a list of an older version is answered with 410.
const KEPT_CHANGES: usize = 10_000;

/// Kind, namespace (empty for cluster-scoped objects) and name.
pub(super) type ObjectKey = (KindIndex, String, String);

/// Objects by their keys.
pub(super) type Objects = BTreeMap<ObjectKey, Arc<Value>>;

/// One change of one object.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The version that the change made.
    pub(super) version: u64,
    pub(super) key: ObjectKey,
    /// `None`: it was created.
    pub(super) before: Option<Arc<Value>>,
    /// `None`: it was deleted.
    pub(super) after: Option<Arc<Value>>,
}

/// The objects and their history.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: Objects,
    changes: VecDeque<Change>,
    /// The version of the newest change. One counter for all kinds, as in etcd.
    version: u64,
    /// The oldest version of which everything after it is known.
    oldest: u64,
    /// How many objects each key has had.
    generations: BTreeMap<ObjectKey, u64>,
    /// What each field manager has applied to the status of an object.
    applied: BTreeMap<(ObjectKey, String), Value>,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a kind, ordered by namespace and name.
    pub(super) fn all(&self, kind: KindIndex) -> impl Iterator<Item = (&ObjectKey, &Arc<Value>)> {
        self.objects.range((kind, String::new(), String::new())..(kind + 1, String::new(), String::new()))
    }

    /// Creates or replaces an object: gives it the next version, and tells the watches.
    pub(super) fn put(&mut self, key: ObjectKey, mut object: Value) -> Arc<Value> {
        self.version += 1;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        }
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        if before.is_none() {
            *self.generations.entry(key.clone()).or_default() += 1;
        }
        self.record(key, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object. The watches show it as it was, with the version of its removal.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        let Some(last) = self.objects.remove(key) else { return };
        self.version += 1;
        self.applied.retain(|(of, _), _| of != key);
        self.record(key.clone(), Some(last), None);
    }

    fn record(&mut self, key: ObjectKey, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.changes.push_back(Change { version: self.version, key, before, after });
        while self.changes.len() > KEPT_CHANGES {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.oldest = change.version;
        }
    }

    /// Forgets all changes, as a compaction of etcd does.
    pub(super) fn compact(&mut self) {
        while !self.changes.is_empty() {
            self.forget_oldest();
        }
    }

    /// The changes after `version`.
    ///
    /// # Errors
    /// 410: they are not all known any more.
    pub(super) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Refusal> {
        if version < self.oldest {
            return Err(Refusal::expired(&format!("too old resource version: {version} ({})", self.oldest)));
        }
        let first = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(first..))
    }

    /// All objects of a kind, as they were at `version`.
    ///
    /// # Errors
    /// 410: it is too old. 504: it does not exist yet.
    pub(super) fn at(&self, kind: KindIndex, version: u64) -> Result<Objects, Refusal> {
        if version > self.version {
            return Err(Refusal::too_large_version(version, self.version));
        }
        let mut objects: Objects = self.all(kind).map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        let later: Vec<&Change> = self.since(version)?.filter(|change| change.key.0 == kind).collect();
        for change in later.into_iter().rev() {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        Ok(objects)
    }

    /// How many objects this key has had before: distinguishes the uids of a recreated object.
    pub(super) fn generation(&self, key: &ObjectKey) -> u64 {
        self.generations.get(key).copied().unwrap_or_default()
    }

    /// What a manager applied before, after recording what it applies now.
    pub(super) fn apply(&mut self, key: &ObjectKey, manager: &str, applied: Value) -> Option<Value> {
        self.applied.insert((key.clone(), manager.to_owned()), applied)
    }
}
