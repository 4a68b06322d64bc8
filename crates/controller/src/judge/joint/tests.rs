//! A source over a real socket, which notes what it is asked.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use prunella_core::observation::{Labels, Series};
use prunella_signals::SourceConfig;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

const AMPLE: Duration = Duration::from_secs(10);
/// What is slow here, for machines are slow and shared.
const LONG: Duration = Duration::from_secs(2);
/// What joins two questions, by the words around it.
const OPEN: &str = "label_replace((\n";
const CLOSE: &str = "\n), ";
/// A condition that is breached, one that the source refuses, and one that takes long.
const BREACHED: &str = "up == 1";
const REFUSED: &str = "up == 2";
const SLOWEST: &str = "up == 3";

/// How many questions there were in each request.
type Log = Arc<Mutex<Vec<usize>>>;
type Conditions = Vec<(Arc<str>, Arc<Company>)>;

async fn source() -> (Arc<Prometheus>, Log) {
    let log = Log::default();
    let noted = Arc::clone(&log);
    let router = Router::new().fallback(move |body: String| {
        let noted = Arc::clone(&noted);
        async move { answer(&body, &noted).await }
    });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    (Arc::new(Prometheus::new(SourceConfig::new(format!("http://{address}"))).unwrap()), log)
}

/// A series that repeats its question, for each that is breached.
async fn answer(body: &str, log: &Mutex<Vec<usize>>) -> Response {
    let form = reqwest::Url::parse(&format!("http://source/?{body}")).unwrap();
    let query = form.query_pairs().find(|(name, _)| name == "query").unwrap().1.into_owned();
    let joined: Vec<&str> = query.split(OPEN).skip(1).map(|rest| rest.split(CLOSE).next().unwrap()).collect();
    log.lock().unwrap().push(joined.len().max(1));
    if query.contains(REFUSED) {
        let error = json!({"status": "error", "errorType": "execution", "error": "many-to-many matching"});
        return (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response();
    }
    if query.contains(SLOWEST) {
        tokio::time::sleep(LONG * 5 / 4).await;
    }
    let in_company = joined.iter().enumerate().filter(|(_, asked)| **asked == BREACHED);
    let in_company = in_company.map(
        |(place, asked)| json!({"metric": {"asked": asked, "prunella_asked": place.to_string()}, "value": [1, "1"]}),
    );
    let alone = (query == BREACHED).then(|| json!({"metric": {"asked": query}, "value": [1, "1"]}));
    let series: Vec<_> = in_company.chain(alone).collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": series}}).to_string().into_response()
}

/// Asks all at once, each with its company, and tells whether each was answered as it should
/// be and how many questions there were in each request.
async fn ask(joint: &Arc<Joint>, source: &(Arc<Prometheus>, Log), all: &[(Arc<str>, Arc<Company>)]) -> Vec<usize> {
    let asked = join_all(all.iter().map(|(query, company)| joint.ask(&source.0, query, AMPLE, company))).await;
    for (answer, (query, _)) in asked.iter().zip(all) {
        let labels: Labels = [("asked".to_owned(), query.to_string())].into();
        match &**query {
            REFUSED => assert!(matches!(answer, Answer::Unknown(unknown) if unknown.reason == UnknownReason::BadQuery)),
            BREACHED => assert_eq!(*answer, Answer::Answered(vec![Series { labels, value: 1.0 }])),
            _ => assert_eq!(*answer, Answer::Answered(Vec::new()), "{query}"),
        }
    }
    let mut questions = mem::take(&mut *source.1.lock().unwrap());
    questions.sort_unstable();
    questions
}

fn patient() -> Arc<Joint> {
    Arc::new(Joint { slow: LONG, ..Joint::default() })
}

/// Seven that are quiet, and this one.
fn conditions(odd: &str) -> Conditions {
    let quiet = (0..7).map(|bound| format!("up > {bound}"));
    quiet.chain([odd.to_owned()]).map(|query| (query.into(), Arc::default())).collect()
}

#[tokio::test]
async fn what_is_asked_at_once_is_one_request_unless_that_were_too_long() {
    let (source, joint) = (source().await, patient());
    let many = |length: usize| -> Conditions {
        (0..100).map(|bound| (format!("up > {bound:0length$}").into(), Arc::default())).collect()
    };
    assert_eq!(ask(&joint, &source, &many(2)).await, [36, 64]);
    assert_eq!(ask(&joint, &source, &many(500)).await, [16, 21, 21, 21, 21]);
}

#[tokio::test]
async fn a_breach_is_always_answered_by_a_request_of_its_own_and_soon_by_that_alone() {
    let (source, joint) = (source().await, patient());
    let all = conditions(BREACHED);
    for joined in [8, 7, 8, 7, 7, 7, 8] {
        assert_eq!(ask(&joint, &source, &all).await, [1, joined]);
    }
}

#[tokio::test]
async fn who_is_alone_is_asked_as_written_and_sources_are_not_mixed() {
    let (one, two) = (source().await, source().await);
    let joint = patient();
    let all = conditions(BREACHED);
    let both = tokio::join!(ask(&joint, &one, &all[..1]), ask(&joint, &two, &all[7..]));
    assert_eq!(both, (vec![1], vec![1]));
}

#[tokio::test]
async fn one_that_spoils_the_answer_costs_the_others_one_look_and_then_stays_away() {
    let (source, joint) = (source().await, patient());
    let all = conditions(REFUSED);
    // The look that is spoilt, the one that each makes alone, and one in company again.
    for expected in [vec![1, 1, 1, 1, 1, 1, 1, 1, 8], vec![1; 8], vec![1, 7], vec![1, 7]] {
        assert_eq!(ask(&joint, &source, &all).await, expected);
    }
}

#[tokio::test]
async fn one_that_takes_long_stays_away_longer_and_longer_and_the_others_do_not() {
    let (source, joint) = (source().await, patient());
    let all = conditions(SLOWEST);
    // Late, alone, and from then on without it.
    for expected in [vec![8], vec![1; 8], vec![1, 7], vec![1, 7]] {
        assert_eq!(ask(&joint, &source, &all).await, expected);
    }
}

fn looks_alone(company: &Company) -> u32 {
    (0..=u32::from(u8::MAX)).find(|_| company.is_wanted()).unwrap()
}

#[test]
fn who_spoils_every_answer_stays_away_at_once_and_others_for_longer_each_time() {
    let (its, unknown) = (Company::default(), Company::default());
    assert!(its.is_wanted() && unknown.is_wanted());
    its.stays_away(Fault::Its);
    assert_eq!(looks_alone(&its), 63);
    let away = |_| {
        unknown.stays_away(Fault::Unknown);
        looks_alone(&unknown)
    };
    assert_eq!((0..8).map(away).collect::<Vec<_>>(), [1, 3, 7, 15, 31, 63, 63, 63]);
    unknown.was_well();
    unknown.stays_away(Fault::Unknown);
    assert_eq!(looks_alone(&unknown), 1);
}

#[test]
fn a_condition_is_at_fault_when_no_source_can_answer_it_and_perhaps_when_it_takes_long() {
    let unknown = |reason| Answer::unknown(reason, "");
    let labelled = Series { labels: [(ASKED.to_owned(), "1".to_owned())].into(), value: 1.0 };
    for (answer, took, expected) in [
        (Answer::Answered(Vec::new()), SLOW, None),
        (Answer::Answered(Vec::new()), SLOW + WAIT, Some(Fault::Unknown)),
        (Answer::Answered(vec![labelled]), WAIT, Some(Fault::Its)),
        (unknown(UnknownReason::BadQuery), WAIT, Some(Fault::Its)),
        (unknown(UnknownReason::PartialAnswer), WAIT, Some(Fault::Its)),
        (unknown(UnknownReason::TooLarge), WAIT, Some(Fault::Its)),
        (unknown(UnknownReason::Timeout), AMPLE, Some(Fault::Unknown)),
        (unknown(UnknownReason::Unreachable), WAIT, Some(Fault::Unknown)),
    ] {
        assert_eq!(fault(&answer, took, SLOW), expected, "{answer:?} {took:?}");
    }
}
