//! What the controllers of the cluster do to objects. They are part of the world, and send no requests: only
//! the requests of the controller under test are in the log.

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::store::Store;
use super::write::{Part, WriteContext};
use super::{ApiServer, evict};

impl ApiServer {
    /// All objects of a kind, ordered by namespace and name.
    pub(crate) fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let Some((index, _)) = self.shared.kinds.of::<K>() else { return Vec::new() };
        self.shared.store().all(index).filter_map(|(_, object)| evict::typed(object).ok()).collect()
    }

    /// Creates an object. `false`: there is one already, or it is not valid.
    pub(crate) fn put_new<K>(&self, object: &K) -> bool
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let namespace = object.namespace().unwrap_or_default();
        self.write::<K, _>(|store, context| {
            self.create(store, context, &namespace, evict::untyped(object)?).map(|_| ())
        })
        .is_ok()
    }

    /// Writes an object and its status as they are, if it has not changed meanwhile.
    pub(crate) fn put<K>(&self, object: &K) -> bool
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        self.write::<K, _>(|store, context| {
            let key = context.key(&namespace, &name);
            let mut whole = evict::untyped(object)?;
            let written = context.replace(store, &key, whole.clone(), Part::Main)?;
            if context.kind.has_status {
                let version = written.object().pointer("/metadata/resourceVersion").cloned();
                if let Some(metadata) = whole.get_mut("metadata") {
                    metadata["resourceVersion"] = version.unwrap_or_default();
                }
                context.replace(store, &key, whole, Part::Status)?;
            }
            Ok(())
        })
        .is_ok()
    }

    /// Deletes an object. `grace`: in seconds, for a pod.
    pub(crate) fn remove<K>(&self, object: &K, grace: Option<i64>) -> bool
    where
        K: Resource<DynamicType = ()>,
    {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let options = grace.map_or(json!({}), |grace| json!({"gracePeriodSeconds": grace}));
        self.write::<K, _>(|store, context| {
            context.delete(store, &context.key(&namespace, &name), &options).map(|_| ())
        })
        .is_ok()
    }

    /// Creates the object of a manifest in `namespace`, unless it names another one.
    ///
    /// # Errors
    /// Why the API server refuses it.
    pub(crate) fn apply(&self, namespace: &str, manifest: &Value) -> Result<(), String> {
        let Some((index, kind)) = self.shared.kinds.of_manifest(manifest) else {
            return Err(format!("this API server does not serve the kind {}", manifest["kind"]));
        };
        let namespace = manifest.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or(namespace);
        let namespace = if kind.namespaced { namespace } else { "" };
        let mut store = self.shared.store();
        let version = store.version();
        let created = self.create(&mut store, &self.context(index, kind), namespace, manifest.clone());
        self.shared.publish(&store, version, None);
        created.map(|_| ()).map_err(|refusal| refusal.status()["message"].as_str().unwrap_or_default().to_owned())
    }

    fn write<K, T>(
        &self,
        change: impl FnOnce(&mut Store, &WriteContext<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal>
    where
        K: Resource<DynamicType = ()>,
    {
        let (index, kind) = self.shared.kinds.of::<K>().ok_or_else(|| Refusal::unsupported(&K::kind(&())))?;
        let mut store = self.shared.store();
        let version = store.version();
        let changed = change(&mut store, &self.context(index, kind));
        self.shared.publish(&store, version, None);
        changed
    }
}
