//! ResolutionRequest: a question to a resolver as an object, for resolvers that are programs of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, ConditionStatus, Param, RefSource, condition, lenient};

/// A question to a resolver. Who asks creates it; the resolver that its label names fills in its status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolutionRequest {
    /// `resolution.tekton.dev/v1beta1`.
    pub api_version: String,
    /// `ResolutionRequest`.
    pub kind: String,
    /// Name, namespace, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: ResolutionRequestSpec,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ResolutionRequestStatus>,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolutionRequestSpec {
    /// Parameters for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub params: Vec<Param>,
    /// The reference's name, where it is an address.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub url: Option<String>,
}

/// The answer to a question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolutionRequestStatus {
    /// What is known about the request. `Succeeded` is `Unknown` while a resolver is at it.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the resolver says of the answer besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub annotations: BTreeMap<String, String>,
    /// What was fetched, in base64.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient::or_default")]
    pub data: String,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_source: Option<RefSource>,
    /// The old name of `refSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<RefSource>,
}

impl ResolutionRequest {
    /// The kind's name.
    pub const KIND: &'static str = "ResolutionRequest";
    /// The name in URLs.
    pub const PLURAL: &'static str = "resolutionrequests";
    /// The API group.
    pub const GROUP: &'static str = "resolution.tekton.dev";
    /// The stored version.
    pub const VERSION: &'static str = "v1beta1";
    /// The group and the stored version.
    pub const API_VERSION: &'static str = "resolution.tekton.dev/v1beta1";
    /// The older version, whose parameters are a map of texts.
    pub const OLDER_API_VERSION: &'static str = "resolution.tekton.dev/v1alpha1";
    /// The name of the kind's definition.
    pub const DEFINITION: &'static str = "resolutionrequests.resolution.tekton.dev";
    /// The label that says which resolver the request is for.
    pub const RESOLVER_LABEL: &'static str = "resolution.tekton.dev/type";

    /// The resolver that the request is for, or the empty text.
    pub fn resolver(&self) -> &str {
        let labels = self.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(Self::RESOLVER_LABEL)).map_or("", String::as_str)
    }

    /// The `Succeeded` condition.
    pub fn condition(&self) -> Option<&Condition> {
        self.status.as_ref().and_then(|status| condition::find_succeeded(&status.conditions))
    }

    /// True once there is an answer, or never will be one.
    pub fn is_done(&self) -> bool {
        self.condition().is_some_and(|condition| condition.status != ConditionStatus::Unknown)
    }
}

impl ResolutionRequestStatus {
    /// Sets a condition. The time of its last transition moves only when its status changes. Returns true when anything
    /// but the time differs.
    pub fn set_condition(&mut self, condition: Condition, now: Time) -> bool {
        condition::set(&mut self.conditions, condition, now)
    }
}

impl kube_core::Resource for ResolutionRequest {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Self::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        Self::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        Self::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        Self::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
