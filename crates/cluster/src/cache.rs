//! Reduced copies of watched objects. An object is reduced when it arrives, so memory holds
//! only the fields that decisions read.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::warn;

/// How long a watch lasts before it is opened again, in seconds. A server that has stopped
/// answering is noticed five seconds after that.
const WATCH_SECONDS: u32 = 50;

/// Namespace (empty for cluster-scoped objects) and name.
pub type Key = (String, String);

/// By namespace and then by name, so that a read copies neither.
type Slots<T> = BTreeMap<String, BTreeMap<String, T>>;

/// Reduced copies of the objects of one kind. [`Cache::follow`] keeps them up to date.
///
/// # Guarantees
/// - No object is visible before the first complete list.
/// - After that, every read includes all events that have arrived.
/// - A new list replaces all objects at once.
#[derive(Debug)]
pub struct Cache<T> {
    kind: &'static str,
    slots: RwLock<Slots<T>>,
    version: AtomicU64,
    complete: watch::Sender<bool>,
}

impl<T: Clone> Cache<T> {
    /// An empty cache. `kind` is the name of the objects in logs.
    #[must_use]
    pub fn new(kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            slots: RwLock::default(),
            version: AtomicU64::new(0),
            complete: watch::Sender::new(false),
        })
    }

    /// Whether the first complete list has arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self.complete.borrow()
    }

    /// Waits for the first complete list.
    pub async fn until_complete(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.complete.subscribe().wait_for(|complete| *complete).await;
    }

    /// A number that changes with each change of the cache. To detect later changes, read the
    /// number *before* the objects.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<T> {
        self.read().get(namespace)?.get(name).cloned()
    }

    /// The results of `wanted` for the objects of one namespace, without `None`, ordered by
    /// name.
    pub fn select<U>(&self, namespace: &str, wanted: impl Fn(&T) -> Option<U>) -> Vec<U> {
        self.read().get(namespace).into_iter().flatten().filter_map(|(_, slim)| wanted(slim)).collect()
    }

    /// Makes an own write visible before the watch delivers it.
    pub fn put(&self, namespace: &str, name: &str, slim: T) {
        insert(&mut self.write(), (namespace.to_owned(), name.to_owned()), slim);
    }

    /// Follows a watch for as long as it is polled. `slim` reduces each object; `None` means
    /// that the object is not stored. After each change, `changed` gets the key. Errors are
    /// logged, and the watch continues with back-off.
    pub async fn follow<K>(
        self: Arc<Self>,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
        slim: impl Fn(&K) -> Option<T>,
        changed: impl Fn(&Key),
    ) where
        K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let events = events.default_backoff();
        futures::pin_mut!(events);
        let mut listed = Slots::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    if let Some(slim) = slim(&object) {
                        insert(&mut listed, key(&object), slim);
                    }
                }
                Ok(Event::InitDone) => {
                    let keys: Vec<Key> = keys(&listed);
                    *self.write() = std::mem::take(&mut listed);
                    self.complete.send_replace(true);
                    keys.iter().for_each(&changed);
                }
                Ok(Event::Apply(object)) => {
                    let key = key(&object);
                    match slim(&object) {
                        Some(slim) => insert(&mut self.write(), key.clone(), slim),
                        None => remove(&mut self.write(), &key),
                    }
                    changed(&key);
                }
                Ok(Event::Delete(object)) => {
                    let key = key(&object);
                    remove(&mut self.write(), &key);
                    changed(&key);
                }
                Err(error) if is_unknown_kind(&error) => warn!(kind = self.kind, "{}", UNKNOWN_KIND),
                Err(error) => warn!(kind = self.kind, %error, "watch failed, trying again"),
            }
        }
    }

    // After a panic under the lock the map is still consistent, because no operation under the
    // lock can stop half-way.
    fn read(&self) -> RwLockReadGuard<'_, Slots<T>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots<T>> {
        let slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that no read returns new objects with the old number.
        self.version.fetch_add(1, Ordering::Release);
        slots
    }
}

fn insert<T>(slots: &mut Slots<T>, (namespace, name): Key, slim: T) {
    slots.entry(namespace).or_default().insert(name, slim);
}

fn remove<T>(slots: &mut Slots<T>, (namespace, name): &Key) {
    if let Some(of_namespace) = slots.get_mut(namespace) {
        of_namespace.remove(name);
        if of_namespace.is_empty() {
            slots.remove(namespace);
        }
    }
}

fn keys<T>(slots: &Slots<T>) -> Vec<Key> {
    let of = |(namespace, objects): (&String, &BTreeMap<String, T>)| {
        objects.keys().map(|name| (namespace.clone(), name.clone())).collect::<Vec<_>>()
    };
    slots.iter().flat_map(of).collect()
}

const NOT_FOUND: u16 = 404;

/// The message for a kind that the API server does not know, with the fix.
pub const UNKNOWN_KIND: &str = "the API server does not know this kind: apply the CustomResourceDefinitions (kubectl apply -k crds); it is looked for again until then";

/// Whether a watch failed because the API server does not know the kind.
#[must_use]
pub fn is_unknown_kind(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        // By the code, because the server answers unknown paths in plain text.
        | WatchError(status) => status.code == NOT_FOUND,
        _ => false,
    }
}

/// How many objects one page of a list has. While a page is read, its whole objects are in
/// memory between the reduced ones, and their space stays fragmented.
const PAGE: u32 = 100;

/// The configuration of all watches.
#[must_use]
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

fn key<K: kube::Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    fn object(name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta { namespace: Some("n".into()), name: Some(name.into()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        }
    }

    async fn names_after(events: Vec<Event<ConfigMap>>) -> (bool, Vec<String>) {
        let cache = Cache::new("ConfigMap");
        let events = stream::iter(events.into_iter().map(Ok));
        Arc::clone(&cache).follow(events, |object| Some(object.name_any()), |_| {}).await;
        (cache.is_complete(), cache.select("n", |name| Some(name.clone())))
    }

    #[tokio::test]
    async fn an_incomplete_list_is_not_visible() {
        let (complete, names) = names_after(vec![Event::Init, Event::InitApply(object("a"))]).await;
        assert!(!complete);
        assert!(names.is_empty());
    }

    #[tokio::test]
    async fn a_new_list_replaces_all_objects() {
        let (complete, names) = names_after(vec![
            Event::Init,
            Event::InitApply(object("a")),
            Event::InitApply(object("b")),
            Event::InitDone,
            Event::Delete(object("a")),
            Event::Apply(object("c")),
            Event::Init,
            Event::InitApply(object("d")),
            Event::InitDone,
        ])
        .await;
        assert!(complete);
        assert_eq!(names, ["d"]);
    }
}
