//! Reads the global scrape interval from the server's configuration.
//!
//! Rejected alternative: a YAML library, which is too large for one value. The server
//! always prints its configuration in block style, with `global:` at the start of a
//! line, so this module reads it line by line. Any other format counts as "not
//! reported". If a job scrapes at another interval, the user sets it in the source.

use std::time::Duration;

use prunella_core::observation::Unknown;
use serde::Deserialize;

use super::failure;
use super::request::Body;

#[derive(Deserialize)]
struct ConfigEnvelope {
    data: Config,
}

#[derive(Deserialize)]
struct Config {
    yaml: String,
}

/// The interval, or `None` if the body does not contain it.
///
/// # Errors
/// The server could not answer.
pub(super) fn read(body: &Body) -> Result<Option<Duration>, Unknown> {
    if body.status.is_server_error() {
        return Err(failure::of_status(body.status, "", ""));
    }
    let envelope = serde_json::from_slice::<ConfigEnvelope>(&body.bytes).ok();
    Ok(envelope.and_then(|envelope| global(&envelope.data.yaml)))
}

fn global(yaml: &str) -> Option<Duration> {
    let after = yaml.lines().skip_while(|line| line.trim_end() != "global:").skip(1);
    let mut block = after.take_while(|line| line.starts_with(' '));
    let value = block.find_map(|line| line.strip_prefix("  scrape_interval:"))?;
    duration(value.trim())
}

/// Parses a duration as Prometheus prints it: `1m`, `1m30s`, `500ms`. Zero counts as
/// missing.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        millis = number.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(millis)?;
        rest = tail;
    }
    (millis > 0).then(|| Duration::from_millis(millis))
}
