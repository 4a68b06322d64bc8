//! Breaks the app in one way and reports what is observed until it is healed.

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use prunella_api::{HealingAction, TargetKind};
use tokio::time::timeout_at;

use crate::console::{Console, Tone};
use crate::ground::{APP, Ground, NAMESPACE};
use crate::policies::Policy;
use crate::prometheus::Prometheus;
use crate::remedy::Remedy;
use crate::scenario::{Befalls, Scenario};
use crate::story::{Moment, Story};
use crate::verdict::{Seen, Shape, World, expired, is_of_app};
use crate::watch::{News, news};

/// A fault that was healed.
#[derive(Debug)]
pub(crate) struct Healed {
    /// The pod that was broken. If all pods were broken, one of them.
    pub(crate) pod: String,
    /// The kind of action that healed it.
    pub(crate) action: String,
    /// What happened, and when.
    pub(crate) story: Story,
    /// How the action ended.
    pub(crate) outcome: String,
}

/// Breaks the app and waits until the action that heals it is verified.
///
/// # Errors
/// When it is not healed in time, or another action is taken.
pub(crate) async fn break_and_follow(
    ground: &Ground,
    console: &Console,
    prometheus: Option<&Prometheus>,
    scenario: &Scenario,
    policy: &Policy,
    before: &World,
) -> Result<Healed> {
    let (pod, seen) = before.pods.first_key_value().context("there is no pod to break")?;
    let (whom, broken) = match scenario.befalls {
        Befalls::One => (pod.clone(), 1),
        Befalls::All => (format!("all {} pods", before.pods.len()), before.pods.len()),
    };
    console.stage(&format!("{}: {}", policy.name, scenario.fault_name));
    console.quote(&policy.query);
    let limit = limit(prometheus, scenario, policy).await?;
    let uid = if policy.target == TargetKind::Pod { &seen.uid } else { &before.deployment.uid };
    let mut news = news(ground, prometheus, &policy.query, pod);
    let mut case = Case {
        console,
        scenario,
        policy,
        before,
        limit,
        unhealthy: &seen.uid,
        uid,
        story: Story::begin(prometheus.is_some()),
        action: String::new(),
        outcome: String::new(),
        printed: Vec::new(),
    };
    for pod in before.pods.keys().take(broken) {
        cause_fault(ground, scenario, pod).await?;
    }
    case.print("fault", &format!("{whom} {}", scenario.fault_in_words), Tone::Bad);
    while let Some((awaited, until)) = case.story.next() {
        match timeout_at(until.into(), news.next()).await {
            Ok(Some(seen)) => case.take(seen)?,
            Ok(None) => bail!("all watches have ended"),
            Err(_) => {
                bail!("waited {:?} for {}, which did not happen", case.story.patience(awaited), awaited.awaited())
            }
        }
    }
    let Case { story, action, outcome, .. } = case;
    Ok(Healed { pod: pod.clone(), action, story, outcome })
}

/// The limit that the query compares with, or NaN if Prometheus is not reachable.
async fn limit(prometheus: Option<&Prometheus>, scenario: &Scenario, policy: &Policy) -> Result<f64> {
    let compares = policy.query.contains(scenario.comparison);
    ensure!(compares, "the query of {} does not contain {}", policy.name, scenario.comparison);
    let Some(prometheus) = prometheus else { return Ok(f64::NAN) };
    prometheus.scalar(scenario.comparison.trim_start_matches(['>', '=', ' '])).await
}

/// Sends the request to the pod, through the API server.
async fn cause_fault(ground: &Ground, scenario: &Scenario, pod: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/simulate/{}", scenario.fault);
    let request = http::Request::post(path).body(Vec::new()).context("cannot make the request")?;
    ground.client.request_text(request).await.with_context(|| format!("cannot break {pod}"))?;
    Ok(())
}

/// One fault and what is known about it.
struct Case<'a> {
    console: &'a Console,
    scenario: &'a Scenario,
    policy: &'a Policy,
    before: &'a World,
    limit: f64,
    /// The uid of the pod that was broken.
    unhealthy: &'a str,
    /// The uid of the target: that pod, or its Deployment.
    uid: &'a str,
    story: Story,
    action: String,
    outcome: String,
    /// Other lines of the timeline, so that each is printed once.
    printed: Vec<String>,
}

