//! What steps, sidecars and StepActions have in common: an image, and what it runs.

use ergon_api::{ParamSpec, StepActionSpec, TaskSpec};
use k8s_openapi::api::core::v1::{EnvVar, SecurityContext};

use crate::spec::At;

/// A container, as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code<'a> {
    pub image: Option<&'a str>,
    pub script: Option<&'a str>,
    pub command: &'a [String],
    pub args: &'a [String],
    pub env: &'a [EnvVar],
    /// Variables that it has from elsewhere.
    pub more_env: &'a [EnvVar],
    pub security: Option<&'a SecurityContext>,
    pub params: &'a [ParamSpec],
}

/// Calls `visit` with every container of a Task and its place.
pub(crate) fn each<'a>(at: &At<'a, TaskSpec>, mut visit: impl FnMut(&str, Code<'a>)) {
    let template = at.spec.step_template.as_ref();
    let more_env: &[EnvVar] = template.map_or(&[], |template| &template.env);
    let params = &at.spec.params;
    for (index, step) in at.spec.steps.iter().enumerate() {
        let code = Code {
            image: step.image.as_deref(),
            script: step.script.as_deref(),
            command: &step.command,
            args: &step.args,
            env: &step.env,
            more_env,
            security: step.security_context.as_ref(),
            params,
        };
        visit(&format!("{}.steps[{index}]", at.path), code);
    }
    for (index, sidecar) in at.spec.sidecars.iter().enumerate() {
        let code = Code {
            image: sidecar.image.as_deref(),
            script: sidecar.script.as_deref(),
            command: &sidecar.command,
            args: &sidecar.args,
            env: &sidecar.env,
            more_env: &[],
            security: sidecar.security_context.as_ref(),
            params,
        };
        visit(&format!("{}.sidecars[{index}]", at.path), code);
    }
}

/// The container of a StepAction.
pub(crate) fn of_action<'a>(at: &At<'a, StepActionSpec>) -> Code<'a> {
    let spec = at.spec;
    Code {
        image: spec.image.as_deref(),
        script: spec.script.as_deref(),
        command: &spec.command,
        args: &spec.args,
        env: &spec.env,
        more_env: &[],
        security: spec.security_context.as_ref(),
        params: &spec.params,
    }
}
