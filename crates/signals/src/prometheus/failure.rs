//! Converts failures to [`UnknownReason`]s. The same cause always has the same message.

use std::error::Error;
use std::io;

use prunella_core::observation::{Unknown, UnknownReason};
use reqwest::StatusCode;

use super::config::CONNECT_TIMEOUT;
use super::request::Body;

/// The limit of characters in a message.
const MAX_MESSAGE: usize = 256;
/// The limit of characters that a message quotes from a server.
const MAX_QUOTED: usize = 160;

pub(super) fn timeout() -> Unknown {
    unknown(
        UnknownReason::Timeout,
        "no complete answer before the deadline; check the source's url, make the query cheaper, or look at the source's load",
    )
}

/// The connection failed or broke.
pub(super) fn transport(error: &reqwest::Error) -> Unknown {
    if error.is_timeout() && !error.is_connect() {
        return timeout();
    }
    let message = match kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "the connection was refused; check the source's url and that the server runs"
        }
        _ if error.is_connect() && mentions(error, "certificate") => {
            "the source's certificate is not trusted; check caBundle and the host name in the url"
        }
        _ if error.is_connect() && mentions(error, "dns error") => {
            "the source's host name does not resolve; check the source's url: in the cluster it is http://SERVICE.NAMESPACE:PORT"
        }
        _ if error.is_connect() && error.is_timeout() => return connect_timeout(),
        _ if error.is_connect() => "cannot connect to the source; check its url and network policies",
        _ => "the connection broke before the answer was complete; look at the source's log",
    };
    unknown(UnknownReason::Unreachable, message)
}

/// A failure that the status code alone decides. The body is ignored.
pub(super) fn of_status_alone(status: StatusCode) -> Option<Unknown> {
    let code = status.as_u16();
    match code {
        300..=399 => Some(unknown(
            UnknownReason::Malformed,
            &format!("the source answers {code}, a redirect, which is not followed; set the url that it redirects to"),
        )),
        404 | 405 => Some(unknown(
            UnknownReason::Malformed,
            &format!(
                "the source answers {code}: there is no Prometheus API at this url; check the path in the source's url"
            ),
        )),
        429 => Some(unknown(
            UnknownReason::Unreachable,
            "the source answers 429, too many requests; reduce its load or raise its limits",
        )),
        _ => None,
    }
}

/// A failure with an HTTP status and the API's error. `error_type` and `error` are empty
/// if the answer is not from the API, for example if it is from a proxy.
pub(super) fn of_status(status: StatusCode, error_type: &str, error: &str) -> Unknown {
    match (status.as_u16(), error_type) {
        (504, _) | (_, "timeout") => timeout(),
        (400, _) | (_, "bad_data") => refused(error),
        // The message of an execution error ends with label sets, which change.
        (422, _) | (_, "execution") => refused(stable(error)),
        (code @ 500..=599, _) => {
            unknown(UnknownReason::Unreachable, &format!("the source answers {code}; look at its log"))
        }
        (code, _) => malformed(&format!(
            "the source answers {code}, which the Prometheus API never does; check the source's url"
        )),
    }
}

/// The source refused the credentials. `basic`: it asks for a user name and a password.
pub(super) fn of_credentials(status: StatusCode, basic: bool, body: &[u8]) -> Unknown {
    let code = status.as_u16();
    let words = sentence(body);
    let message = if words.to_lowercase().contains("org id") {
        format!(
            "the source answers {code}: {words}. It holds several tenants and expects the header X-Scope-OrgID, which Prunella does not send: set the url of a proxy that adds it"
        )
    } else if basic {
        format!(
            "the source answers {code} and asks for a user name and a password: Prunella sends bearer tokens only (bearerTokenSecret); set the url of a proxy that adds the password"
        )
    } else {
        format!("the source answers {code}; set bearerTokenSecret to a token that is allowed to query")
    };
    unknown(UnknownReason::Unauthorized, &message)
}

