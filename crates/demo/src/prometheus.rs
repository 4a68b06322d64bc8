//! Queries Prometheus independently of the controller, so that the demo does not rely on what
//! the controller reports.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kube::{Api, Client};
use prunella_api::ClusterPrometheusSource;
use reqwest::Url;
use serde_json::Value;

use crate::ground::NAMESPACE;

const DEADLINE: Duration = Duration::from_secs(5);

/// A way to query Prometheus.
#[derive(Clone)]
pub(crate) enum Prometheus {
    /// At its URL.
    Direct(reqwest::Client, Url),
    /// Through the API server's proxy for the Service with this path. The URL of a source
    /// usually works only in the cluster.
    Proxied(Client, String),
}

impl Prometheus {
    /// At a URL that works from this machine.
    ///
    /// # Errors
    /// When it is not a URL.
    pub(crate) fn at(url: &str) -> Result<Self> {
        let client = reqwest::Client::builder()
            // The default loads the system's certificates, which plain HTTP does not need.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self::Direct(client, Url::parse(url).with_context(|| format!("{url} is not a URL"))?))
    }

    /// The default source of policies.
    ///
    /// # Errors
    /// When it does not exist, or is not a Service of the cluster.
    pub(crate) async fn of_default_source(client: &Client) -> Result<Self> {
        let api: Api<ClusterPrometheusSource> = Api::all(client.clone());
        let source = api.get("default").await.context("there is no ClusterPrometheusSource named default")?;
        let path = service_path(&source.spec.url).with_context(|| {
            format!("{} is not a Service of this cluster, so the demo cannot query it", source.spec.url)
        })?;
        Ok(Self::Proxied(client.clone(), path))
    }

    /// The series of the demo's namespace that a query returns, by pod. A series without a pod has
    /// an empty name. Policies need not name their namespace, so their queries here return all.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn by_pod(&self, query: &str) -> Result<BTreeMap<String, f64>> {
        let answer = self.ask(query).await?;
        let series = answer["data"]["result"].as_array().context("the answer of Prometheus has no list of series")?;
        let is_own = |one: &&Value| one["metric"]["namespace"].as_str().is_none_or(|namespace| namespace == NAMESPACE);
        Ok(series
            .iter()
            .filter(is_own)
            .filter_map(|one| {
                let pod = one["metric"]["pod"].as_str().unwrap_or_default();
                Some((pod.to_owned(), number(&one["value"])?))
            })
            .collect())
    }

    /// The value of an expression without labels.
    ///
    /// # Errors
    /// When there is no answer, or it is not a number.
    pub(crate) async fn scalar(&self, expression: &str) -> Result<f64> {
        let answer = self.ask(expression).await?;
        number(&answer["data"]["result"]).with_context(|| format!("{expression} is not a number"))
    }

    async fn ask(&self, query: &str) -> Result<Value> {
        let mut url = match self {
            Self::Direct(_, base) => base.join("api/v1/query").context("the URL cannot be extended")?,
            Self::Proxied(..) => Url::parse("http://prometheus/api/v1/query").context("the URL cannot be made")?,
        };
        url.query_pairs_mut().append_pair("query", query);
        let answer: Value = match self {
            Self::Direct(client, _) => client.get(url).send().await?.json().await?,
            Self::Proxied(client, service) => {
                let path = format!("{service}{}?{}", url.path(), url.query().unwrap_or_default());
                let request = http::Request::get(path).body(Vec::new()).context("cannot make the request")?;
                let asked = tokio::time::timeout(DEADLINE, client.request(request));
                asked.await.context("no answer in time")?.map_err(short)?
            }
        };
        if answer["status"] != "success" {
            bail!("Prometheus answered {answer}");
        }
        Ok(answer)
    }
}

/// The API server's message, if there is one.
fn short(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!("the API server answered: {}", status.message),
        other => other.into(),
    }
}

/// The API server's path to the Service at `http://NAME.NAMESPACE[.svc…][:PORT]`.
fn service_path(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut labels = url.host_str()?.split('.');
    let (name, namespace, rest) = (labels.next()?, labels.next()?, labels.next());
    if rest.is_some_and(|rest| rest != "svc") {
        return None;
    }
    let (scheme, port) = (url.scheme(), url.port_or_known_default()?);
    let path = url.path().trim_end_matches('/');
    Some(format!("/api/v1/namespaces/{namespace}/services/{scheme}:{name}:{port}/proxy{path}"))
}

/// The number in `[time, "number"]`.
fn number(sample: &Value) -> Option<f64> {
    sample.get(1)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, path: Option<&str>) {
        assert_eq!(service_path(url).as_deref(), path, "{url}");
    }

    #[test]
    fn a_service_is_reached_through_the_api_server() {
        let monitoring = "/api/v1/namespaces/monitoring/services/";
        check("http://prometheus.monitoring:9090", Some(&format!("{monitoring}http:prometheus:9090/proxy")));
        check("http://p.monitoring.svc.cluster.local/x/", Some(&format!("{monitoring}http:p:80/proxy/x")));
    }

    #[test]
    fn a_url_that_is_not_a_service_is_refused() {
        check("https://prometheus.example.com", None);
        check("http://prometheus:9090", None);
        check("nothing", None);
    }
}
