//! The version of the API server, checked once at the start. What an older one does not know, it
//! drops without a word: selectable fields and rules of the custom resources.

use std::future::pending;
use std::time::Duration;

use anyhow::anyhow;
use kube::Client;
use tracing::{debug, info};

/// The oldest minor version of Kubernetes 1 that works.
const OLDEST: u32 = 31;
/// When the version is asked for again if there was no answer.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Ends with an error if the API server is too old. Otherwise it never ends.
pub(super) async fn until_too_old(client: Client) -> anyhow::Error {
    let version = loop {
        match prunella_cluster::within(prunella_cluster::REQUEST_DEADLINE, client.apiserver_version()).await {
            Ok(version) => break version,
            // The watches report that the API server does not answer.
            Err(error) => debug!(%error, "cannot read the version of the API server, trying again"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    if is_too_old(&version.major, &version.minor) {
        return anyhow!(
            "the API server is Kubernetes {}, and Prunella needs 1.{OLDEST} or newer: upgrade the cluster",
            version.git_version
        );
    }
    info!(version = version.git_version, "the API server is new enough");
    pending().await
}

/// Whether a version is too old. Some distributions write `31+`. One that is not understood is not
/// too old: nothing must stop because of an odd name.
fn is_too_old(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    match (number(major), number(minor)) {
        (Some(major), Some(minor)) => major < 1 || major == 1 && minor < OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_api_server_before_1_31_is_too_old() {
        for (major, minor, too_old) in [
            ("1", "30", true),
            ("1", "30+", true),
            ("1", "9", true),
            ("1", "31", false),
            ("1", "31+", false),
            ("1", "36", false),
            ("2", "0", false),
            ("", "", false),
            ("1", "x", false),
        ] {
            assert_eq!(is_too_old(major, minor), too_old, "{major}.{minor}");
        }
    }
}
