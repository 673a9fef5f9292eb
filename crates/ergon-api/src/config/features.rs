//! ConfigMap `feature-flags`: what may be used, and how runs behave.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::read::{Choice, Problem, Reader};

/// Results of at most so many bytes fit into an object of the API server.
const RESULT_LIMIT: u32 = 1_572_864;
/// What Tekton gives a result, for want of a way for larger ones.
const DEFAULT_RESULT_SIZE: u32 = 4096;
/// Pods that wait hold what they ask for: a few hide the start of the next tasks.
const DEFAULT_PRESTART_LIMIT: u32 = 4;
const MOST_PRESTARTED: u32 = 1000;

/// The flags. As JSON they are what `status.provenance.featureFlags` shows, under Tekton's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Do not give steps the credentials of annotated Secrets.
    #[serde(skip_serializing_if = "is_false")]
    pub disable_creds_init: bool,
    /// Other controllers put containers into our pods.
    #[serde(skip_serializing_if = "is_false")]
    pub running_in_env_with_injected_sidecars: bool,
    /// Refuse annotated SSH Secrets without `known_hosts`.
    #[serde(rename = "requireGitSSHSecretKnownHosts", skip_serializing_if = "is_false")]
    pub require_git_ssh_secret_known_hosts: bool,
    /// How new a field may be to be used.
    #[serde(rename = "enableAPIFields")]
    pub api_fields: ApiFields,
    /// Send CloudEvents of CustomRuns too.
    #[serde(rename = "sendCloudEventsForRuns", skip_serializing_if = "is_false")]
    pub send_cloud_events_for_runs: bool,
    /// Steps wait until sidecars are ready.
    #[serde(skip_serializing_if = "is_false")]
    pub await_sidecar_readiness: bool,
    /// Proof of results by SPIRE, which is not served.
    pub enforce_nonfalsifiability: Nonfalsifiability,
    /// A cancelled TaskRun keeps its pod and so its logs; otherwise the pod is deleted.
    #[serde(rename = "enableKeepPodOnCancel", skip_serializing_if = "is_false")]
    pub keep_pod_on_cancel: bool,
    /// What to do with a remote Task or Pipeline that no policy of verification matches.
    pub verification_no_match_policy: NoMatchPolicy,
    /// Write where specs came from, and these flags, into statuses.
    #[serde(rename = "enableProvenanceInStatus", skip_serializing_if = "is_false")]
    pub provenance_in_status: bool,
    /// How results travel where there is no agent to report them.
    #[serde(rename = "resultExtractionMethod")]
    pub results_from: ResultsFrom,
    /// How large one result may be, in bytes. Tekton's own file says 4096, which nobody has chosen: see
    /// [`Features::result_limit`].
    pub max_result_size: u32,
    /// Containers of our own get a restricted security context.
    #[serde(skip_serializing_if = "is_false")]
    pub set_security_context: bool,
    /// Containers of our own cannot write to their root filesystem.
    #[serde(rename = "setSecurityContextReadOnlyRootFilesystem", skip_serializing_if = "is_false")]
    pub set_security_context_read_only_root_filesystem: bool,
    /// Which pods of a PipelineRun run on one node.
    pub coschedule: Coschedule,
    /// `cel` in `when`.
    #[serde(rename = "enableCELInWhenExpression", skip_serializing_if = "is_false")]
    pub cel_in_when: bool,
    /// `enum` in parameters.
    #[serde(rename = "enableParamEnum", skip_serializing_if = "is_false")]
    pub param_enum: bool,
    /// Artifacts of steps.
    #[serde(rename = "enableArtifacts", skip_serializing_if = "is_false")]
    pub artifacts: bool,
    /// Where specs may not be written inline.
    #[serde(skip_serializing_if = "InlineSpecs::is_none")]
    pub disable_inline_spec: InlineSpecs,
    /// `taskRef.name` and `pipelineRef.name` may be a URL.
    #[serde(rename = "enableConciseResolverSyntax", skip_serializing_if = "is_false")]
    pub concise_resolver_syntax: bool,
    /// All sidecars are Kubernetes' own; otherwise those that need the kubelet for their probes or hooks.
    #[serde(rename = "enableKubernetesSidecar", skip_serializing_if = "is_false")]
    pub kubernetes_sidecar: bool,
    /// Objects that cannot be created for a moment are tried again after growing pauses, as they are in any case.
    #[serde(rename = "enableWaitExponentialBackoff", skip_serializing_if = "is_false")]
    pub wait_exponential_backoff: bool,
    /// Termination messages are compressed.
    #[serde(rename = "enableTerminationMessageCompression", skip_serializing_if = "is_false")]
    pub termination_message_compression: bool,
    /// How many pods of a run may wait for their tasks' turns at a time, where runs ask for it. Only here, not in Tekton.
    #[serde(skip)]
    pub prestart_limit: u32,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            disable_creds_init: false,
            running_in_env_with_injected_sidecars: true,
            require_git_ssh_secret_known_hosts: false,
            api_fields: ApiFields::Alpha,
            send_cloud_events_for_runs: true,
            await_sidecar_readiness: true,
            enforce_nonfalsifiability: Nonfalsifiability::None,
            keep_pod_on_cancel: true,
            verification_no_match_policy: NoMatchPolicy::Ignore,
            provenance_in_status: true,
            results_from: ResultsFrom::TerminationMessage,
            max_result_size: DEFAULT_RESULT_SIZE,
            set_security_context: false,
            set_security_context_read_only_root_filesystem: false,
            coschedule: Coschedule::Workspaces,
            cel_in_when: true,
            param_enum: true,
            artifacts: true,
            disable_inline_spec: InlineSpecs::default(),
            concise_resolver_syntax: true,
            kubernetes_sidecar: false,
            wait_exponential_backoff: false,
            termination_message_compression: false,
            prestart_limit: DEFAULT_PRESTART_LIMIT,
        }
    }
}

