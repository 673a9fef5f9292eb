//! The two API groups that serve the same kinds, and what they call things.

use std::fmt;

/// An API group. It is the [`DynamicType`](kube_core::Resource::DynamicType) of every kind here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Group {
    /// `ergon.dev`: our own, with our templates and additions.
    #[default]
    Ergon,
    /// `tekton.dev`: Tekton's, with Tekton's substitution and rules.
    Tekton,
}

impl Group {
    /// Both, in a stable order.
    pub const ALL: [Self; 2] = [Self::Ergon, Self::Tekton];

    /// The group of an API version such as `tekton.dev/v1`, when it is one of ours.
    pub fn of(api_version: &str) -> Option<Self> {
        let (name, _) = api_version.split_once('/')?;
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// `ergon.dev` or `tekton.dev`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ergon => "ergon.dev",
            Self::Tekton => "tekton.dev",
        }
    }

    /// The API version of Task, Pipeline, TaskRun and PipelineRun.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Ergon => "ergon.dev/v1",
            Self::Tekton => "tekton.dev/v1",
        }
    }

    /// The API version of StepAction and CustomRun.
    pub const fn beta_api_version(self) -> &'static str {
        match self {
            Self::Ergon => "ergon.dev/v1beta1",
            Self::Tekton => "tekton.dev/v1beta1",
        }
    }

    /// A label or annotation of this group, such as `tekton.dev/taskRun`.
    pub fn label(self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }

    /// The value of the `app.kubernetes.io/managed-by` label.
    pub const fn managed_by(self) -> &'static str {
        match self {
            Self::Ergon => "ergon",
            Self::Tekton => "tekton-pipelines",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Implements [`kube_core::Resource`] and the constructor for a kind that both groups serve.
macro_rules! impl_kind {
    ($kind:ident, $plural:literal, $singular:literal, $version:literal) => {
        impl $kind {
            /// The kind's name.
            pub const KIND: &'static str = stringify!($kind);
            /// The name in URLs.
            pub const PLURAL: &'static str = $plural;
            /// The name for one, in commands.
            pub const SINGULAR: &'static str = $singular;
            /// The version in both groups.
            pub const VERSION: &'static str = $version;

            /// An object with its type and name set and nothing else.
            pub fn new(group: $crate::Group, name: &str) -> Self {
                Self {
                    api_version: format!("{}/{}", group.name(), $version),
                    kind: Self::KIND.to_owned(),
                    metadata: kube_core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
                    ..Self::default()
                }
            }

            /// The group that the object says it is of; Ergon's when it says none.
            pub fn group(&self) -> $crate::Group {
                $crate::Group::of(&self.api_version).unwrap_or_default()
            }

            /// The object's name, or the empty text.
            pub fn name(&self) -> &str {
                self.metadata.name.as_deref().unwrap_or_default()
            }

            /// The object's namespace, or the empty text.
            pub fn namespace(&self) -> &str {
                self.metadata.namespace.as_deref().unwrap_or_default()
            }

            /// The object's UID, or the empty text.
            pub fn uid(&self) -> &str {
                self.metadata.uid.as_deref().unwrap_or_default()
            }
        }

        impl kube_core::Resource for $kind {
            type DynamicType = $crate::Group;
            // Not the namespaced scope: `Api::namespaced_with`, which takes the group, exists for this one alone.
            type Scope = kube_core::DynamicResourceScope;

            fn kind(_: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                Self::KIND.into()
            }

            fn group(group: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                group.name().into()
            }

            fn version(_: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                Self::VERSION.into()
            }

            fn plural(_: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                Self::PLURAL.into()
            }

            fn meta(&self) -> &kube_core::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube_core::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

pub(crate) use impl_kind;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_an_api_version() {
        assert_eq!(Group::of("tekton.dev/v1"), Some(Group::Tekton));
        assert_eq!(Group::of("ergon.dev/v1beta1"), Some(Group::Ergon));
        assert_eq!(Group::of("v1"), None);
        assert_eq!(Group::of("triggers.tekton.dev/v1beta1"), None);
        assert_eq!(Group::Tekton.label("taskRun"), "tekton.dev/taskRun");
    }
}
