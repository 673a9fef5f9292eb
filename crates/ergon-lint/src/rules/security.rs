//! Steps that may do more than they need.

use ergon_api::{StepActionSpec, TaskSpec};
use k8s_openapi::api::core::v1::SecurityContext;

use super::code;
use crate::report::Report;
use crate::rule::{PRIVILEGED, ROOT};
use crate::spec::At;

pub(crate) fn task(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    code::each(at, |path, code| check(report, path, code.security));
    if let Some(template) = &at.spec.step_template {
        check(report, &format!("{}.stepTemplate", at.path), template.security_context.as_ref());
    }
}

pub(crate) fn action(report: &mut Report<'_>, at: &At<'_, StepActionSpec>) {
    check(report, &at.path, at.spec.security_context.as_ref());
}

fn check(report: &mut Report<'_>, path: &str, security: Option<&SecurityContext>) {
    let Some(security) = security else { return };
    let path = format!("{path}.securityContext");
    if security.privileged == Some(true) {
        report
            .at_value(
                &PRIVILEGED,
                &format!("{path}.privileged"),
                "the step is privileged: it may do on its node all that root may do there",
            )
            .help("name the capabilities that it needs, as in `capabilities: {add: [SYS_ADMIN]}`".to_owned());
    }
    if security.run_as_user == Some(0) {
        report.at_value(&ROOT, &format!("{path}.runAsUser"), "the step runs as root").help(
            "leave it out, or name another user, unless the step installs or mounts something".to_owned(),
        );
    }
}