impl Features {
    /// The most bytes that the installation allows one result; none where it has not chosen: results of any size that
    /// an object can hold have a way here.
    pub fn result_limit(&self) -> Option<usize> {
        (self.max_result_size != DEFAULT_RESULT_SIZE).then(|| usize::try_from(self.max_result_size).ok())?
    }

    pub(super) fn read(data: &BTreeMap<String, String>) -> (Self, Vec<Problem>) {
        let mut all = Self::default();
        let mut reader = Reader::new("feature-flags", data);
        for (key, target) in [
            ("disable-creds-init", &mut all.disable_creds_init),
            ("running-in-environment-with-injected-sidecars", &mut all.running_in_env_with_injected_sidecars),
            ("await-sidecar-readiness", &mut all.await_sidecar_readiness),
            ("require-git-ssh-secret-known-hosts", &mut all.require_git_ssh_secret_known_hosts),
            ("send-cloudevents-for-runs", &mut all.send_cloud_events_for_runs),
            ("enable-provenance-in-status", &mut all.provenance_in_status),
            ("keep-pod-on-cancel", &mut all.keep_pod_on_cancel),
            ("set-security-context", &mut all.set_security_context),
            (
                "set-security-context-read-only-root-filesystem",
                &mut all.set_security_context_read_only_root_filesystem,
            ),
            ("enable-cel-in-whenexpression", &mut all.cel_in_when),
            ("enable-param-enum", &mut all.param_enum),
            ("enable-artifacts", &mut all.artifacts),
            ("enable-concise-resolver-syntax", &mut all.concise_resolver_syntax),
            ("enable-kubernetes-sidecar", &mut all.kubernetes_sidecar),
            ("enable-wait-exponential-backoff", &mut all.wait_exponential_backoff),
            ("enable-termination-message-compression", &mut all.termination_message_compression),
        ] {
            reader.flag(key, target);
        }
        reader.choice("enable-api-fields", &mut all.api_fields);
        reader
            .choice("trusted-resources-verification-no-match-policy", &mut all.verification_no_match_policy);
        reader.choice("results-from", &mut all.results_from);
        if let Some(size) = reader.number("max-result-size", RESULT_LIMIT, "bytes") {
            all.max_result_size = size;
        }
        if let Some(limit) = reader.number("prestart-limit", MOST_PRESTARTED, "pods") {
            all.prestart_limit = limit;
        }
        reader.choice("coschedule", &mut all.coschedule);
        reader.choice("enforce-nonfalsifiability", &mut all.enforce_nonfalsifiability);
        if all.enforce_nonfalsifiability == Nonfalsifiability::Spire {
            reader.error(
                "enforce-nonfalsifiability",
                "`enforce-nonfalsifiability` is `spire`, which is not served: results would not be proven",
                Some("write `none`".to_owned()),
            );
        }
        all.disable_inline_spec.read(&mut reader, "disable-inline-spec");
        // Once gates of what is always there by now, and settings of Tekton's own memory use.
        for key in ["enable-step-actions", "enable-tekton-oci-bundles", "enable-informer-cache-transforms"] {
            let mut ignored = false;
            reader.flag(key, &mut ignored);
        }
        (all, reader.finish())
    }
}

