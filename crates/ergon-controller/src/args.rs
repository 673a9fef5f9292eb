//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ergon_api::Group;

use crate::beside::Beside;

/// The controller of Ergon: runs TaskRuns and PipelineRuns in a Kubernetes cluster.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ergon-controller",
    version,
    after_help = "Examples:\n  In a cluster (`ergon install` writes this):\n    ergon-controller --groups=ergon.dev,tekton.dev\n\n  \
        On a developer's machine, without webhooks and reports:\n    \
        ergon-controller --kubeconfig ~/.kube/config --image localhost/ergon:dev --no-webhooks --no-reports\n\n  \
        On a developer's machine that the cluster can reach at 10.42.0.1:\n    \
        ergon-controller --kubeconfig ~/.kube/config --image localhost/ergon:dev \\\n      \
        --webhook-url https://10.42.0.1:9443 --report-url https://10.42.0.1:9443/v1/report"
)]
pub struct Args {
    /// API groups to serve.
    #[arg(long, value_delimiter = ',', default_value = "ergon.dev,tekton.dev", value_parser = group)]
    pub groups: Vec<Group>,

    /// The image with the agent and the shim, for the pods of runs.
    #[arg(long, env = "ERGON_IMAGE")]
    pub image: String,

    /// The namespace of the controller's own objects: its Leases and its certificate.
    #[arg(long, env = "ERGON_NAMESPACE", default_value = "ergon-system")]
    pub namespace: String,

    /// The namespace of the ConfigMaps with settings, such as `feature-flags`.
    #[arg(long, env = "ERGON_TEKTON_NAMESPACE", default_value = crate::install::TEKTON_NAMESPACE)]
    pub tekton_namespace: String,

    /// Whether Tekton's controller runs in the same cluster: then only runs of `tekton.dev` with
    /// `managedBy: ergon.dev/controller` are worked on.
    #[arg(long, env = "ERGON_BESIDE_TEKTON", value_enum, default_value_t = Beside::Auto)]
    pub beside_tekton: Beside,

    /// The name of this replica, different from that of every other; the pod's name in a cluster.
    #[arg(long, env = "ERGON_IDENTITY", default_value_t = default_identity())]
    pub identity: String,

    /// Where the other replicas reach this one, to hand reports on to it; the pod's address in a cluster.
    #[arg(long, env = "ERGON_ADDRESS", value_name = "IP")]
    pub address: Option<IpAddr>,

    /// How many runs are worked on at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,

    /// Whether pods may mount images as volumes; `auto` goes by the API server's version.
    #[arg(long, value_enum, default_value_t = Switch::Auto)]
    pub image_volumes: Switch,

    /// Where agents reach this controller, as they see it.
    #[arg(long, value_name = "URL")]
    pub report_url: Option<String>,

    /// Take no reports of agents: outcomes are read from pods alone, more slowly and with Tekton's limits.
    #[arg(long, conflicts_with = "report_url")]
    pub no_reports: bool,

    /// Where the API server reaches this controller, when it does not run behind its Service. Registers the webhooks.
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<String>,

    /// Serve no webhooks: objects are neither defaulted nor checked when they are admitted.
    #[arg(long, conflicts_with = "webhook_url")]
    pub no_webhooks: bool,

    /// Work on all runs without a Lease. Only where surely no other controller runs.
    #[arg(long)]
    pub alone: bool,

    /// The port of webhooks and reports (HTTPS).
    #[arg(long, default_value_t = crate::install::TLS_PORT)]
    pub tls_port: u16,

    /// The port of /healthz, /readyz and /metrics (HTTP).
    #[arg(long, default_value_t = crate::install::HTTP_PORT)]
    pub http_port: u16,

    /// The kubeconfig file; without it the usual ones, or the service account in a pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig.
    #[arg(long)]
    pub context: Option<String>,

    /// What to log: a level, or `target=level` pairs.
    #[arg(long, env = "ERGON_LOG", default_value = "info")]
    pub log_level: String,

    /// How to log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// On, off, or found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    Auto,
    On,
    Off,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

fn group(name: &str) -> Result<Group, String> {
    Group::ALL.into_iter().find(|group| group.name() == name).ok_or_else(|| {
        format!("`{name}` is not served: write `ergon.dev`, `tekton.dev` or both with a comma")
    })
}

fn default_identity() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| format!("process-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn groups() {
        let parse = |groups: &str| {
            Args::try_parse_from(["ergon-controller", "--image=i", &format!("--groups={groups}")])
                .map(|args| args.groups)
                .map_err(|error| error.to_string())
        };
        assert_eq!(parse("tekton.dev"), Ok(vec![Group::Tekton]));
        assert_eq!(parse("ergon.dev,tekton.dev"), Ok(Group::ALL.to_vec()));
        assert!(parse("argo").is_err_and(|error| error.contains("`argo` is not served")));
    }
}
