//! From what went wrong to a reason of the bounded vocabulary, in words that
//! stay the same while the cause does.

use std::error::Error;
use std::io;

use prunella_core::observation::{Unknown, UnknownReason};
use reqwest::StatusCode;

/// The most characters of a message.
const MAX_MESSAGE: usize = 256;
/// The most characters of a server's words inside a message.
const MAX_QUOTED: usize = 160;

pub(super) fn timeout() -> Unknown {
    unknown(
        UnknownReason::Timeout,
        "no whole answer before the deadline; check the source's url, make the query cheaper, or look at the source's load",
    )
}

/// The connection could not be made, or broke.
pub(super) fn transport(error: &reqwest::Error) -> Unknown {
    if error.is_timeout() && !error.is_connect() {
        return timeout();
    }
    let message = match kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => "the connection was refused; check the source's url and that it runs",
        _ if error.is_connect() && mentions(error, "certificate") => {
            "the source's certificate is not trusted; check the certificate authority and the host name"
        }
        _ if error.is_connect() && mentions(error, "dns error") => {
            "the source's host name does not resolve; check the source's url: in the cluster it is http://SERVICE.NAMESPACE:PORT"
        }
        _ if error.is_connect() && error.is_timeout() => {
            "the connection was not accepted in time; check the port in the source's url, then network policies"
        }
        _ if error.is_connect() => "no connection to the source; check its url and network policies",
        _ => "the connection broke before the answer was whole",
    };
    unknown(UnknownReason::Unreachable, message)
}

/// What is settled by the status alone, whatever the body says.
pub(super) fn of_status_alone(status: StatusCode) -> Option<Unknown> {
    let code = status.as_u16();
    match code {
        401 | 403 => Some(unknown(
            UnknownReason::Unauthorized,
            &format!("the source answers {code}; give it credentials that may query"),
        )),
        300..=399 => Some(unknown(
            UnknownReason::Malformed,
            &format!("the source answers {code}, a redirect, which is not followed; set the url it leads to"),
        )),
        404 | 405 => Some(unknown(
            UnknownReason::Malformed,
            &format!("the source answers {code}: there is no Prometheus API at this url; check its path"),
        )),
        429 => Some(unknown(UnknownReason::Unreachable, "the source answers 429: it refuses more load")),
        _ => None,
    }
}

/// A status that is not success, with the error that the API sends along where
/// it is the API that speaks.
pub(super) fn of_status(status: StatusCode, error_type: &str, error: &str) -> Unknown {
    match (status.as_u16(), error_type) {
        (504, _) | (_, "timeout") => timeout(),
        (400, _) | (_, "bad_data") => refused(error),
        // The words of an execution error go on with label sets, which change.
        (422, _) | (_, "execution") => refused(stable(error)),
        (code @ 500..=599, _) => {
            unknown(UnknownReason::Unreachable, &format!("the source answers {code}; look at its log"))
        }
        (code, _) => malformed(&format!("the source answers {code}, which its API does not know")),
    }
}

pub(super) fn malformed(message: &str) -> Unknown {
    unknown(UnknownReason::Malformed, message)
}

/// Bounded, and on one line.
pub(super) fn unknown(reason: UnknownReason, message: &str) -> Unknown {
    let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    Unknown { reason, message: printable.take(MAX_MESSAGE).collect() }
}

/// The leading part of a server's words that does not vary: up to the first
/// label set, quotation or number.
pub(super) fn stable(words: &str) -> &str {
    let end = words.find(|c: char| matches!(c, '{' | '[' | '"') || c.is_ascii_digit());
    let leading: &str = words.get(..end.unwrap_or(words.len())).unwrap_or_default();
    let bounded = leading.char_indices().nth(MAX_QUOTED).map_or(leading.len(), |(at, _)| at);
    leading.get(..bounded).unwrap_or_default().trim_end_matches([' ', ':', ','])
}

fn refused(error: &str) -> Unknown {
    let message = match error {
        "" => "the source refuses the query".to_owned(),
        error => format!("the source refuses the query: {error}"),
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
