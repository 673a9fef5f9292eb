//! Parameter values from text, as people give them in a command or a form.

use std::collections::BTreeMap;

use ergon_api::{ParamSpec, ParamType, ParamValue, SecretRef};

use crate::error::{Error, Result};

/// The value that `text` stands for under `spec`'s type: the text itself; for a list JSON (`["a","b"]`) or texts with
/// commas between (`a,b`); for a map JSON or `key=value` pairs with commas between; for a secret the Secret and the key
/// in it, `NAME/KEY`.
pub fn value(spec: &ParamSpec, text: &str) -> Result<ParamValue> {
    let value = read(spec, text)?;
    let declared = spec.declared();
    if declared.is_plain() {
        return Ok(value);
    }
    match declared.check(&value) {
        Ok(()) => Ok(value),
        Err(mismatch) => Err(Error::invalid(format!("parameter `{}`: {mismatch}", spec.name))),
    }
}

fn read(spec: &ParamSpec, text: &str) -> Result<ParamValue> {
    match spec.effective_type() {
        ParamType::String if !spec.enum_.is_empty() && !spec.enum_.iter().any(|allowed| allowed == text) => {
            Err(Error::invalid(format!(
                "parameter `{}` must be one of {}, not `{text}`",
                spec.name,
                listed(spec.enum_.iter().map(String::as_str))
            )))
        }
        ParamType::String | ParamType::Number | ParamType::Boolean => Ok(ParamValue::String(text.to_owned())),
        ParamType::Secret => match text.split_once('/') {
            Some((name, key)) if !name.is_empty() && !key.is_empty() => {
                Ok(ParamValue::Secret(SecretRef { name: name.to_owned(), key: key.to_owned() }))
            }
            _ => Err(Error::invalid(format!(
                "parameter `{}` is a secret: write the name of a Secret and a key of it, as in `{}=registry/password`, \
                 and never the value itself",
                spec.name, spec.name
            ))),
        },
        ParamType::Array => list(spec, text),
        ParamType::Object => map(spec, text),
    }
}

/// Checks that every name is declared, and is given once.
pub fn check_names(declared: &[ParamSpec], given: &[(String, String)]) -> Result<()> {
    for (name, _) in given {
        if !declared.iter().any(|spec| spec.name == *name) {
            let names = listed(declared.iter().map(|spec| spec.name.as_str()));
            return Err(Error::invalid(format!("there is no parameter `{name}`; declared are {names}")));
        }
        if given.iter().filter(|(other, _)| other == name).count() > 1 {
            return Err(Error::invalid(format!("parameter `{name}` is given twice")));
        }
    }
    Ok(())
}

/// Checks the names, and that every parameter without a default has a value.
pub fn check(declared: &[ParamSpec], given: &[(String, String)]) -> Result<()> {
    check_names(declared, given)?;
    let missing: Vec<&str> = declared
        .iter()
        .filter(|spec| spec.default.is_none() && !given.iter().any(|(name, _)| *name == spec.name))
        .map(|spec| spec.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "no value for {}, which {} no default",
        listed(missing.iter().copied()),
        if missing.len() == 1 { "has" } else { "have" }
    )))
}

fn list(spec: &ParamSpec, text: &str) -> Result<ParamValue> {
    if text.trim_start().starts_with('[') {
        // Numbers, true and false stand for their texts.
        if let ParamValue::Array(items) =
            spec.declared().read(&ParamValue::String(text.trim().to_owned())).as_ref()
        {
            return Ok(ParamValue::Array(items.clone()));
        }
        return serde_json::from_str::<Vec<String>>(text).map(ParamValue::Array).map_err(|error| {
            Error::invalid(format!("parameter `{}` must be a JSON list of texts, but {error}", spec.name))
        });
    }
    if text.is_empty() {
        return Ok(ParamValue::Array(Vec::new()));
    }
    Ok(ParamValue::Array(text.split(',').map(str::to_owned).collect()))
}

