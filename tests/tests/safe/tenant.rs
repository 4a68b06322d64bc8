//! An administrator of one namespace, who was given every right on the API group by mistake, can
//! read actions and write policies. Only the controller can write actions. The policies of one
//! namespace show nothing of another.

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_e2e::{DEPLOYMENT, NAMESPACE, PATIENCE, Room, eventually, in_room, name_of, uid_of};
use serde_json::{Value, json};

const POLICY: &str = "gauge";
const REFUSAL: &str = "HealingActions are written by the prunella controller alone";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_tenant_writes_policies_and_reads_actions_and_that_is_all() -> Result<()> {
    in_room("tenant", async |room| {
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        let namesake = format!("system:serviceaccount:{}:prunella", room.name());
        for user in ["tenant", &namesake] {
            grant(room, user).await?;
        }
        let tenant = client_as(room, "tenant").await?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["mode"] = json!("DryRun");
        let policies: Api<HealingPolicy> = Api::namespaced(tenant.clone(), room.name());
        policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(unhealthy, "gauge?value=10").await?;
        let action = room.until_outcome(POLICY, 1, "DryRun").await?;

        for user in ["tenant", &namesake] {
            writes_are_refused(room, &client_as(room, user).await?, &action)
                .await
                .with_context(|| format!("as {user}"))?;
        }
        let now = room.actions(POLICY).await?;
        ensure!(now == [action.clone()], "the record changed: {now:#?}");

        let actions: Api<HealingAction> = Api::namespaced(tenant, room.name());
        ensure!(actions.get(&action.name_any()).await? == action);
        ensure!(actions.list(&ListParams::default()).await?.items == [action]);
        let _watch = actions.watch(&WatchParams::default(), "0").await?;
        let change = json!({"spec": {"suspend": true}});
        policies.patch(POLICY, &PatchParams::default(), &Patch::Merge(change)).await?;
        policies.delete(POLICY, &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}

/// Checks every kind of write request.
async fn writes_are_refused(room: &Room<'_>, client: &Client, action: &HealingAction) -> Result<()> {
    let actions: Api<HealingAction> = Api::namespaced(client.clone(), room.name());
    let name = &action.name_any();
    let (post, patch, delete) = (PostParams::default(), PatchParams::default(), DeleteParams::default());
    let forged = forged(action)?;
    let mut changed = action.clone();
    changed.status.get_or_insert_default().outcome = Some("Succeeded".into());
    let merge = |change: Value| Patch::Merge(change);
    let outcome = json!({"status": {"outcome": "Expired"}});
    let apply = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingAction",
        "metadata": {"name": name, "labels": {"mine": "yes"}},
    });

    refused("create", actions.create(&post, &forged).await)?;
    refused("label", actions.patch(name, &patch, &merge(json!({"metadata": {"labels": {"mine": "yes"}}}))).await)?;
    refused("unlock", actions.patch(name, &patch, &merge(json!({"metadata": {"finalizers": ["a.b/c"]}}))).await)?;
    refused("apply", actions.patch(name, &PatchParams::apply("tenant").force(), &Patch::Apply(&apply)).await)?;
    refused("change the status of", actions.patch_status(name, &patch, &merge(outcome)).await)?;
    refused("replace the status of", actions.replace_status(name, &post, &changed).await)?;
    refused("delete", actions.delete(name, &delete).await)?;
    refused("delete every", actions.delete_collection(&delete, &ListParams::default()).await)?;
    // The schema refuses a change of the spec for every user.
    let spec = merge(json!({"spec": {"mode": "Enforce"}}));
    ensure!(actions.patch(name, &patch, &spec).await.is_err(), "the user could change the spec");
    Ok(())
}

/// An action that a user would like the controller to execute.
fn forged(action: &HealingAction) -> Result<HealingAction> {
    let mut forged = serde_json::to_value(action)?;
    forged["metadata"] = json!({"name": format!("{}-forged", action.name_any())});
    forged["spec"]["sequence"] = json!(2);
    forged["spec"]["mode"] = json!("Enforce");
    forged.as_object_mut().context("no object")?.remove("status");
    Ok(serde_json::from_value(forged)?)
}

fn refused<T>(what: &str, answer: kube::Result<T>) -> Result<()> {
    match answer {
        Ok(_) => bail!("the user could {what} a HealingAction"),
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(REFUSAL) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{what}: refused for another reason")),
    }
}

/// Grants the rights of a namespace's administrator, and all rights on the API group.
async fn grant(room: &Room<'_>, user: &str) -> Result<()> {
    let name = user.replace(':', ".");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "too-much"},
        "rules": [{"apiGroups": ["prunella.dev"], "resources": ["*"], "verbs": ["*"]}],
    });
    room.apply(&role).await?;
    for (kind, role) in [("ClusterRole", "admin"), ("Role", "too-much")] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{name}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        room.apply(&binding).await?;
    }
    // The API server applies new rights with a delay.
    let client = client_as(room, user).await?;
    eventually(PATIENCE, &format!("{user} to have the rights"), async || {
        let policies: Api<HealingPolicy> = Api::namespaced(client.clone(), room.name());
        Ok(policies.delete_collection(&DeleteParams::default(), &ListParams::default()).await.map(drop)?)
    })
    .await
}

