//! Reading manifests: files with objects of ours and of others.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::source::{Diagnostic, SourceMap};
use crate::validate::Validate;
use crate::{
    Config, CustomRun, Group, Pipeline, PipelineRun, StepAction, Task, TaskRun, convert, suggest, yaml,
};

/// An object above this size cannot be stored by a cluster: 1.5 MiB, the limit of etcd.
const MAX_OBJECT_BYTES: usize = 3 << 19;

/// Reads all objects of a YAML or JSON file, in order. `file` names it in messages and is not opened.
///
/// Fields that do not exist are errors, as with the API server's strict validation. All problems that can be seen at
/// once are returned. Objects of `tekton.dev/v1beta1` are read as what they are in `v1`. This does not say whether the objects make sense: see [`Document::check`].
///
/// # Errors
/// Diagnostics with line and column, sorted by place.
pub fn parse(text: &str, file: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let (documents, problems) = survey(text, file).map_err(|problem| vec![problem])?;
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

/// [`parse`] for tools that go on where there are problems: the objects that could be read in spite of them, and all
/// problems.
///
/// # Errors
/// A file that is no YAML.
pub fn survey(text: &str, file: &str) -> Result<(Vec<Document>, Vec<Diagnostic>), Diagnostic> {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for (value, source) in
        yaml::read(text, file)?.into_iter().flat_map(|(value, source)| items_of(value, source))
    {
        documents.extend(decode(value, source, &mut problems));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Ok((documents, problems))
}

/// [`parse`] for bytes that may not be text.
///
/// # Errors
/// As [`parse`], and where the bytes are not UTF-8.
pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    parse(text_of(bytes, file).map_err(|problem| vec![problem])?, file)
}

/// The text that bytes are.
///
/// # Errors
/// Where they are not UTF-8, with the place.
pub fn text_of<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str, Diagnostic> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
        Diagnostic {
            file: file.to_owned(),
            line,
            column,
            path: String::new(),
            message: "the file is not UTF-8 text".to_owned(),
            help: Some("save it with the encoding UTF-8".to_owned()),
        }
    })
}

/// Decodes one object that was read elsewhere, such as in an admission request, with the same strictness as [`parse`].
/// `name` stands for the file in messages.
///
/// # Errors
/// Unknown fields, values of a wrong type, versions that are not served.
pub fn from_value(value: Value, name: &str) -> Result<Object, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    match decode(value, SourceMap::new(name), &mut problems) {
        Some(document) if problems.is_empty() => Ok(document.object),
        _ => Err(problems),
    }
}

/// Reads all objects of a file of one kind, which is not an API server's but a tool's, with the same strictness as
/// [`parse`]: `apiVersion: ergon.dev/v1` and this `kind`, and no field that the type does not have.
///
/// # Errors
/// As [`parse`], and for objects of any other kind.
pub fn parse_as<T: DeserializeOwned + JsonSchema>(
    text: &str,
    file: &str,
    kind: &str,
) -> Result<Vec<(T, SourceMap)>, Vec<Diagnostic>> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for (value, source) in yaml::read(text, file).map_err(|problem| vec![problem])? {
        let wanted = [("apiVersion", Group::Ergon.api_version()), ("kind", kind)];
        let wrong = wanted.iter().find(|(name, wanted)| value.get(name).is_none_or(|found| found != wanted));
        if let Some((name, wanted)) = wrong {
            let help = format!("write `{name}: {wanted}`");
            problems.push(source.diagnose_value(name, format!("this is no {kind} of Ergon"), Some(help)));
            continue;
        }
        let help = |path: &str| suggest::field_in(&crate::crd::schema_of::<T>(), path);
        objects.extend(typed(&value, &source, &mut problems, help).map(|object| (object, source)));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// The `apiVersion` and `kind` of a file's first object, and nothing more is looked at; none where there is no object.
///
/// # Errors
/// A file that is no YAML.
pub fn head(text: &str) -> Result<Option<(String, String)>, Diagnostic> {
    let first = yaml::read(text, "")?.into_iter().next();
    let field = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
    Ok(first.and_then(|(value, _)| field(&value, "apiVersion").zip(field(&value, "kind"))))
}

/// One object of a file, with the places of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object.
    pub object: Object,
    /// Where its fields stand.
    pub source: SourceMap,
}

