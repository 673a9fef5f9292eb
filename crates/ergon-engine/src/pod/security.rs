//! Security contexts: the restricted Pod Security Standard holds unless the Task itself asks for more.

use ergon_api::Group;
use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// Who steps are when nothing else is said under `ergon.dev`: nobody in particular, as distroless images have it.
const DEFAULT_USER: i64 = 65532;

/// The pod's own context. Under `tekton.dev` it is just what the user wrote: Tekton's tasks may count on root.
///
/// `fsGroup` only where a volume may come with another owner: the kubelet walks all volumes for it, which costs time,
/// and empty folders can be written to by anyone.
pub(super) fn pod(
    group: Group,
    wanted: Option<&PodSecurityContext>,
    foreign_volumes: bool,
) -> Option<PodSecurityContext> {
    if group == Group::Tekton {
        return wanted.cloned();
    }
    let wanted = wanted.cloned().unwrap_or_default();
    let as_root = wanted.run_as_user == Some(0);
    let group_of_volumes = foreign_volumes && !as_root;
    Some(PodSecurityContext {
        run_as_non_root: wanted.run_as_non_root.or(Some(!as_root)),
        run_as_user: wanted.run_as_user.or(Some(DEFAULT_USER)),
        run_as_group: wanted.run_as_group.or((!as_root).then_some(DEFAULT_USER)),
        fs_group: wanted.fs_group.or(group_of_volumes.then_some(DEFAULT_USER)),
        fs_group_change_policy: wanted
            .fs_group_change_policy
            .clone()
            .or_else(|| group_of_volumes.then(|| "OnRootMismatch".to_owned())),
        seccomp_profile: wanted.seccomp_profile.clone().or_else(|| Some(default_seccomp())),
        ..wanted
    })
}

/// The same for other volumes: the group that volumes get only where they need one. `wanted`: what the user wrote.
pub(crate) fn with_volumes(
    group: Group,
    context: Option<PodSecurityContext>,
    wanted: Option<&PodSecurityContext>,
    foreign_volumes: bool,
) -> Option<PodSecurityContext> {
    let anew = pod(group, wanted, foreign_volumes)?;
    let PodSecurityContext { fs_group, fs_group_change_policy, .. } = anew;
    Some(PodSecurityContext { fs_group, fs_group_change_policy, ..context? })
}

/// A step's or a sidecar's context.
pub(super) fn container(group: Group, wanted: Option<&SecurityContext>) -> Option<SecurityContext> {
    if group == Group::Tekton {
        return wanted.cloned();
    }
    let wanted = wanted.cloned().unwrap_or_default();
    let as_root = wanted.run_as_user == Some(0);
    let privileged = wanted.privileged == Some(true);
    Some(SecurityContext {
        run_as_non_root: wanted.run_as_non_root.or(as_root.then_some(false)),
        allow_privilege_escalation: wanted.allow_privilege_escalation.or((!privileged).then_some(false)),
        // Root without capabilities cannot even write to another's file: who asks for root gets the usual ones.
        capabilities: wanted.capabilities.clone().or_else(|| (!as_root && !privileged).then(drop_all)),
        ..wanted
    })
}

/// The agent's and the init container's context, whatever the group.
pub(super) fn ours() -> SecurityContext {
    SecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(DEFAULT_USER),
        run_as_group: Some(DEFAULT_USER),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(drop_all()),
        seccomp_profile: Some(default_seccomp()),
        ..Default::default()
    }
}

fn drop_all() -> Capabilities {
    Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Default::default() }
}

fn default_seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..Default::default() }
}
