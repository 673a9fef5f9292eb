//! Conditions in CEL under `ergon.dev`: every name is one that there is, and the whole is true or false.

use ergon_cel::{CelError, Type, Used};

use super::Errors;
use super::scope::last;
use crate::variables::{Variable, variables};
use crate::{ParamType, suggest};

/// What an expression can name.
pub(super) struct Names<'a> {
    /// The words that names begin with.
    pub roots: &'a [&'a str],
    /// The type of what a variable is the whole of; none where that is not known.
    pub type_of: &'a dyn Fn(&Variable) -> Option<ParamType>,
    /// The names of all parameters.
    pub params: Vec<String>,
    /// Those that a matrix sets.
    pub matrix: Vec<String>,
}

/// Checks an expression. `visit` checks a name that is no parameter as a reference.
pub(super) fn check(
    errors: &mut Errors,
    path: &str,
    text: &str,
    names: &Names<'_>,
    mut visit: impl FnMut(&mut Errors, &Variable),
) {
    if let Some(reference) = variables(text).first() {
        let help = format!("write `{}`, without quotes around it", reference.text);
        errors.add_with_help(
            path,
            format!("in `{reference}` a value would become a part of the expression"),
            help,
        );
        return;
    }
    let before = errors.found.len();
    let used = match ergon_cel::used(text) {
        Ok(used) => used,
        Err(error) => return tell(errors, path, error),
    };
    for used in &used {
        check_name(errors, path, used, names, &mut visit);
    }
    if errors.found.len() == before && !errors.is_full() {
        let type_of = |name: &str| Some(type_named(name, names));
        if let Err(error) = ergon_cel::check_types(text, &type_of) {
            tell(errors, path, error);
        }
    }
}

fn check_name(
    errors: &mut Errors,
    path: &str,
    used: &Used,
    names: &Names<'_>,
    visit: &mut impl FnMut(&mut Errors, &Variable),
) {
    let at = format!("line {}, column {}", used.line, used.column);
    let Some(variable) = variables(&format!("$({})", used.name)).into_iter().next() else {
        errors.add(path, format!("{at}: `{}` is no name", used.name));
        return;
    };
    let parts = variable.names();
    let root = parts.first().copied().unwrap_or_default();
    if !names.roots.contains(&root) {
        let help =
            format!("names here begin with {}", listed(names.roots.iter().map(|root| format!("{root}."))));
        errors.add_with_help(path, format!("{at}: `{}` is not known here", used.name), help);
        return;
    }
    if let [root @ ("params" | "matrix"), name] = parts.as_slice() {
        let known = if *root == "params" { &names.params } else { &names.matrix };
        if !known.iter().any(|known| known == name) {
            // `params.image-tag` is a difference.
            let dashed = known.iter().find(|known| known.starts_with(&format!("{name}-")));
            let near = suggest::nearest(name, known.iter().map(String::as_str));
            let help = match (dashed, near) {
                (Some(dashed), _) => format!("a name with a dash needs brackets: `{root}[\"{dashed}\"]`"),
                (None, Some(near)) => format!("did you mean `{root}.{near}`?"),
                (None, None) if known.is_empty() => "there are none".to_owned(),
                (None, None) => {
                    format!("there are {}", listed(known.iter().map(|name| format!("{root}.{name}"))))
                }
            };
            errors.add_with_help(path, format!("{at}: there is no `{}`", used.name), help);
        } else if (names.type_of)(&variable) == Some(ParamType::Secret) {
            errors.add_with_help(
                path,
                format!("{at}: `{}` is a secret, and no condition can look at it", used.name),
                "let the step look at it",
            );
        }
        return;
    }
    let before = errors.found.len();
    visit(errors, &variable);
    for error in &mut errors.found[before..] {
        let plain = |text: &str| text.replace(&variable.to_string(), &used.name);
        error.message = format!("{at}: {}", plain(&error.message));
        error.help = error.help.take().map(|help| plain(&help));
    }
}

fn type_named(name: &str, names: &Names<'_>) -> Type {
    if name == "context.task.retry-count" {
        return Type::Number;
    }
    if name.starts_with("workspaces.") {
        return if last(name) == "bound" { Type::Bool } else { Type::Text };
    }
    let variable = variables(&format!("$({name})")).into_iter().next();
    match variable.as_ref().and_then(names.type_of) {
        Some(ParamType::Number) => Type::Number,
        Some(ParamType::Boolean) => Type::Bool,
        Some(ParamType::Array) => Type::texts(),
        Some(ParamType::Object) => Type::Map(Box::new(Type::Text)),
        Some(ParamType::String) => Type::Text,
        Some(ParamType::Secret) | None => match name.split('.').next() {
            // Of a task from elsewhere it is not known here.
            Some("tasks") if name.contains(".results") => Type::Any,
            Some("steps") => Type::Any,
            _ => Type::Text,
        },
    }
}

fn tell(errors: &mut Errors, path: &str, error: CelError) {
    match error {
        CelError::Mistake { line, column, message, help } => {
            let message = format!("line {line}, column {column}: {message}");
            match help {
                Some(help) => errors.add_with_help(path, message, help),
                None => errors.add(path, message),
            }
        }
        error => errors.add(path, error.to_string()),
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
