//! One of the two API servers: it fills in what only its own earlier answers say, sends the request,
//! and makes the answer comparable.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use http::Request;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::step::{Content, Step};

/// A version that no object of a run has: older than all of them.
const OLDEST: &str = "1";
const PATIENCE: Duration = Duration::from_secs(40);

/// An API server and what it has answered so far in one sequence.
pub(crate) struct Side {
    client: Client,
    /// A header for each request, for the user that it is sent as.
    user: Option<&'static str>,
    /// The last answer about an object, by `plural/name`.
    objects: BTreeMap<String, Value>,
    /// All versions of an object that were shown, oldest first.
    versions: BTreeMap<String, Vec<String>>,
    /// What `<list>`, `<start>` and `<continue>` stand for.
    words: BTreeMap<&'static str, String>,
    /// Symbols for uids and versions, in the order in which they appeared.
    symbols: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

/// An answer in comparable form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Side {
    pub(crate) fn new(client: Client, user: Option<&'static str>) -> Self {
        Self {
            client,
            user,
            objects: BTreeMap::new(),
            versions: BTreeMap::new(),
            words: BTreeMap::new(),
            symbols: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Sends the request and returns its answer in comparable form.
    pub(crate) async fn ask(&mut self, step: &Step) -> Result<Answer> {
        let (code, text) = self.send(step).await?;
        let now = Timestamp::now();
        // The API server answers unknown paths in plain text.
        let mut body: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({"text": text}));
        self.remember(step, &body);
        self.make_comparable(&mut body, now);
        Ok(Answer { code, body })
    }

    /// The events of some watches. They are open at the same time.
    pub(crate) async fn watch(&mut self, steps: &[Step]) -> Result<Vec<Answer>> {
        let answers = try_join_all(steps.iter().map(|step| self.send(step))).await?;
        let now = Timestamp::now();
        let mut comparable = Vec::new();
        for (code, text) in answers {
            let lines = text.lines().map(serde_json::from_str);
            let mut events: Vec<Value> = lines.collect::<Result<_, _>>().context("an event is not JSON")?;
            let in_order = events.iter().filter_map(|one| version(&one["object"])).is_sorted();
            // A bookmark shows how far the watch is. How often it comes depends on time.
            events.retain(|event| event["type"] != "BOOKMARK");
            for event in &mut events {
                self.make_comparable(event, now);
            }
            comparable.push(Answer { code, body: json!({"events": events, "inOrder": in_order}) });
        }
        Ok(comparable)
    }

    async fn send(&self, step: &Step) -> Result<(u16, String)> {
        let body = self.body(step);
        let mut request = Request::builder().method(step.method).uri(self.filled(&step.path));
        request = request.header("content-type", step.content.header()).header("accept", step.accept());
        if let Some(user) = self.user {
            request = request.header("impersonate-user", user);
        }
        let request = request.body(Body::from(body)).context("not a request")?;
        let answer = async {
            let response = self.client.send(request).await.context("no answer")?;
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await.context("half an answer")?.to_bytes();
            Ok((code, String::from_utf8_lossy(&bytes).into_owned()))
        };
        timeout(PATIENCE, answer).await.with_context(|| format!("no answer within {PATIENCE:?}: {step}"))?
    }

    fn body(&self, step: &Step) -> Vec<u8> {
        match &step.content {
            Content::None => Vec::new(),
            Content::Known { key, change } => {
                let mut object = self.objects.get(key).cloned().unwrap_or_else(|| json!({}));
                json_patch::merge(&mut object, change);
                self.filled(&object.to_string()).into_bytes()
            }
            Content::Json(body) | Content::Patch(_, body) => self.filled(&body.to_string()).into_bytes(),
        }
    }

    /// `text` with the values of this side in place of `<uid:KEY>` and so on.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            filled.push_str(before);
            let word = after.split_once('>').and_then(|(word, after)| Some((self.value(word)?, after)));
            let (value, after) = word.unwrap_or_else(|| ("<".to_owned(), after));
            filled.push_str(&value);
            rest = after;
        }
        filled + rest
    }

    fn value(&self, word: &str) -> Option<String> {
        let (what, key) = word.split_once(':').unwrap_or((word, ""));
        let versions = self.versions.get(key).map(Vec::as_slice).unwrap_or_default();
        let found = match what {
            "uid" => self.objects.get(key).and_then(|object| object["metadata"]["uid"].as_str()).map(str::to_owned),
            "rv" => versions.last().cloned(),
            "old" => versions.iter().rev().nth(1).cloned(),
            "list" | "start" | "continue" => self.words.get(what).cloned(),
            _ => return None,
        };
        Some(found.unwrap_or_else(|| OLDEST.to_owned()))
    }

    fn remember(&mut self, step: &Step, body: &Value) {
        if body["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
            // A list that may be older is of an older version on the real server, if that is cheaper.
            if step.path.contains("resourceVersion=") {
                return;
            }
            let version = body["metadata"]["resourceVersion"].as_str().unwrap_or(OLDEST).to_owned();
            self.words.entry("start").or_insert_with(|| version.clone());
            self.words.insert("list", version);
            if let Some(token) = body["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                self.words.insert("continue", token.to_owned());
            }
            return;
        }
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let version = body["metadata"]["resourceVersion"].as_str();
        let Some(version) = version.filter(|_| body["kind"] != "Status" && !name.is_empty()) else { return };
        let key = format!("{}/{name}", step.plural());
        let versions = self.versions.entry(key.clone()).or_default();
        if versions.last().is_none_or(|last| last != version) {
            versions.push(version.to_owned());
        }
        if !matches!(body["kind"].as_str(), Some("Scale" | "PartialObjectMetadata")) {
            self.objects.insert(key, body.clone());
        }
    }

    /// Replaces what differs between any two clusters: uids and versions by their order of
    /// appearance, times by how far they are from now.
    fn make_comparable(&mut self, value: &mut Value, now: Timestamp) {
        let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        match value {
            Value::Object(fields) => {
                // Only the real server has them, see `difference::EXPLAINED`.
                fields.remove("managedFields");
                for (name, value) in fields.iter_mut() {
                    match (name.as_str(), value.as_str()) {
                        ("uid", Some(uid)) if is_uuid(uid) => *value = json!(self.symbol("uid", uid)),
                        ("resourceVersion", Some(version)) => *value = json!(self.symbol("version", version)),
                        ("creationTimestamp", Some(_)) => *value = json!("<time>"),
                        ("lastTransitionTime", Some(time)) if is_near(time, now) => *value = json!("<now>"),
                        ("deletionTimestamp", Some(time)) => {
                            // How far it is away when it is first shown.
                            let first =
                                self.symbols.entry(format!("time {time}")).or_insert_with(|| relative(time, now));
                            *value = json!(first);
                        }
                        ("message", Some(text)) => *value = json!(self.words_of(text)),
                        ("causes", _) => {
                            self.make_comparable(value, now);
                            // The real server reports some twice.
                            if let Some(causes) = value.as_array_mut() {
                                // Rules in CEL are not evaluated in process.
                                let of_cel = |cause: &Value| cause["message"].to_string().contains("evaluating rule");
                                causes.retain(|cause| cause["field"] != "<nil>" && !of_cel(cause));
                                causes.sort_by_key(Value::to_string);
                                causes.dedup();
                            }
                        }
                        ("metadata", _) if is_list => {
                            if value["continue"].as_str().is_some_and(|token| !token.is_empty()) {
                                value["continue"] = json!("<token>");
                            }
                            value["resourceVersion"] = json!("<list>");
                        }
                        _ => self.make_comparable(value, now),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.make_comparable(item, now)),
            _ => {}
        }
    }

    fn symbol(&mut self, kind: &'static str, text: &str) -> String {
        if let Some(symbol) = self.symbols.get(&format!("{kind} {text}")) {
            return symbol.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let symbol = format!("<{kind} {count}>");
        self.symbols.insert(format!("{kind} {text}"), symbol.clone());
        symbol
    }

    /// A message with symbols for uids, and for versions where it speaks of versions.
    fn words_of(&self, message: &str) -> String {
        let mut words = message.to_owned();
        for (known, symbol) in self.symbols.iter().filter(|(known, _)| known.starts_with("uid ")) {
            words = words.replace(known.trim_start_matches("uid "), symbol);
        }
        // Where etcd keeps an object is nobody's business.
        if let (Some(start), Some(end)) = (words.find("Key: /registry"), words.find("AdditionalErrorMsg: ")) {
            words.replace_range(start..end + "AdditionalErrorMsg: ".len(), "");
        }
        if words.to_lowercase().replace(' ', "").contains("resourceversion") {
            let mut masked = String::new();
            for c in words.chars() {
                let c = if c.is_ascii_digit() { '#' } else { c };
                if !(c == '#' && masked.ends_with('#')) {
                    masked.push(c);
                }
            }
            words = masked;
        }
        words
    }
}

/// Whether a server has made it. The uids of the sequences look otherwise.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4
}

fn version(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// Whether the server has set it. The times of the sequences are months ago.
fn is_near(time: &str, now: Timestamp) -> bool {
    time.parse::<Timestamp>().is_ok_and(|time| now.duration_since(time).as_mins() < 10)
}

/// `<now>` or `<now+20s>`. The two servers are asked within a few seconds.
fn relative(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return format!("not a time: {time}") };
    let tens = (time.duration_since(now).as_secs() + 5).div_euclid(10) * 10;
    if tens <= 0 { "<now>".to_owned() } else { format!("<now+{tens}s>") }
}
