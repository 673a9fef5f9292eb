//! From tags to references.

use ergon_api::{Group, language};
use ergon_template::{Piece, pieces};

use super::fields::{Field, field};
use super::{Edits, Object};
use crate::scalars::Scalar;

pub(super) fn scalar(object: &Object, at: usize, scalar: &Scalar, edits: &mut Edits<'_>) {
    let path = object.path(scalar);
    match field(object, path) {
        Field::ApiVersion => edits.rewrite(at, scalar, |version| match version.split_once('/') {
            Some((group, version)) if group == Group::Ergon.name() => {
                format!("{}/{version}", Group::Tekton.name())
            }
            _ => version.to_owned(),
        }),
        Field::Script if scalar.value.contains("{{") => match with_references(&scalar.value, |_| false) {
            Ok(_) => {
                if language_of_values(&scalar.value) {
                    let message = "values become code in this script: whoever sets them says what it runs; hand them \
                                   over in `env` instead";
                    edits.differs(scalar, 0, message.to_owned());
                }
                edits.rewrite(at, scalar, |text| {
                    with_references(text, |_| false).unwrap_or_else(|_| text.to_owned())
                });
            }
            Err(why) => {
                // What is told is about other fields, which have neither.
                let why = why.split(" in a field").next().unwrap_or_default();
                edits.lost(scalar, format!("Tekton's scripts have names alone, and this one has {why}"));
            }
        },
        Field::Text if scalar.value.contains("{{") => {
            let is_list = |name: &str| object.has_list(path, name);
            match with_references(&scalar.value, is_list) {
                Ok(_) => edits.rewrite(at, scalar, |text| {
                    with_references(text, is_list).unwrap_or_else(|_| text.to_owned())
                }),
                Err(why) => edits.lost(scalar, why),
            }
        }
        Field::Script | Field::Text | Field::Verbatim => {}
    }
    if let Some(what) = addition(path, &scalar.value) {
        edits.lost(scalar, format!("{what} is Ergon's alone"));
    }
}

/// A text with references in the place of its tags. A tag that is a whole list alone takes all of it.
fn with_references(text: &str, is_list: impl Fn(&str) -> bool) -> Result<String, String> {
    let pieces = pieces(text).map_err(|error| error.found)?;
    let alone = matches!(pieces.as_slice(), [Piece::Name(_)]);
    let mut out = String::with_capacity(text.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out += &text,
            Piece::Name(used) => {
                let reference =
                    language::reference(&used.name).ok_or_else(|| format!("`{}` is no name", used.name))?;
                if alone && is_list(&used.name) {
                    out += &format!("{}[*])", reference.trim_end_matches(')'));
                } else {
                    out += &reference;
                }
            }
        }
    }
    Ok(out)
}

/// Whether there is a value in the script that somebody else sets: paths and the run's own names are none.
fn language_of_values(script: &str) -> bool {
    pieces(script).unwrap_or_default().iter().any(|piece| match piece {
        Piece::Name(used) => {
            let names: Vec<&str> = used.name.split('.').collect();
            matches!(names.as_slice(), ["params" | "tasks", ..] | ["steps", _, "results", ..])
        }
        Piece::Text(_) => false,
    })
}

impl Object {
    /// Whether a name is that of a list, where this path is.
    fn has_list(&self, path: &str, name: &str) -> bool {
        let Some(name) = name.strip_prefix("params.") else { return false };
        let full = if self.root.is_empty() { path.to_owned() } else { format!("{}.{path}", self.root) };
        self.lists.iter().any(|(around, list)| list == name && full.starts_with(around.as_str()))
    }
}

/// What this field is, where Tekton has none like it.
fn addition(path: &str, value: &str) -> Option<String> {
    let (around, name) = path.rsplit_once('.').unwrap_or(("", path));
    let of_param = around.ends_with(']') && around.contains("params[") || around.contains("results[");
    match name {
        "fuse" => Some("`fuse`".to_owned()),
        "type" if of_param && !["string", "array", "object"].contains(&value) => {
            Some(format!("the type `{value}`"))
        }
        "pattern" | "minimum" | "maximum" if of_param => Some(format!("`{name}`")),
        _ if path.contains("].schema.") && of_param => Some("`schema`".to_owned()),
        _ => None,
    }
}