/// How new a field may be to be used. Each allows what those before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiFields {
    Stable,
    Beta,
    Alpha,
}

impl ApiFields {
    /// True where a field that needs `wanted` may be used.
    pub fn allow(self, wanted: Self) -> bool {
        self >= wanted
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Beta => "beta",
            Self::Alpha => "alpha",
        }
    }
}

impl Choice for ApiFields {
    const ALL: &'static [Self] = &[Self::Stable, Self::Beta, Self::Alpha];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// Which pods of a PipelineRun run on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Coschedule {
    /// Those that share a claim.
    Workspaces,
    /// All.
    PipelineRuns,
    /// All, and no other PipelineRun's with them.
    #[serde(rename = "isolate-pipelinerun")]
    IsolatePipelineRun,
    /// None has to.
    Disabled,
    /// Tasks that follow each other share a pod. Only here, not in Tekton.
    Pod,
}

impl Choice for Coschedule {
    const ALL: &'static [Self] =
        &[Self::Workspaces, Self::PipelineRuns, Self::IsolatePipelineRun, Self::Disabled, Self::Pod];

    fn word(self) -> &'static str {
        match self {
            Self::Workspaces => "workspaces",
            Self::PipelineRuns => "pipelineruns",
            Self::IsolatePipelineRun => "isolate-pipelinerun",
            Self::Disabled => "disabled",
            Self::Pod => "pod",
        }
    }
}

/// What to do with a remote Task or Pipeline that no policy of verification matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoMatchPolicy {
    Ignore,
    Warn,
    Fail,
}

impl Choice for NoMatchPolicy {
    const ALL: &'static [Self] = &[Self::Ignore, Self::Warn, Self::Fail];

    fn word(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// How results travel where there is no agent to report them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultsFrom {
    TerminationMessage,
    SidecarLogs,
}

impl Choice for ResultsFrom {
    const ALL: &'static [Self] = &[Self::TerminationMessage, Self::SidecarLogs];

    fn word(self) -> &'static str {
        match self {
            Self::TerminationMessage => "termination-message",
            Self::SidecarLogs => "sidecar-logs",
        }
    }
}

/// Proof that results are what steps wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Nonfalsifiability {
    None,
    Spire,
}

impl Choice for Nonfalsifiability {
    const ALL: &'static [Self] = &[Self::None, Self::Spire];

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Spire => "spire",
        }
    }
}

/// Kinds in which specs may not be written inline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct InlineSpecs {
    /// `taskSpec` and `pipelineSpec` in a Pipeline.
    pub pipeline: bool,
    /// `pipelineSpec` in a PipelineRun.
    pub pipeline_run: bool,
    /// `taskSpec` in a TaskRun.
    pub task_run: bool,
}

impl InlineSpecs {
    /// True where they may be everywhere.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn read(&mut self, reader: &mut Reader<'_>, key: &'static str) {
        let text = reader.get(key).unwrap_or_default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "pipeline" => self.pipeline = true,
                "pipelinerun" => self.pipeline_run = true,
                "taskrun" => self.task_run = true,
                _ => reader.error(
                    key,
                    format!("`{key}` has `{word}`, which is none of pipeline, pipelinerun, taskrun"),
                    None,
                ),
            }
        }
    }
}

impl Serialize for InlineSpecs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words: Vec<&str> =
            [(self.pipeline, "pipeline"), (self.pipeline_run, "pipelinerun"), (self.task_run, "taskrun")]
                .into_iter()
                .filter_map(|(set, word)| set.then_some(word))
                .collect();
        serializer.serialize_str(&words.join(","))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}
