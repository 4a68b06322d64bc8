//! What can be typed.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use testbed::Options;

/// A real Kubernetes and Prometheus on this machine
#[derive(Debug, Parser)]
#[command(name = "testbed", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Which testbed
    #[arg(long, global = true, env = "TESTBED_NAME", default_value = "dev")]
    pub(crate) name: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring it up; if it is up, start what has died
    Up {
        #[command(flatten)]
        options: Options,
        /// Do not remove what was made when it fails, to look at the logs
        #[arg(long)]
        keep_failed: bool,
    },
    /// Take it down and remove its data; leaves nothing, also after a killed `up`
    Down,
    /// Servers with address, health and memory; fails if one is not healthy
    Status,
    /// KUBECONFIG, URLs and PATH as shell exports: eval "$(testbed env)"
    Env {
        /// Lines of NAME=VALUE, without export and PATH
        #[arg(long)]
        plain: bool,
    },
    /// Container images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Break and mend nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Break and mend servers: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, coredns,
    /// prometheus, kube-state-metrics, alertmanager; containerd-1, kubelet-1, kube-proxy-1 and so on for each node
    #[command(subcommand)]
    Server(ServerCommand),
    /// A server's log
    Logs {
        /// As in `testbed server --help`
        server: String,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
    },
    /// The API server's request log, JSON lines
    Audit {
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
    },
    /// Stand between clients and the API server, until SIGTERM or Ctrl-C; prints each request as a JSON line
    ///
    /// Orders are taken from the standard input, one a line: a rule as {"arm": RULE}, "disarm", "release" (what is
    /// stalled), "cut" (every connection), "pause" and "resume". A rule is JSON such as
    /// {"on": {"resource": "pods/eviction"}, "nth": 1, "times": 1, "fate": "applyThenDrop", "kill": {"pid": 123}}.
    /// "on" may hold number, method, resource, path, body and peer, and is every change if left out. "fate" is one of
    /// "swallow", "applyThenDrop", {"answer": 503}, {"applyThenAnswer": 504}, {"stall": {"millis": 500}},
    /// {"applyThenStall": {}} (until released) and "cut". "kill" is {"pid": PID} or {"command": [PROGRAM, ARGS...]}.
    Proxy {
        /// Where to listen, on the host's address on the testbed's network
        #[arg(long, default_value_t = 6444, value_name = "PORT")]
        listen_port: u16,
        /// Rules to begin with: a JSON array of them
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
        /// Resources whose changes are neither numbered nor counted, such as leases,events
        #[arg(long, value_delimiter = ',', value_name = "RESOURCE")]
        uncounted: Vec<String>,
    },
    /// kubectl, as administrator
    Kubectl {
        /// kubectl's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Make an image of a static binary and import it into every node
    Load {
        /// NAME:TAG as pods name it; not latest
        image: String,
        /// The entrypoint
        binary: PathBuf,
    },
    /// Make an image of a static binary and write it to a file, for docker, kind and minikube; needs no testbed
    Save {
        /// NAME:TAG as pods name it; not latest
        image: String,
        /// The entrypoint
        binary: PathBuf,
        /// Where to; an archive of that name is replaced
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Kill its kubelet: the node fails, its containers go on
    Kill {
        /// node-1, node-2 or node-3
        node: String,
    },
    /// Start what is dead of it
    Start {
        /// node-1, node-2 or node-3
        node: String,
    },
    /// Run a command in its namespaces
    Exec {
        /// node-1, node-2 or node-3
        node: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// SIGKILL: it is gone
    Kill {
        /// Its name
        server: String,
    },
    /// SIGSTOP: it keeps its connections and does not answer
    Pause {
        /// Its name
        server: String,
    },
    /// SIGCONT: it goes on
    Resume {
        /// Its name
        server: String,
    },
    /// Start it again and wait until it is healthy
    Start {
        /// Its name
        server: String,
    },
}