/// An object of one of our kinds, or of somebody else's.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A Task.
    Task(Box<Task>),
    /// A Pipeline.
    Pipeline(Box<Pipeline>),
    /// A TaskRun.
    TaskRun(Box<TaskRun>),
    /// A PipelineRun.
    PipelineRun(Box<PipelineRun>),
    /// A StepAction.
    StepAction(Box<StepAction>),
    /// A CustomRun.
    CustomRun(Box<CustomRun>),
    /// Anything else, such as a ConfigMap or a Secret.
    Other(Value),
}

impl Object {
    /// The object's kind, such as `Task` or `ConfigMap`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Task(_) => Task::KIND,
            Self::Pipeline(_) => Pipeline::KIND,
            Self::TaskRun(_) => TaskRun::KIND,
            Self::PipelineRun(_) => PipelineRun::KIND,
            Self::StepAction(_) => StepAction::KIND,
            Self::CustomRun(_) => CustomRun::KIND,
            Self::Other(value) => value.get("kind").and_then(Value::as_str).unwrap_or_default(),
        }
    }

    /// The object's name, or the empty text.
    pub fn name(&self) -> &str {
        match self {
            Self::Task(object) => object.name(),
            Self::Pipeline(object) => object.name(),
            Self::TaskRun(object) => object.name(),
            Self::PipelineRun(object) => object.name(),
            Self::StepAction(object) => object.name(),
            Self::CustomRun(object) => object.name(),
            Self::Other(value) => value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default(),
        }
    }
}

impl Document {
    /// What is wrong with the object, at the places where it stands. Empty when it is valid, and for objects of
    /// others.
    pub fn check(&self) -> Vec<Diagnostic> {
        self.check_with(&Config::default())
    }

    /// [`Self::check`] where the installation's settings are known.
    pub fn check_with(&self, config: &Config) -> Vec<Diagnostic> {
        let errors = match &self.object {
            Object::Task(object) => object.validate(config),
            Object::Pipeline(object) => object.validate(config),
            Object::TaskRun(object) => object.validate(config),
            Object::PipelineRun(object) => object.validate(config),
            Object::StepAction(object) => object.validate(config),
            Object::CustomRun(object) => object.validate(config),
            Object::Other(_) => Vec::new(),
        };
        errors
            .into_iter()
            .map(|error| self.source.diagnose_value(&error.path, error.message, error.help))
            .collect()
    }
}

/// The items of a `List`, or the one object.
fn items_of(value: Value, source: SourceMap) -> Vec<(Value, SourceMap)> {
    let is_list = value.get("kind").is_some_and(|kind| kind == "List")
        && value.get("apiVersion").is_some_and(|version| version == "v1");
    match value {
        Value::Object(mut list) if is_list => match list.remove("items") {
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (item, source.below(&format!("items[{index}]"))))
                .collect(),
            _ => Vec::new(),
        },
        value => vec![(value, source)],
    }
}

