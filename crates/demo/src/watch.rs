//! Watches everything that shows the progress of a heal: pods, their Deployment, the policies'
//! Events, the `HealingAction`s, and Prometheus.

use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use prunella_api::{HealingAction, REPORTING_CONTROLLER};

use crate::ground::{Ground, NAMESPACE};
use crate::prometheus::Prometheus;

/// The time between two queries to Prometheus. The timeline shows tenths of a second.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Something that was observed.
#[derive(Debug)]
pub(crate) enum News {
    /// A pod of the namespace.
    Pod(Box<Pod>),
    /// A Deployment of the namespace.
    Deployment(Box<Deployment>),
    /// An Event of the controller.
    Event(Box<Event>),
    /// An action.
    Action(Box<HealingAction>),
    /// The value of the query for the unhealthy target.
    Value(f64),
}

/// All news, as long as the stream is read. Values come from the series that name the pod, or
/// that name no pod.
pub(crate) fn news(
    ground: &Ground,
    prometheus: Option<&Prometheus>,
    query: &str,
    pod: &str,
) -> BoxStream<'static, News> {
    let client = &ground.client;
    let pods = objects::<Pod>(Api::namespaced(client.clone(), NAMESPACE)).map(|pod| News::Pod(Box::new(pod)));
    let deployments = objects::<Deployment>(Api::namespaced(client.clone(), NAMESPACE))
        .map(|deployment| News::Deployment(Box::new(deployment)));
    let events = objects::<Event>(Api::namespaced(client.clone(), NAMESPACE))
        .filter(|event| {
            let ours = event.reporting_controller.as_deref() == Some(REPORTING_CONTROLLER);
            async move { ours }
        })
        .map(|event| News::Event(Box::new(event)));
    let actions = objects::<HealingAction>(Api::namespaced(client.clone(), NAMESPACE))
        .map(|action| News::Action(Box::new(action)));
    let values = match prometheus {
        Some(prometheus) => values(prometheus.clone(), query.to_owned(), pod.to_owned()).map(News::Value).boxed(),
        None => stream::empty().boxed(),
    };
    stream::select_all([pods.boxed(), deployments.boxed(), events.boxed(), actions.boxed(), values]).boxed()
}

/// The objects, and every change of them. A watch that breaks is started again.
fn objects<K>(api: Api<K>) -> impl Stream<Item = K> + Send
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .filter_map(|object| async move { object.ok() })
}

/// The value, each time that the query returns it.
fn values(prometheus: Prometheus, query: String, pod: String) -> impl Stream<Item = f64> + Send {
    stream::unfold((prometheus, query, pod), |(prometheus, query, pod)| async move {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let answer = prometheus.by_pod(&query).await.unwrap_or_default();
            // A series without a pod is about all pods.
            if let Some(value) = answer.get(&pod).or_else(|| answer.get("")) {
                return Some((*value, (prometheus, query, pod)));
            }
        }
    })
}