impl Case<'_> {
    fn take(&mut self, news: News) -> Result<()> {
        match news {
            News::Value(value) => self.value(value),
            News::Event(event) => self.event(&event),
            News::Pod(pod) => self.pod(&pod),
            News::Deployment(deployment) => self.deployment(&deployment),
            News::Action(action) => return self.action(&action),
        }
        Ok(())
    }

    fn value(&mut self, value: f64) {
        let what = format!("Prometheus: {}", self.scenario.unit.beside(value, self.limit));
        self.reach(Moment::Visible, "visible", &what, Tone::Bad);
    }

    /// The controller's Events on the policy that are about the target.
    fn event(&mut self, event: &Event) {
        let on_policy = event.regarding.as_ref().is_some_and(|object| {
            object.kind.as_deref() == Some("HealingPolicy") && object.name.as_deref() == Some(&self.policy.name)
        });
        let about_target = event.related.as_ref().is_some_and(|object| object.uid.as_deref() == Some(self.uid));
        if !on_policy || !about_target {
            return;
        }
        let note = event.note.as_deref().unwrap_or_default();
        match event.reason.as_deref() {
            Some("Firing") => self.reach(Moment::Firing, "Firing", note, Tone::Bad),
            Some("Blocked") => self.once("Blocked", note, Tone::Bad),
            _ => {}
        }
    }

    fn pod(&mut self, pod: &Pod) {
        let name = pod.name_any();
        let going = pod.metadata.deletion_timestamp.is_some();
        let now = Seen::of(pod);
        if now.uid == self.unhealthy {
            if going && self.policy.remedy == Remedy::Evict {
                self.reach(Moment::Acted, "evicted", &format!("{name} is terminating"), Tone::Plain);
            } else if self.before.pods.get(&name).is_some_and(|was| now.restarts > was.restarts) {
                let what = format!("{name} was restarted by the kubelet ({} restarts)", now.restarts);
                self.once("crashed", &what, Tone::Plain);
            }
        } else if is_of_app(pod) && !self.before.pods.contains_key(&name) && !going && ready(pod) {
            self.once("new pod", &format!("{name} is Ready"), Tone::Plain);
        }
    }

    fn deployment(&mut self, deployment: &Deployment) {
        let (was, now) = (&self.before.deployment, Shape::of(deployment));
        if now.uid != was.uid {
            return;
        }
        if self.policy.remedy == Remedy::Restart && now.restarted_by != was.restarted_by {
            self.reach(Moment::Acted, "restarted", &format!("Deployment/{APP} replaces all its pods"), Tone::Plain);
        }
        if self.policy.remedy == Remedy::Scale && now.replicas != was.replicas {
            let what = format!("Deployment/{APP} from {} to {} replicas", was.replicas, now.replicas);
            self.reach(Moment::Acted, "scaled", &what, Tone::Plain);
        }
    }

    fn action(&mut self, action: &HealingAction) -> Result<()> {
        let (name, target) = (action.name_any(), &action.spec.target);
        if self.before.actions.contains_key(&name) {
            return Ok(());
        }
        let ours = action.spec.policy.name == self.policy.name && target.uid == self.uid;
        ensure!(ours, "HealingAction {name} has the wrong target {}/{}", target.kind, target.name);
        self.action.clone_from(&action.spec.action_name);
        let reserved = format!("{} is recorded as HealingAction {name}", action.spec.action_name);
        self.reach(Moment::Reserved, "Reserved", &reserved, Tone::Plain);
        let Some(status) = &action.status else { return Ok(()) };
        let message = status.message.as_deref().unwrap_or_default();
        if status.settled_at.is_some() {
            self.reach(Moment::Settled, "settled", message, Tone::Plain);
        }
        match status.outcome.as_deref() {
            None => {}
            Some("Succeeded") => {
                "Succeeded".clone_into(&mut self.outcome);
                self.reach(Moment::Verified, "verified", message, Tone::Good);
            }
            Some(_) if expired(action) => self.once("Expired", &format!("HealingAction {name}: {message}"), Tone::Bad),
            Some(_) => bail!("HealingAction {name} ended with: {message}"),
        }
        Ok(())
    }

    fn reach(&mut self, moment: Moment, word: &str, what: &str, tone: Tone) {
        if self.story.reach(moment) {
            let after = self.story.between(Moment::Acted, moment).filter(|_| moment == Moment::Verified);
            let after = after.map(|after| format!(", {:.1} s after the action", after.as_secs_f64()));
            self.print(word, &format!("{what}{}", after.unwrap_or_default()), tone);
        }
    }

    fn once(&mut self, word: &str, what: &str, tone: Tone) {
        if !self.printed.iter().any(|printed| printed == what) {
            self.printed.push(what.to_owned());
            self.print(word, what, tone);
        }
    }

    fn print(&self, word: &str, what: &str, tone: Tone) {
        self.console.moment(self.story.elapsed(), word, what, tone);
    }
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default().iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
