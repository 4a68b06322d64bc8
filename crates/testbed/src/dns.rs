//! Service names in pods, by `CoreDNS`. It runs in the hub and pods reach it
//! through a Service whose endpoint is written by hand, see
//! [`crate::manifests`].

use crate::layout::{Layout, Place};
use crate::plan::{Plan, write};
use crate::process::Server;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UdpSocket;

/// A name that exists in every cluster.
const KNOWN: &str = "kubernetes.default.svc.cluster.local";

/// The server.
#[must_use]
pub(crate) fn server(plan: &Plan) -> Server {
    let args = vec!["-conf".into(), corefile(&plan.layout).display().to_string()];
    let health = format!("http://{}:8181/ready", plan.layout.hub_ip());
    plan.in_hub("coredns", args, health)
}

/// Writes the Corefile. The short TTL lets a test see a change at once.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn configure(plan: &Plan) -> Result<()> {
    let hub = plan.layout.hub_ip();
    let kubeconfig = plan.kubeconfig("coredns");
    let text = format!(
        ".:53 {{
    errors
    health {hub}:8282
    ready {hub}:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
    prometheus {hub}:9153
    cache 5
}}
"
    );
    write(&corefile(&plan.layout), &text)
}

fn corefile(layout: &Layout) -> PathBuf {
    layout.dir(Place::Hub).join("Corefile")
}

/// Asks for a known name and checks that there is an answer.
///
/// # Errors
/// When there is none within half a second.
pub(crate) async fn answers(layout: &Layout) -> Result<()> {
    let socket = UdpSocket::bind((layout.host_ip(), 0)).await.context("cannot open a socket")?;
    socket.connect((layout.hub_ip(), 53)).await.context("cannot reach CoreDNS")?;
    socket.send(&question(KNOWN)).await.context("cannot ask CoreDNS")?;
    let mut reply = [0_u8; 512];
    let length = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut reply))
        .await
        .context("CoreDNS does not answer")?
        .context("cannot hear CoreDNS")?;
    // In the header: the result, and the number of answers.
    let (result, answers) = (reply[3] & 0x0f, u16::from_be_bytes([reply[6], reply[7]]));
    ensure!(length > 12 && result == 0 && answers > 0, "CoreDNS does not know {KNOWN} yet");
    Ok(())
}

/// A DNS question for the IPv4 address of a name.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x50, 0x52, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        // Labels of KNOWN are far below the 63 bytes that fit one.
        message.extend(u8::try_from(label.len()));
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_holds_the_name_as_labels() {
        let question = question("a.bc");
        assert_eq!(&question[12..], [1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1]);
    }
}
