//! Schemas for parts that are typed in Rust but open in the custom resource definition.
//!
//! The full schema of a Kubernetes pod template alone is larger than what `kubectl apply` may store in its annotation,
//! and parts of it may hold `$(…)` where Kubernetes wants a number. The webhook and the linter check these parts.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Any object.
pub(crate) fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of any objects.
pub(crate) fn list(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": object(generator) })
}

/// Any value at all: no `type`, which a structural schema allows only together with this extension.
pub(crate) fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of texts, numbers, true and false.
pub(crate) fn scalars(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": any(generator) })
}

/// A number.
pub(crate) fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number" })
}