/// A client with the identity of another user.
pub(crate) async fn client_as(room: &Room<'_>, user: &str) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(room.ground.testbed.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.to_owned());
    Ok(Client::try_from(config)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_administrator_by_rbac_only_cleans_up_and_forges_nothing() -> Result<()> {
    in_room("by-rbac", async |room| {
        let pods = room.deploy(2).await?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["mode"] = json!("DryRun");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
        let action = room.until_outcome(POLICY, 1, "DryRun").await?;

        let user = format!("{}-administrator", room.name());
        let named = format!("--user={user}");
        let binding = ["create", "clusterrolebinding", &user, "--clusterrole=cluster-admin", &named];
        room.ground.testbed.kubectl(&binding).await?;
        let cleaned = cleans_up(&client_as(room, &user).await?, room, &action).await;
        room.ground.testbed.kubectl(&["delete", "clusterrolebinding", &user]).await?;
        cleaned
    })
    .await
}

async fn cleans_up(client: &Client, room: &Room<'_>, action: &HealingAction) -> Result<()> {
    let actions: Api<HealingAction> = Api::namespaced(client.clone(), room.name());
    let (name, patch) = (&action.name_any(), PatchParams::default());
    let unlocked = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    eventually(PATIENCE, "the administrator to have the rights", async || {
        Ok(actions.patch(name, &patch, &unlocked).await.map(drop)?)
    })
    .await?;
    let outcome = Patch::Merge(json!({"status": {"outcome": "Expired"}}));
    refused("create", actions.create(&PostParams::default(), &forged(action)?).await)?;
    refused("change the status of", actions.patch_status(name, &patch, &outcome).await)?;
    actions.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_namespace_is_deleted_with_all_its_actions_even_one_in_flight() -> Result<()> {
    in_room("going", async |room| {
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        let mut budget = room.example("sample-app/pdb.yaml")?;
        budget["spec"]["maxUnavailable"] = json!(0);
        room.apply(&budget).await?;
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.simulate(unhealthy, "gauge?value=10").await?;
        eventually(PATIENCE, "an action in flight", async || {
            let actions = room.actions(POLICY).await?;
            let action = actions.first().context("no action")?;
            let by = action.status.as_ref().and_then(|status| status.blocked_by.as_deref());
            ensure!(by == Some("DisruptionBudget") && !action.finalizers().is_empty(), "delayed by {by:?}");
            ensure!(
                (action.spec.target.name.clone(), action.spec.target.uid.clone())
                    == (name_of(unhealthy), uid_of(unhealthy))
            );
            Ok(())
        })
        .await?;

        let namespaces: Api<Namespace> = Api::all(room.ground.client.clone());
        namespaces.delete(room.name(), &DeleteParams::default()).await?;
        eventually(PATIENCE, "the namespace to be deleted", async || {
            let left = namespaces.get_opt(room.name()).await?;
            ensure!(left.is_none(), "{:#?}", left.and_then(|left| left.status));
            Ok(())
        })
        .await
    })
    .await
}

/// Queries that try to read the series of another tenant. The unit tests check what is sent for them.
const HOSTILE: &str = include_str!("../../../crates/signals/tests/query/hostile.txt");
/// The gauge of the other tenant's pod. Sums and products with the own gauge, which is 1, start with
/// the same digits. So many digits are in no uid and no time by chance, and messages show them all.
const SECRET_VALUE: &str = "9174631";
const SECRET_DIGITS: &str = "917463";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn another_tenants_series_are_never_seen() -> Result<()> {
    in_room("tenant-bank", async |bank| {
        let other = bank.deploy(1).await?.pop().context("no pod")?;
        bank.simulate(&other, &format!("gauge?value={SECRET_VALUE}")).await?;
        in_room("tenant-shop", async |shop| {
            let own = shop.deploy(1).await?.pop().context("no pod")?;
            shop.simulate(&own, "gauge?value=1").await?;
            for (room, value) in [(bank, SECRET_VALUE), (shop, "1")] {
                let scraped = format!("sample_app_gauge{{namespace={:?}}} == {value}", room.name());
                eventually(PATIENCE, "the gauge to be scraped", async || {
                    ensure!(room.ground.ask(&scraped).await?.len() == 1);
                    Ok(())
                })
                .await?;
            }
            let secrets = [name_of(&other), uid_of(&other), SECRET_DIGITS.to_owned()];
            a_source_without_isolation_shows_it(shop, &secrets).await?;
            nothing_is_seen(shop, bank.name(), &secrets).await
        })
        .await
    })
    .await
}

/// The check itself works: without isolation the other tenant's pod is in the status.
async fn a_source_without_isolation_shows_it(shop: &Room<'_>, secrets: &[String; 3]) -> Result<()> {
    let open = format!("{}-open", shop.name());
    let testbed = shop.ground.testbed;
    let source = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource", "metadata": {"name": open},
        "spec": {"url": testbed.prometheus_url(), "isolation": "None", "allowedNamespaces": [shop.name()]},
    });
    testbed.apply(&source.to_string()).await?;
    let mut policy = shop.policy("open", &format!("sample_app_gauge == {SECRET_VALUE}"));
    policy["spec"]["condition"]["promql"]["source"] = json!({"name": open});
    shop.apply(&policy).await?;
    let seen = eventually(PATIENCE, "the other tenant's pod in the status", async || {
        let status = serde_json::to_string(&shop.policy_now("open").await?.status)?;
        ensure!(status.contains(&secrets[0]), "{status}");
        Ok(())
    })
    .await;
    shop.kubectl(&["delete", "healingpolicy", "open"]).await?;
    testbed.kubectl(&["delete", "clusterprometheussource", &open]).await?;
    seen
}

async fn nothing_is_seen(shop: &Room<'_>, bank: &str, secrets: &[String; 3]) -> Result<()> {
    let started = jiff::Timestamp::now().to_string();
    let blocks = HOSTILE.split("\n\n").filter(|block| block.starts_with("# "));
    let queries: Vec<String> = blocks
        .filter_map(|block| block.lines().find_map(|line| line.strip_prefix("query     ")))
        .map(|query| query.replace('↵', "\n").replace("tenant_secret", "sample_app_gauge"))
        .map(|query| query.replace("shop", shop.name()).replace("bank", bank))
        .collect();
    ensure!(queries.len() >= 40, "{} queries", queries.len());
    let mut names = Vec::new();
    for (number, query) in queries.iter().enumerate() {
        for (kind, global) in [("pod", false), ("all", true)] {
            let name = format!("hostile-{number}-{kind}");
            shop.apply(&hostile(shop, &name, query, global)).await?;
            names.push(name);
        }
    }
    for name in &names {
        eventually(PATIENCE, &format!("{name} to be evaluated or refused"), async || {
            let policy = shop.policy_now(name).await?;
            let said = |kind| prunella_e2e::condition(&policy, kind).map(|one| one.status);
            ensure!(said("Stalled").as_deref() == Some("True") || said("Observed").is_some(), "{:?}", policy.status);
            Ok(())
        })
        .await?;
    }
    // More evaluations: pending targets become unhealthy, and actions are recorded.
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;

    let statuses: Vec<_> = shop.api::<HealingPolicy>().list(&ListParams::default()).await?.items;
    let statuses: Vec<_> = statuses.into_iter().map(|policy| policy.status).collect();
    let actions = shop.api::<HealingAction>().list(&ListParams::default()).await?.items;
    ensure!(!actions.is_empty(), "no action was recorded: the queries were not evaluated");
    let events = shop.kubectl(&["get", "events", "--output=json"]).await?;
    let since = format!("--since-time={started}");
    let log = ["logs", "--namespace", NAMESPACE, DEPLOYMENT, "--tail=-1", &since];
    // `--since-time` is cut to whole seconds, and the policy without isolation may be of the same one.
    let log = shop.ground.testbed.kubectl(&log).await?;
    let log: String = log.lines().filter(|line| !line.contains(r#"policy="open""#)).collect();
    let metrics = shop.ground.ask(r#"{__name__=~"prunella_.+"}"#).await?;
    let metrics: Vec<_> = metrics.into_iter().map(|one| one.labels).collect();
    for (place, text) in [
        ("status", serde_json::to_string(&statuses)?),
        ("actions", serde_json::to_string(&actions)?),
        ("Events", events),
        ("log", log),
        ("metrics", format!("{metrics:?}")),
    ] {
        for secret in secrets {
            let at = text.find(secret.as_str());
            let around = at.map(|at| text.get(at.saturating_sub(300)..).unwrap_or(&text).chars().take(600).collect());
            ensure!(at.is_none(), "{secret} is in {place}: …{}…", around.unwrap_or_else(String::new));
        }
    }
    println!("{} queries, {} policies, {} actions, nothing of {bank}", queries.len(), names.len(), actions.len());
    Ok(())
}

/// A dry run with this query, for pods by their name, or for the whole workload by any series.
fn hostile(shop: &Room<'_>, name: &str, query: &str, global: bool) -> Value {
    let mut policy = shop.policy(name, query);
    policy["spec"]["mode"] = json!("DryRun");
    policy["spec"]["interval"] = json!("5s");
    policy["spec"]["condition"]["clearFor"] = json!("5s");
    // Given, because it cannot be derived for all of them.
    policy["spec"]["condition"]["promql"]["evidence"] = json!("sample_app_gauge");
    policy["spec"]["steps"][0]["verify"] = json!({"within": "24h"});
    if global {
        policy["spec"]["target"]["kind"] = json!("Deployment");
        policy["spec"]["target"]["match"] = json!({"global": {}});
        policy["spec"]["steps"][0]["action"] = json!({"rolloutRestart": {}});
    }
    policy
}
