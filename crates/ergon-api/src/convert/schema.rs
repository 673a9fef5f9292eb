//! The schema of a `v1beta1` object, from that of the `v1` one.

use serde_json::{Map, Value, json};

use super::shapes::{Root, Shape};

/// `schema` with the fields as `v1beta1` has them.
pub(crate) fn schema(root: Root, mut schema: Value) -> Value {
    change(&mut schema, root.shape());
    schema
}

fn change(schema: &mut Value, shape: &Shape) {
    // A list's items are what has the fields.
    if let Some(items) = schema.get_mut("items") {
        return change(items, shape);
    }
    // An object that is open in `v1` is open here too.
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, inner) in shape.inner {
        if let Some(property) = properties.get_mut(*name) {
            change(property, inner);
        }
    }
    for (name, target) in shape.merged {
        if let Some(mut property) = property(properties, target).cloned() {
            property["description"] = json!(format!("Deprecated: use `{target}`."));
            properties.insert((*name).to_owned(), property);
        }
    }
    let moved: Vec<_> = shape
        .moved
        .iter()
        .filter_map(|(name, target)| Some((*name, property(properties, target)?.clone())))
        .collect();
    for (_, target) in shape.moved {
        properties.remove(target.split_once('.').map_or(*target, |(outer, _)| outer));
    }
    properties.extend(moved.into_iter().map(|(name, property)| (name.to_owned(), property)));
    for name in shape.gone {
        let description = "Deprecated, and without any effect. Only kept.";
        let open = json!({"description": description, "x-kubernetes-preserve-unknown-fields": true});
        properties.insert((*name).to_owned(), open);
    }
    if let Some(kind) = shape.bundle {
        let description =
            format!("Deprecated: the image of a bundle with the {kind}. Use the resolver `bundles`.");
        properties.insert("bundle".to_owned(), json!({"type": "string", "description": description}));
    }
    for (name, target) in shape.merged {
        let outer = target.split_once('.').map_or(*target, |(outer, _)| outer);
        let rule = json!({
            "rule": format!("!(has(self.{name}) && has(self.{outer}))"),
            "message": format!("expected exactly one, got both: {name}, {outer}"),
        });
        match schema.get_mut("x-kubernetes-validations").and_then(Value::as_array_mut) {
            Some(rules) => rules.push(rule),
            None => schema["x-kubernetes-validations"] = json!([rule]),
        }
    }
}

/// The schema of a field by a path of one or two names.
fn property<'a>(properties: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => properties.get(path),
        Some((outer, inner)) => properties.get(outer)?.get("properties")?.get(inner),
    }
}