/// The body is not the JSON of the API.
pub(super) fn not_of_the_api(body: &Body) -> Unknown {
    let (status, words) = (body.status, sentence(&body.bytes));
    match status.as_u16() {
        200..=299 if is_html(&body.bytes) => malformed(
            "the answer is an HTML page and not the JSON of the Prometheus API, it may be a login page; check the source's url",
        ),
        200..=299 => malformed("the answer is not the JSON of the Prometheus API; check the source's url"),
        // Servers with TLS answer this to a request without it.
        400 if words.is_empty() || words.to_lowercase().contains("https") => {
            malformed("the source answers 400; does it speak https? Then set an https url and caBundle")
        }
        400 => malformed(&format!(
            "the source answers 400: {words}. This is not the Prometheus API: the port may be for one tenant or for https only; check the source's url"
        )),
        _ => of_status(status, "", ""),
    }
}

/// The first line of a body in plain text, up to the first number. A page has none.
fn sentence(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(1024)).unwrap_or_default()).into_owned();
    if is_html(body) {
        // nginx writes it into the title.
        return if text.contains("HTTPS") { "https".to_owned() } else { String::new() };
    }
    let line = text.trim_start().lines().next().unwrap_or_default();
    let end = line.find(|c: char| c.is_ascii_digit()).unwrap_or(line.len());
    let words: String = line.get(..end).unwrap_or_default().chars().take(MAX_QUOTED).collect();
    words.trim_end_matches([' ', ':', ',', '.']).to_owned()
}

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

pub(super) fn malformed(message: &str) -> Unknown {
    unknown(UnknownReason::Malformed, message)
}

/// Limits the message to one line and its maximum length.
pub(super) fn unknown(reason: UnknownReason, message: &str) -> Unknown {
    let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    Unknown { reason, message: printable.take(MAX_MESSAGE).collect() }
}

/// A warning without what changes: positions in the query, addresses and times. `PromQL`
/// warnings name a metric in quotation marks, which is what a reader needs.
pub(super) fn stable_warning(warning: &str) -> String {
    if !warning.starts_with("PromQL warning:") {
        return stable(warning).to_owned();
    }
    let without_position = warning.rsplit_once(" (").map_or(warning, |(words, _)| words);
    without_position.chars().take(MAX_QUOTED).collect()
}

/// The start of a server's message that does not change: it ends before the first label
/// set, quotation or number.
pub(super) fn stable(words: &str) -> &str {
    let end = words.find(|c: char| matches!(c, '{' | '[' | '"') || c.is_ascii_digit());
    let leading: &str = words.get(..end.unwrap_or(words.len())).unwrap_or_default();
    let bounded = leading.char_indices().nth(MAX_QUOTED).map_or(leading.len(), |(at, _)| at);
    leading.get(..bounded).unwrap_or_default().trim_end_matches([' ', ':', ','])
}

fn connect_timeout() -> Unknown {
    let seconds = CONNECT_TIMEOUT.as_secs();
    unknown(
        UnknownReason::Unreachable,
        &format!("no connection within {seconds} s; check the port in the source's url, then network policies"),
    )
}

/// How Prometheus starts to say that a join finds several series where it needs one.
const AMBIGUOUS: [&str; 2] = ["found duplicate series for the match group", "multiple matches for labels"];

fn refused(error: &str) -> Unknown {
    let message = match error {
        "" => "the source refuses the query and gives no reason; look at its log".to_owned(),
        // Not a fault of the query alone: it ends by itself.
        error if AMBIGUOUS.iter().any(|words| error.contains(words)) => format!(
            "the source cannot join the series: {error}. Several series are about one object, for example while an exporter is replaced: then it ends by itself. If it stays, aggregate that side, as in max by (pod) (…)"
        ),
        error => {
            let quoted: String = error.chars().take(MAX_QUOTED).collect();
            format!("the source refuses the query: {quoted}; run the query in Prometheus and correct it")
        }
    };
    unknown(UnknownReason::BadQuery, &message)
}

fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

fn kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind).last()
}

fn mentions(error: &reqwest::Error, word: &str) -> bool {
    chain(error).any(|error| error.to_string().contains(word))
}
