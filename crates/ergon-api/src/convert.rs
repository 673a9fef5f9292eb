//! Tekton's `v1beta1` of Task, Pipeline, TaskRun and PipelineRun, read as `v1` and written back.
//!
//! Everything here works on JSON values and never fails: what cannot be understood is left as it stands, and the types
//! of `v1` say what is wrong with it. Nothing is lost on the way: what `v1` has no place for is kept in annotations.

mod kept;
mod paths;
mod resolution;
mod schema;
mod shapes;

use serde_json::{Map, Value, json};

use crate::{Group, Pipeline, PipelineRun, ResolutionRequest, Task, TaskRun};
use kept::Kept;
use shapes::Shape;

pub(crate) use paths::as_written;
pub(crate) use schema::schema;
pub use shapes::Root;

/// The older version of Tekton's kinds.
pub const V1BETA1: &str = "v1beta1";

/// A field of a `v1beta1` object that cannot be used, though it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Where it stands, such as `spec.resources`.
    pub path: String,
    /// What is wrong, in Tekton's words.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Turns a `tekton.dev/v1beta1` object of a kind that `v1` has into its `v1` form. Other objects stay as they are.
///
/// Returned are the fields that Tekton refuses in a new object; they are kept all the same.
pub fn to_v1(object: &mut Value) -> Vec<Leftover> {
    let Some(root) = older(object) else { return Vec::new() };
    let mut kept = Kept::read(object);
    let mut leftovers = Vec::new();
    if let Some(map) = object.as_object_mut() {
        upgrade(map, root.shape(), "", &mut kept, &mut leftovers);
        map.insert("apiVersion".to_owned(), json!(Group::Tekton.api_version()));
    }
    kept.write(object);
    for leftover in &mut leftovers {
        let parent = crate::source::parent(&leftover.path);
        let name = leftover.path[parent.len()..].trim_start_matches('.');
        leftover.path = join(&as_written(root, parent), name);
    }
    leftovers
}

/// Turns a `tekton.dev/v1` object into its `v1beta1` form. Other objects stay as they are.
pub fn to_v1beta1(object: &mut Value) {
    if object.get("apiVersion").and_then(Value::as_str) != Some(Group::Tekton.api_version()) {
        return;
    }
    let Some(root) = kind_of(object).and_then(Root::of) else { return };
    let mut kept = Kept::read(object);
    if let Some(map) = object.as_object_mut() {
        downgrade(map, root.shape(), "", &mut kept);
        map.insert("apiVersion".to_owned(), json!(Group::Tekton.beta_api_version()));
    }
    kept.write(object);
}

/// The fields of a `v1` object that its `v1beta1` form has and that Tekton refuses in a new object.
pub fn refusals(object: &Value) -> Vec<Leftover> {
    let kept = Kept::read(&mut object.clone());
    kept.iter().filter_map(|(path, value)| refused(path, value)).collect()
}

fn refused(path: &str, value: &Value) -> Option<Leftover> {
    (path.starts_with("spec.") && path.ends_with("resources") && !value.is_null()).then(|| Leftover {
        path: path.to_owned(),
        message: format!("must not set the field(s): {path}"),
        help: "PipelineResources are gone: use params, results and workspaces".to_owned(),
    })
}

/// Whether an annotation holds what `v1` has no place for. It is about the object that has it, and no other.
pub fn is_kept_in(annotation: &str) -> bool {
    Kept::is_in(annotation)
}

/// The object in another version of its group. Kinds whose versions have the same fields only change their name for it.
///
/// # Errors
/// When the object says no version, or the wanted one is of another group or has no place for a value.
pub fn convert(mut object: Value, api_version: &str) -> Result<Value, ConvertError> {
    let found = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
    if group(&found).is_none() || group(&found) != group(api_version) {
        return Err(ConvertError::OtherGroup { found, wanted: api_version.to_owned() });
    }
    if api_version == Group::Tekton.api_version() {
        to_v1(&mut object);
    } else if api_version == Group::Tekton.beta_api_version() {
        to_v1beta1(&mut object);
    } else if group(api_version).as_deref() == Some(ResolutionRequest::GROUP) {
        resolution::convert(&mut object, api_version)?;
    }
    object["apiVersion"] = json!(api_version);
    Ok(object)
}

/// Why an object has no form in the wanted version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The two versions have nothing to do with each other.
    #[error("an object of `{found}` cannot be converted to `{wanted}`: they are not of one group")]
    OtherGroup {
        /// The object's version.
        found: String,
        /// The version that was asked for.
        wanted: String,
    },
    /// The older version of ResolutionRequest has texts for parameters, and these are none. In Tekton's words.
    #[error("cannot convert v1beta1 to v1alpha, non-string type parameter(s) found: {0}")]
    NotText(String),
}

/// The kind of a `v1beta1` object that has to be converted.
pub(crate) fn older(object: &Value) -> Option<Root> {
    let api_version = object.get("apiVersion").and_then(Value::as_str)?;
    if api_version == Group::Tekton.beta_api_version() { Root::of(kind_of(object)?) } else { None }
}