fn decode(mut value: Value, mut source: SourceMap, problems: &mut Vec<Diagnostic>) -> Option<Document> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !value.is_object() {
        problems.push(source.diagnose("", "expected an object with `apiVersion` and `kind`", None));
        return None;
    }
    for (name, found) in [("apiVersion", &api_version), ("kind", &kind)] {
        if found.is_empty() {
            let help = format!("write `{name}:` at the top, as in `{}`", example(name));
            problems.push(source.diagnose(name, format!("missing field `{name}`"), Some(help)));
            return None;
        }
    }
    let size = value.to_string().len();
    if size > MAX_OBJECT_BYTES {
        let message = format!("the object has {size} bytes; a cluster can store at most {MAX_OBJECT_BYTES}");
        problems.push(source.diagnose(
            "",
            message,
            Some("move large texts into images or ConfigMaps".to_owned()),
        ));
        return None;
    }
    if let Some(root) = convert::older(&value) {
        for leftover in convert::to_v1(&mut value) {
            problems.push(source.diagnose(&leftover.path, leftover.message, Some(leftover.help)));
        }
        source.is_older(root);
    }
    let object = match Group::of(&api_version) {
        Some(group) => match kind.as_str() {
            Task::KIND => of_kind(&value, &source, problems, Object::Task),
            Pipeline::KIND => of_kind(&value, &source, problems, Object::Pipeline),
            TaskRun::KIND => of_kind(&value, &source, problems, Object::TaskRun),
            PipelineRun::KIND => of_kind(&value, &source, problems, Object::PipelineRun),
            StepAction::KIND => of_kind(&value, &source, problems, Object::StepAction),
            CustomRun::KIND => of_kind(&value, &source, problems, Object::CustomRun),
            // Tekton has kinds that we do not serve; Ergon has none.
            _ if group == Group::Tekton => return Some(Document { object: Object::Other(value), source }),
            _ => {
                if kind == "Test" {
                    let help = "`ergon test` carries tests out; they are no objects of a cluster".to_owned();
                    problems.push(source.diagnose_value(
                        "kind",
                        "a Test cannot be run or applied",
                        Some(help),
                    ));
                    return None;
                }
                let kinds = crate::crd::kinds().iter().map(|known| known.kind);
                let help = suggest::nearest(&kind, kinds.clone()).map_or_else(
                    || format!("the kinds are {}", kinds.collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("{group} has no kind `{kind}`");
                problems.push(source.diagnose_value("kind", message, Some(help)));
                return None;
            }
        },
        None => return Some(Document { object: Object::Other(value), source }),
    };
    check_version(&api_version, &kind, &source, problems);
    Some(Document { object: object?, source })
}

fn example(field: &str) -> &'static str {
    if field == "kind" { "kind: Task" } else { "apiVersion: ergon.dev/v1" }
}

/// The version must be one that is served: an older one may mean something else by the same fields.
fn check_version(api_version: &str, kind: &str, source: &SourceMap, problems: &mut Vec<Diagnostic>) {
    let Some(known) = crate::crd::kinds().iter().find(|known| known.kind == kind) else { return };
    let Some(group) = Group::of(api_version) else { return };
    let version = api_version.rsplit('/').next().unwrap_or_default();
    if !known.versions(group).any(|served| served == version) {
        let message = format!("{kind} is not served in version `{version}`");
        let help = format!("write `apiVersion: {group}/{}`", known.version);
        problems.push(source.diagnose_value("apiVersion", message, Some(help)));
    }
}

/// Decodes into a kind's type.
fn of_kind<T: DeserializeOwned>(
    value: &Value,
    source: &SourceMap,
    problems: &mut Vec<Diagnostic>,
    wrap: impl Fn(Box<T>) -> Object,
) -> Option<Object> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let object = typed(value, source, problems, |path| suggest::field(kind, path))?;
    Some(wrap(Box::new(object)))
}

/// Decodes into a type. Unknown fields, with what may be meant by them, and the first value of a wrong type become
/// diagnostics.
fn typed<T: DeserializeOwned>(
    value: &Value,
    source: &SourceMap,
    problems: &mut Vec<Diagnostic>,
    meant: impl Fn(&str) -> Option<String>,
) -> Option<T> {
    let mut unknown = Vec::new();
    let mut ignore = |path: serde_ignored::Path<'_>| {
        let mut text = String::new();
        write_ignored(&path, &mut text);
        unknown.push(text);
    };
    let mut track = serde_path_to_error::Track::new();
    let result = T::deserialize(serde_path_to_error::Deserializer::new(
        serde_ignored::Deserializer::new(value, &mut ignore),
        &mut track,
    ));
    for path in unknown {
        let name = path.rsplit('.').next().unwrap_or(&path);
        let message = format!("unknown field `{name}`");
        problems.push(source.diagnose(&path, message, meant(&path)));
    }
    match result {
        Ok(object) => Some(object),
        Err(error) => {
            let path = write_tracked(&track.path());
            let message = error.to_string();
            let help = help_for(&message, value_at(value, &path));
            problems.push(source.diagnose_value(&path, message, help));
            None
        }
    }
}

