//! Secrets from the command line, for runs on this machine.

use std::io::Read as _;

use base64::Engine as _;
use ergon_api::Document;
use ergon_api::manifest::Object;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};

/// How one is written.
const FORM: &str =
    "write NAME=KEY=VALUE, where VALUE may also be @FILE, @- for standard input, or env:VARIABLE";

/// Adds keys of Secrets to those that the files bring, or in the place of theirs.
pub fn add(documents: &mut Vec<Document>, given: &[String]) -> Result {
    for text in given {
        let mut parts = text.splitn(3, '=');
        let (Some(name), Some(key), Some(from)) = (parts.next(), parts.next(), parts.next()) else {
            // The text itself may be the secret.
            return Err(Failure::invalid("`--secret` has no name, key and value").hint(FORM));
        };
        if name.is_empty() || key.is_empty() {
            return Err(Failure::invalid("`--secret` has an empty name or key").hint(FORM));
        }
        let value = base64::engine::general_purpose::STANDARD.encode(read(name, key, from)?);
        let same = documents.iter_mut().find_map(|document| match &mut document.object {
            Object::Other(object) if object["kind"] == "Secret" && object["metadata"]["name"] == name => {
                Some(object)
            }
            _ => None,
        });
        if let Some(object) = same {
            set(object, key, value);
        } else {
            let object = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {key: value},
            });
            let read = ergon_api::parse(&object.to_string(), "--secret")
                .map_err(|_| Failure::invalid(format!("`--secret {name}=…` is no Secret")))?;
            documents.extend(read);
        }
    }
    Ok(())
}

fn set(object: &mut Value, key: &str, value: String) {
    // It would win.
    if let Some(texts) = object.get_mut("stringData").and_then(Value::as_object_mut) {
        texts.remove(key);
    }
    if !object["data"].is_object() {
        object["data"] = json!({});
    }
    object["data"][key] = value.into();
}

fn read(name: &str, key: &str, from: &str) -> Result<Vec<u8>> {
    let place = format!("the secret `{name}`, key `{key}`");
    if let Some(variable) = from.strip_prefix("env:") {
        return std::env::var(variable)
            .map(String::into_bytes)
            .map_err(|_| Failure::invalid(format!("{place}: the variable `{variable}` is not set")));
    }
    match from.strip_prefix('@') {
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|error| {
                Failure::invalid(format!("{place}: standard input cannot be read: {error}"))
            })?;
            Ok(bytes)
        }
        Some(file) => std::fs::read(file)
            .map_err(|error| Failure::invalid(format!("{place}: `{file}` cannot be read: {error}"))),
        None => Ok(from.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_to_the_secrets_of_the_files() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {x: old, z: kept}\n";
        let mut documents = ergon_api::parse(text, "test.yaml").unwrap();
        add(&mut documents, &["a=x=new=1".to_owned(), "b=k=".to_owned()]).unwrap();
        let shown: Vec<String> = documents
            .iter()
            .map(|document| match &document.object {
                Object::Other(value) => {
                    format!("{} {} {}", value["metadata"]["name"], value["data"], value["stringData"])
                }
                _ => String::new(),
            })
            .collect();
        assert_eq!(shown, [r#""a" {"x":"bmV3PTE="} {"z":"kept"}"#, r#""b" {"k":""} null"#]);
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for text in
            ["hunter2", "a=hunter2", "=k=hunter2", "a=k=@/no/such/file", "a=k=env:NO_SUCH_VARIABLE_HERE"]
        {
            let failure = add(&mut Vec::new(), &[text.to_owned()]).unwrap_err();
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        }
    }
}