fn map(spec: &ParamSpec, text: &str) -> Result<ParamValue> {
    if text.trim_start().starts_with('{') {
        if let ParamValue::Object(map) =
            spec.declared().read(&ParamValue::String(text.trim().to_owned())).as_ref()
        {
            return Ok(ParamValue::Object(map.clone()));
        }
        return serde_json::from_str::<BTreeMap<String, String>>(text).map(ParamValue::Object).map_err(
            |error| {
                Error::invalid(format!("parameter `{}` must be a JSON map of texts, but {error}", spec.name))
            },
        );
    }
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Error::invalid(format!(
                "parameter `{}` is a map: write `key=value` pairs with commas between, or JSON, not `{pair}`",
                spec.name
            ))),
        })
        .collect::<Result<BTreeMap<_, _>>>()
        .map(ParamValue::Object)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, type_: ParamType) -> ParamSpec {
        ParamSpec { name: name.to_owned(), type_: Some(type_), ..ParamSpec::default() }
    }

    #[test]
    fn texts_become_what_is_declared() {
        let table = [
            (ParamType::String, "a,b", r#""a,b""#),
            (ParamType::Array, "a,b", r#"["a","b"]"#),
            (ParamType::Array, "", "[]"),
            (ParamType::Array, r#"["a,b", "c"]"#, r#"["a,b","c"]"#),
            (ParamType::Object, "k=v,x=y=z", r#"{"k":"v","x":"y=z"}"#),
            (ParamType::Object, r#"{"k": "v,w"}"#, r#"{"k":"v,w"}"#),
            (ParamType::Array, "[1, true]", r#"["1","true"]"#),
            (ParamType::Number, "-1.5", r#""-1.5""#),
            (ParamType::Boolean, "false", r#""false""#),
            (
                ParamType::Secret,
                "registry/password",
                r#"{"secretKeyRef":{"key":"password","name":"registry"}}"#,
            ),
        ];
        for (type_, text, expected) in table {
            let value = value(&spec("p", type_), text).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        let mut limited = spec("level", ParamType::String);
        limited.enum_ = vec!["low".to_owned(), "high".to_owned()];
        let table = [
            (limited, "medium", "parameter `level` must be one of `low`, `high`, not `medium`"),
            (
                spec("m", ParamType::Object),
                "k",
                "parameter `m` is a map: write `key=value` pairs with commas between, or JSON, not `k`",
            ),
            (
                spec("l", ParamType::Array),
                "[[1]]",
                "parameter `l` must be a JSON list of texts, but invalid type: sequence, expected a string at line 1 column 1",
            ),
            (
                spec("n", ParamType::Number),
                "three",
                "parameter `n`: found the text `three`, expected a number",
            ),
            (
                spec("b", ParamType::Boolean),
                "yes",
                "parameter `b`: found the text `yes`, expected true or false",
            ),
            (
                spec("s", ParamType::Secret),
                "hunter2",
                "parameter `s` is a secret: write the name of a Secret and a key of it, as in `s=registry/password`, and never the value itself",
            ),
        ];
        for (spec, text, expected) in table {
            assert_eq!(value(&spec, text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn names_are_checked_against_the_declarations() {
        let mut optional = spec("tag", ParamType::String);
        optional.default = Some("latest".into());
        let declared = [spec("image", ParamType::String), optional];
        let given = |names: &[&str]| -> Vec<(String, String)> {
            names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect()
        };
        assert!(check(&declared, &given(&["image"])).is_ok());
        let table = [
            (vec![], "no value for `image`, which has no default"),
            (vec!["image", "imgae"], "there is no parameter `imgae`; declared are `image`, `tag`"),
            (vec!["image", "image"], "parameter `image` is given twice"),
        ];
        for (names, expected) in table {
            assert_eq!(check(&declared, &given(&names)).unwrap_err().to_string(), expected);
        }
    }
}