/// What to write instead, for the messages that serde gives most often.
fn help_for(message: &str, value: Option<&Value>) -> Option<String> {
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let mut quoted = rest.split('`').step_by(2);
        let found = quoted.next()?;
        let options: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
        return suggest::nearest(found, options.into_iter()).map(|near| format!("did you mean `{near}`?"));
    }
    match value? {
        Value::Number(_) | Value::Bool(_) if message.contains("expected a string") => {
            Some(format!("write it in quotes: \"{}\"", value?))
        }
        Value::Number(number) if message.contains("expected a duration") => {
            Some(format!("write it with its unit: \"{number}s\""))
        }
        Value::Object(_) | Value::String(_) if message.contains("expected a sequence") => {
            Some("write a list: begin each item with `- `".to_owned())
        }
        Value::Array(_) if message.contains("expected struct") || message.contains("expected a map") => {
            Some("write fields instead of a list".to_owned())
        }
        _ => None,
    }
}

fn value_at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    for segment in path.split(['.', '[']).filter(|segment| !segment.is_empty()) {
        value = match segment.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?)?,
            None => value.get(segment)?,
        };
    }
    Some(value)
}

fn write_ignored(path: &serde_ignored::Path<'_>, out: &mut String) {
    use serde_ignored::Path;
    match path {
        Path::Root => {}
        Path::Seq { parent, index } => {
            write_ignored(parent, out);
            let _ = write!(out, "[{index}]");
        }
        Path::Map { parent, key } => {
            write_ignored(parent, out);
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(key);
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            write_ignored(parent, out);
        }
    }
}

fn write_tracked(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                let _ = write!(out, "[{index}]");
            }
            Segment::Map { key } => out = crate::source::join(&out, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_is_shown_in_its_line() {
        let text = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec:\n  steps:\n    - imgae: busybox\n";
        let problems = parse(text, "task.yaml").unwrap_err();
        let shown: Vec<String> = problems.iter().map(|problem| problem.render(text)).collect();
        let wanted = "error: unknown field `imgae`\n --> task.yaml:6:7\n  |\n6 |     - imgae: busybox\n  |       ^^^^^\n  \
                      = in `spec.steps[0].imgae`\n  = help: did you mean `image`?\n";
        assert_eq!(shown, [wanted]);
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_place() {
        let problems = parse_bytes(b"a: b\n  \xc3\xa9\xff", "f").unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "f:2:4: the file is not UTF-8 text (save it with the encoding UTF-8)"
        );
    }

    #[test]
    fn what_no_cluster_can_store_is_refused() {
        let text =
            format!("apiVersion: v1\nkind: ConfigMap\ndata: {{x: {}}}\n", "y".repeat(MAX_OBJECT_BYTES));
        let problems = parse(&text, "f").unwrap_err();
        assert!(problems[0].message.contains("a cluster can store at most 1572864"), "{}", problems[0]);
    }

    #[test]
    fn values_are_decoded_as_strictly_as_files() {
        let task =
            json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "spec": {"steps": [{"scirpt": "x"}]}});
        let problems = from_value(task, "request").unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "request:1:1: spec.steps[0].scirpt: unknown field `scirpt` (did you mean `script`?)"
        );
        let other = json!({"apiVersion": "v1", "kind": "Pod"});
        assert_eq!(from_value(other.clone(), "request"), Ok(Object::Other(other)));
    }
}
