//! Breaks one pod and follows it, by what is seen and not by what should be.

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use prunella_api::HealingAction;
use tokio::time::timeout_at;

use crate::console::{Console, Tone};
use crate::ground::{Ground, NAMESPACE};
use crate::install::Policy;
use crate::scenario::Scenario;
use crate::story::{Moment, Story};
use crate::verdict::World;
use crate::watch::{News, news};

/// A pod that was healed.
#[derive(Debug)]
pub(crate) struct Healed {
    /// The pod that was sick.
    pub(crate) pod: String,
    /// When what happened.
    pub(crate) story: Story,
    /// How the action ended.
    pub(crate) outcome: String,
}

/// Breaks one pod and follows it until the action that heals it is verified.
///
/// # Errors
/// When it is not healed, or not in time.
pub(crate) async fn break_and_follow(
    ground: &Ground,
    console: &Console,
    scenario: &Scenario,
    policy: &Policy,
    before: &World,
) -> Result<Healed> {
    let (pod, (uid, _)) = before.pods.first_key_value().context("there is no pod to break")?;
    console.stage(&format!("Breaking one of {} pods: {}", before.pods.len(), scenario.name));
    let mut news = news(ground, policy, pod);
    let mut case = Case {
        console,
        scenario,
        policy,
        before,
        uid,
        story: Story::begin(policy.prometheus.is_some()),
        outcome: None,
        told: Vec::new(),
    };
    ask_for_fault(ground, scenario, pod).await?;
    case.tell("fault", &format!("{pod} {}", scenario.fault_in_words), Tone::Bad);
    while let Some((awaited, until)) = case.story.next() {
        match timeout_at(until.into(), news.next()).await {
            Ok(Some(seen)) => case.take(seen)?,
            Ok(None) => bail!("nothing is watched any more"),
            Err(_) => bail!("waited {:?} in vain for {}", case.story.patience(awaited), awaited.awaited()),
        }
    }
    let Case { story, outcome, .. } = case;
    Ok(Healed { pod: pod.clone(), story, outcome: outcome.unwrap_or_default() })
}

/// Asks the pod itself, through the API server.
async fn ask_for_fault(ground: &Ground, scenario: &Scenario, pod: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy{}", scenario.fault);
    let request = http::Request::post(path).body(Vec::new()).context("cannot make the request")?;
    ground.client.request_text(request).await.with_context(|| format!("cannot break {pod}"))?;
    Ok(())
}

/// One sick pod and what is known of it.
struct Case<'a> {
    console: &'a Console,
    scenario: &'a Scenario,
    policy: &'a Policy,
    before: &'a World,
    uid: &'a str,
    story: Story,
    outcome: Option<String>,
    /// What is no moment of the story and is told once all the same.
    told: Vec<String>,
}

impl Case<'_> {
    fn take(&mut self, news: News) -> Result<()> {
        match news {
            News::Value(value) => self.value(value),
            News::Event(event) => self.event(&event),
            News::Pod(pod) => self.pod(&pod),
            News::Action(action) => return self.action(&action),
        }
        Ok(())
    }

    fn value(&mut self, value: f64) {
        let unit = self.scenario.unit;
        let bound = self.policy.prometheus.as_ref().map(|(_, bound)| unit.show(*bound)).unwrap_or_default();
        let what = format!("Prometheus: {}, over the bound of {bound}", unit.show(value));
        self.reach(Moment::Visible, "visible", &what, Tone::Bad);
    }

    /// The controller's Events on the policy about this pod.
    fn event(&mut self, event: &Event) {
        let on_policy = event.regarding.as_ref().is_some_and(|object| {
            object.kind.as_deref() == Some("HealingPolicy") && object.name.as_deref() == Some(&self.policy.name)
        });
        let about_pod = event.related.as_ref().is_some_and(|object| object.uid.as_deref() == Some(self.uid));
        if !on_policy || !about_pod {
            return;
        }
        let note = event.note.as_deref().unwrap_or_default();
        match event.reason.as_deref() {
            Some("Pending") => self.reach(Moment::Pending, "Pending", note, Tone::Plain),
            Some("Firing") => self.reach(Moment::Firing, "Firing", note, Tone::Bad),
            Some("Blocked") => self.once("Blocked", note, Tone::Bad),
            _ => {}
        }
    }

    fn pod(&mut self, pod: &Pod) {
        let name = pod.name_any();
        let going = pod.metadata.deletion_timestamp.is_some();
        let replaces =
            pod.labels().get("app").is_some_and(|app| app == "sample-app") && !self.before.pods.contains_key(&name);
        if pod.uid().as_deref() == Some(self.uid) {
            if going {
                self.reach(Moment::Evicted, "evicted", &format!("{name} is on its way out"), Tone::Plain);
            }
        } else if replaces && !going && ready(pod) {
            self.once("replaced", &format!("{name} is Ready"), Tone::Plain);
        }
    }

    fn action(&mut self, action: &HealingAction) -> Result<()> {
        let (name, target) = (action.name_any(), &action.spec.target);
        if target.uid != self.uid {
            bail!("HealingAction {name} is about {}, which is not sick", target.name);
        }
        self.reach(
            Moment::Reserved,
            "Reserved",
            &format!("{} is on record as HealingAction {name}", action.spec.action_name),
            Tone::Plain,
        );
        let Some(status) = &action.status else { return Ok(()) };
        let message = status.message.as_deref().unwrap_or_default();
        if status.settled_at.is_some() {
            self.reach(Moment::Settled, "settled", message, Tone::Plain);
        }
        match status.outcome.as_deref() {
            None => {}
            Some("Succeeded") => {
                self.outcome.clone_from(&status.outcome);
                self.reach(Moment::Verified, "verified", message, Tone::Good);
            }
            Some(_) => bail!("HealingAction {name} ended as {message}"),
        }
        Ok(())
    }

    fn reach(&mut self, moment: Moment, word: &str, what: &str, tone: Tone) {
        if self.story.reach(moment) {
            self.tell(word, what, tone);
        }
    }

    fn once(&mut self, word: &str, what: &str, tone: Tone) {
        if !self.told.iter().any(|told| told == what) {
            self.told.push(what.to_owned());
            self.tell(word, what, tone);
        }
    }

    fn tell(&self, word: &str, what: &str, tone: Tone) {
        self.console.moment(self.story.elapsed(), word, what, tone);
    }
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default().iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