fn kind_of(object: &Value) -> Option<&str> {
    object.get("kind").and_then(Value::as_str)
}

impl Root {
    /// The kind, where it has a `v1beta1` form of its own.
    pub fn of(kind: &str) -> Option<Self> {
        match kind {
            Task::KIND => Some(Self::Task),
            Pipeline::KIND => Some(Self::Pipeline),
            TaskRun::KIND => Some(Self::TaskRun),
            PipelineRun::KIND => Some(Self::PipelineRun),
            _ => None,
        }
    }
}

fn upgrade(
    map: &mut Map<String, Value>,
    shape: &Shape,
    path: &str,
    kept: &mut Kept,
    leftovers: &mut Vec<Leftover>,
) {
    for name in shape.gone {
        let Some(value) = map.remove(*name) else { continue };
        let at = join(path, name);
        leftovers.extend(refused(&at, &value));
        kept.insert(at, value);
    }
    if let Some(kind) = shape.bundle {
        bundle_to_resolver(map, kind);
    }
    for (name, target) in shape.merged {
        let Some(value) = map.remove(*name) else { continue };
        let outer = target.split_once('.').map_or(*target, |(outer, _)| outer);
        if map.contains_key(outer) {
            leftovers.push(Leftover {
                path: join(path, name),
                message: format!(
                    "expected exactly one, got both: {}, {}",
                    join(path, name),
                    join(path, outer)
                ),
                help: format!("remove `{name}`"),
            });
        }
        put(map, target, value);
    }
    for (name, target) in shape.moved {
        let outer = target.split_once('.').map_or(*target, |(outer, _)| outer);
        let at = join(path, outer);
        if map.contains_key(outer) && leftovers.last().is_none_or(|last| last.path != at) {
            leftovers.push(Leftover {
                path: at,
                message: format!("unknown field `{outer}`"),
                help: format!("in v1beta1 it is `{name}`"),
            });
        }
    }
    for (name, target) in shape.moved {
        if let Some(value) = map.remove(*name) {
            put(map, target, value);
        }
    }
    each_inner(map, shape, path, &mut |map, shape, path| upgrade(map, shape, path, kept, leftovers));
}

fn downgrade(map: &mut Map<String, Value>, shape: &Shape, path: &str, kept: &mut Kept) {
    each_inner(map, shape, path, &mut |map, shape, path| downgrade(map, shape, path, kept));
    for (name, target) in shape.moved {
        if let Some(value) = take(map, target) {
            map.insert((*name).to_owned(), value);
        }
    }
    for name in shape.gone {
        if let Some(value) = kept.take(&join(path, name)) {
            map.insert((*name).to_owned(), value);
        }
    }
}

/// Calls for every object in the fields that have a shape of their own, and in their lists.
fn each_inner(
    map: &mut Map<String, Value>,
    shape: &Shape,
    path: &str,
    call: &mut impl FnMut(&mut Map<String, Value>, &Shape, &str),
) {
    for (name, inner) in shape.inner {
        match map.get_mut(*name) {
            Some(Value::Object(map)) => call(map, inner, &join(path, name)),
            Some(Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Value::Object(map) = item {
                        call(map, inner, &format!("{}[{index}]", join(path, name)));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Writes a value to a path of one or two names.
fn put(map: &mut Map<String, Value>, target: &str, value: Value) {
    match target.split_once('.') {
        None => drop(map.insert(target.to_owned(), value)),
        Some((outer, inner)) => {
            let outer = map.entry(outer.to_owned()).or_insert_with(|| json!({}));
            if !outer.is_object() {
                *outer = json!({});
            }
            outer[inner] = value;
        }
    }
}

/// Takes a value from a path of one or two names; an outer object that is empty then goes with it.
fn take(map: &mut Map<String, Value>, target: &str) -> Option<Value> {
    let Some((outer, inner)) = target.split_once('.') else { return map.remove(target) };
    let within = map.get_mut(outer)?.as_object_mut()?;
    let value = within.remove(inner);
    if within.is_empty() {
        map.remove(outer);
    }
    value
}

/// A bundle by its image, as a reference that the resolver of bundles understands.
fn bundle_to_resolver(map: &mut Map<String, Value>, kind: &str) {
    if map.contains_key("resolver") || !map.get("bundle").is_some_and(Value::is_string) {
        return;
    }
    let (bundle, name) = (map.remove("bundle"), map.remove("name"));
    let kind = map.remove("kind").unwrap_or_else(|| json!(kind));
    map.insert("resolver".to_owned(), json!("bundles"));
    map.insert(
        "params".to_owned(),
        json!([
            {"name": "bundle", "value": bundle},
            {"name": "name", "value": name},
            {"name": "kind", "value": kind.as_str().unwrap_or_default().to_lowercase()},
        ]),
    );
}

fn join(path: &str, name: &str) -> String {
    crate::source::join(path, name)
}
