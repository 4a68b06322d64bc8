//! News of a sick pod, from whoever knows first: the pods, the policy's Events,
//! the `HealingAction`s, and Prometheus.

use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use prunella_api::{HealingAction, REPORTING_CONTROLLER};

use crate::ground::{Ground, NAMESPACE};
use crate::install::Policy;
use crate::prometheus::Prometheus;

/// How often Prometheus is asked; half of what would show in a time.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Something was seen.
#[derive(Debug)]
pub(crate) enum News {
    /// A pod of the namespace, as it is now.
    Pod(Box<Pod>),
    /// The controller says something.
    Event(Box<Event>),
    /// An action, as it is now.
    Action(Box<HealingAction>),
    /// The sick pod's value, over the bound.
    Value(f64),
}

/// All news, for as long as they are asked for.
pub(crate) fn news(ground: &Ground, policy: &Policy, pod: &str) -> BoxStream<'static, News> {
    let client = &ground.client;
    let pods = objects::<Pod>(Api::namespaced(client.clone(), NAMESPACE)).map(|pod| News::Pod(Box::new(pod)));
    let events = objects::<Event>(Api::namespaced(client.clone(), NAMESPACE))
        .filter(|event| {
            let ours = event.reporting_controller.as_deref() == Some(REPORTING_CONTROLLER);
            async move { ours }
        })
        .map(|event| News::Event(Box::new(event)));
    let actions = objects::<HealingAction>(Api::namespaced(client.clone(), NAMESPACE))
        .map(|action| News::Action(Box::new(action)));
    let values = match policy.prometheus.clone() {
        Some((prometheus, _)) => values(prometheus, policy.query.clone(), pod.to_owned()).map(News::Value).boxed(),
        None => stream::empty().boxed(),
    };
    stream::select_all([pods.boxed(), events.boxed(), actions.boxed(), values]).boxed()
}

/// Objects as they are and as they become. A watch that breaks begins again.
fn objects<K>(api: Api<K>) -> impl Stream<Item = K> + Send
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .filter_map(|object| async move { object.ok() })
}

/// The pod's value, whenever the query returns it.
fn values(prometheus: Prometheus, query: String, pod: String) -> impl Stream<Item = f64> + Send {
    stream::unfold((prometheus, query, pod), |(prometheus, query, pod)| async move {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let answer = prometheus.by_pod(&query).await.unwrap_or_default();
            if let Some(value) = answer.get(&pod) {
                return Some((*value, (prometheus, query, pod)));
            }
        }
    })
}
