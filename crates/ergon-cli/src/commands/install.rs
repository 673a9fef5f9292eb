//! `ergon install`: Ergon into a cluster.

use clap::Args;
use ergon_api::Group;
use ergon_controller::beside::Beside;
use ergon_controller::install::{self, InstallError, InstallOptions, Step};
use serde_json::Value;

use crate::args::ClusterArgs;
use crate::cluster::connect;
use crate::console::Console;
use crate::failure::{Code, Failure, Result};

/// Installs Ergon into the cluster, or brings it to this version: kinds, controller, webhooks, roles.
///
/// It ends when all of it works. `--print` prints the manifests instead and needs no cluster.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon install
  ergon install --group ergon.dev          leave tekton.dev to Tekton
  ergon install --print | kubectl apply --server-side -f -")]
pub struct InstallArgs {
    /// Print the manifests; install nothing.
    #[arg(long)]
    print: bool,

    /// The image with the controller, the agent and the shim.
    #[arg(long, value_name = "IMAGE", env = "ERGON_IMAGE")]
    image: Option<String>,

    /// When nodes pull the image: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: Option<String>,

    /// How many controllers. They share the runs; each checks what is submitted.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    replicas: u32,

    /// Install no webhooks: what is submitted is neither completed nor checked.
    #[arg(long)]
    no_webhooks: bool,

    /// Whether Tekton runs in the same cluster: then its kinds and webhooks stay its own, and of their runs Ergon takes
    /// those with `managedBy: ergon.dev/controller`. `auto` goes by who brought the definitions of `tekton.dev`.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Beside::Auto)]
    beside_tekton: Beside,

    /// The namespace of the ConfigMaps with settings, such as `feature-flags`.
    #[arg(long, value_name = "NAME", default_value = install::TEKTON_NAMESPACE)]
    tekton_namespace: String,

    /// One more argument for the controller; may be repeated.
    #[arg(long = "controller-arg", value_name = "ARG", allow_hyphen_values = true)]
    controller_args: Vec<String>,
}

pub async fn install(args: InstallArgs, cluster: &ClusterArgs, console: Console) -> Result {
    let mut options = options(cluster);
    if let Some(image) = args.image {
        options.image = image;
    }
    options.image_pull_policy = args.image_pull_policy;
    options.replicas = args.replicas;
    options.webhooks = !args.no_webhooks;
    options.beside_tekton = args.beside_tekton;
    options.tekton_namespace = args.tekton_namespace;
    options.args = args.controller_args;
    if args.print {
        return print(&options, console);
    }
    let ergon = connect(cluster).await?;
    // It is large, and would make the future of every command as large.
    Box::pin(install::apply(ergon.client(), &options, |step| tell(&step, console)))
        .await
        .map_err(|error| failure(&error))?;
    console.line(&format!("Ergon is installed in namespace `{}`", options.namespace))?;
    console.hint("`ergon start -f FILE --follow` runs something");
    Ok(())
}

/// The options that installing and removing share. The namespace is Ergon's own, not the context's.
pub fn options(cluster: &ClusterArgs) -> InstallOptions {
    let mut options = InstallOptions::default();
    if let Some(namespace) = &cluster.namespace {
        options.namespace.clone_from(namespace);
    }
    if let Some(group) = cluster.group {
        options.groups = vec![Group::from(group)];
    }
    options
}

/// Tells one step to whoever waits.
pub fn tell(step: &Step, console: Console) {
    match step {
        Step::Applied { kind, name } => console.say(&format!("applied {kind} `{name}`")),
        Step::Kept { kind, name } => console.say(&format!("kept {kind} `{name}` as it is")),
        Step::Beside => console.say(
            "Tekton is in the cluster: its kinds stay its own, and of their runs those with \
             `managedBy: ergon.dev/controller` are Ergon's",
        ),
        Step::Deleted { kind, name } => console.say(&format!("deleted {kind} `{name}`")),
        Step::Waiting { what } => console.say(&format!("waiting until {what}")),
    }
}

/// Why it stopped, with all causes.
pub fn failure(error: &InstallError) -> Failure {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        message = format!("{message}: {inner}");
        source = inner.source();
    }
    match error {
        InstallError::Foreign(_) => Failure::invalid(message).hint("`ergon install --beside-tekton auto` leaves Tekton's runs to it, `--group ergon.dev` all of its kinds"),
        InstallError::Late { .. } => Failure::new(Code::Unreachable, message)
            .hint("`kubectl get pods,events -n ergon-system` shows what it waits for"),
        InstallError::Api { .. } | InstallError::Watch { .. } => Failure::new(Code::Unreachable, message)
            .hint("installing needs the rights of a cluster's administrator; `--print` shows all that is installed"),
    }
}

fn print(options: &InstallOptions, console: Console) -> Result {
    let mut text = String::new();
    for object in install::manifests(options) {
        let unwritable = |error: String| Failure::invalid(format!("the manifest cannot be written: {error}"));
        let value: Value = serde_json::to_value(object).map_err(|error| unwritable(error.to_string()))?;
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&value).map_err(|error| unwritable(error.to_string()))?);
    }
    console.print(&text)
}
