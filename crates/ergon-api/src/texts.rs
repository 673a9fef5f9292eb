//! Every text of an object and where it stands, without making JSON of the object first.

use std::fmt::{self, Display, Write as _};

use serde::ser::{self, Serialize, Serializer};

use crate::variables::{Variable, variables};

/// All variables in the texts of an object, each with the path of its field: `params[1].value`. They come in the order
/// of their fields' names, items of lists in their own order.
///
/// `except` names fields, as paths, that are left out with all that is in them.
pub fn variables_in(object: &impl Serialize, except: &[&str]) -> Vec<(String, Variable)> {
    let mut walk = Walk { path: String::new(), except, texts: Vec::new() };
    // What cannot be serialised cannot have come from a manifest either, and has no texts.
    if object.serialize(&mut walk).is_err() {
        return Vec::new();
    }
    let mut texts = walk.texts;
    texts.sort_by(|(one, _), (other, _)| steps(one).cmp(steps(other)));
    let found = |(path, text): (String, String)| {
        variables(&text).into_iter().map(move |variable| (path.clone(), variable))
    };
    texts.into_iter().flat_map(found).collect()
}

/// The names of fields and numbers of items on a path, for sorting.
fn steps(path: &str) -> impl Iterator<Item = (&str, usize)> {
    path.split(['.', '[']).map(|step| match step.strip_suffix(']').and_then(|step| step.parse().ok()) {
        Some(number) => ("", number),
        None => (step, 0),
    })
}

/// Goes through an object as its serializer, and keeps the texts that may hold variables.
struct Walk<'a> {
    /// Where it is.
    path: String,
    except: &'a [&'a str],
    texts: Vec<(String, String)>,
}

type Done = Result<(), Unserializable>;

impl Walk<'_> {
    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Done {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let done =
            if self.except.contains(&self.path.as_str()) { Ok(()) } else { value.serialize(&mut *self) };
        self.path.truncate(before);
        done
    }

    fn item(&mut self, at: usize, value: &(impl Serialize + ?Sized)) -> Done {
        let before = self.path.len();
        let _ = write!(self.path, "[{at}]");
        let done = value.serialize(&mut *self);
        self.path.truncate(before);
        done
    }
}

/// Why an object has no texts: it cannot be serialised.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unserializable(String);

impl ser::Error for Unserializable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Things that are no text and have none inside.
macro_rules! no_text {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, _: $type) -> Done { Ok(()) })*
    };
}

impl<'w, 'a> Serializer for &'w mut Walk<'a> {
    type Ok = ();
    type Error = Unserializable;
    type SerializeSeq = Items<'w, 'a>;
    type SerializeTuple = Items<'w, 'a>;
    type SerializeTupleStruct = Items<'w, 'a>;
    type SerializeTupleVariant = Items<'w, 'a>;
    type SerializeMap = Entries<'w, 'a>;
    type SerializeStruct = Entries<'w, 'a>;
    type SerializeStructVariant = Entries<'w, 'a>;

    no_text!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_bytes: &[u8], serialize_unit_struct: &'static str
    );

    fn serialize_str(self, text: &str) -> Done {
        if text.as_bytes().contains(&b'$') {
            self.texts.push((self.path.clone(), text.to_owned()));
        }
        Ok(())
    }

    fn serialize_none(self) -> Done {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        // `crate::Known`: what was put in is not looked at again.
        if name == "Known" { Ok(()) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.field(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'w, 'a>, Unserializable> {
        Ok(Items { walk: self, at: 0 })
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'w, 'a>, Unserializable> {
        Ok(Items { walk: self, at: 0 })
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'w, 'a>, Unserializable> {
        Ok(Items { walk: self, at: 0 })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Items<'w, 'a>, Unserializable> {
        Ok(Items { walk: self, at: 0 })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'w, 'a>, Unserializable> {
        Ok(Entries { walk: self, key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries<'w, 'a>, Unserializable> {
        Ok(Entries { walk: self, key: String::new() })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Entries<'w, 'a>, Unserializable> {
        Ok(Entries { walk: self, key: String::new() })
    }
}

/// The items of a list.
struct Items<'w, 'a> {
    walk: &'w mut Walk<'a>,
    at: usize,
}

impl Items<'_, '_> {
    fn next(&mut self, value: &(impl Serialize + ?Sized)) -> Done {
        let done = self.walk.item(self.at, value);
        self.at += 1;
        done
    }
}

/// The fields of a struct, or the entries of a map.
struct Entries<'w, 'a> {
    walk: &'w mut Walk<'a>,
    /// The key whose value comes next.
    key: String,
}

macro_rules! items {
    ($($kind:ident: $next:ident),*) => {
        $(impl ser::$kind for Items<'_, '_> {
            type Ok = ();
            type Error = Unserializable;

            fn $next<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.next(value)
            }

            fn end(self) -> Done {
                Ok(())
            }
        })*
    };
}

items!(
    SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! fields {
    ($($kind:ident),*) => {
        $(impl ser::$kind for Entries<'_, '_> {
            type Ok = ();
            type Error = Unserializable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Done {
                self.walk.field(name, value)
            }

            fn end(self) -> Done {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

/// A map's key as it is written.
struct Key<'k, T: ?Sized>(&'k T);

impl<T: Serialize + ?Sized> Display for Key<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = Unserializable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.key.clear();
        write!(self.key, "{}", Key(key)).map_err(ser::Error::custom)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let key = std::mem::take(&mut self.key);
        let done = self.walk.field(&key, value);
        self.key = key;
        done
    }

    fn end(self) -> Done {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What [`variables_in`] finds, found in the object's JSON.
    fn in_json(path: &str, value: &Value, except: &[&str], found: &mut Vec<(String, Variable)>) {
        match value {
            _ if except.contains(&path) => {}
            Value::String(text) => found.extend(variables(text).into_iter().map(|it| (path.to_owned(), it))),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    in_json(&format!("{path}[{at}]"), item, except, found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    in_json(&format!("{path}{dot}{name}"), field, except, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn finds_what_is_in_the_json_in_its_order() {
        let many: Vec<Value> = (0..12).map(|at| json!(format!("$(params.item-{at})"))).collect();
        let task: crate::PipelineTask = serde_json::from_value(json!({
            "name": "$(params.n)", "displayName": "$(context.pipelineRun.name) $(params.d)", "runAfter": ["$(x.y)"],
            "taskRef": {"resolver": "git", "params": [{"name": "url", "value": "$(params.url)"}]},
            "params": [
                {"name": "text", "value": "no $ and no $( variable"}, {"name": "list", "value": many},
                {"name": "map", "value": {"b-c": "$(params.one)", "b": "$(params.two)", "a": "$(params.three)"}}
            ],
            "taskSpec": {
                "metadata": {"labels": {"l.x/y": "$(params.label)"}},
                "spec": {"any": {"deep": ["$(params.custom)"]}},
                "steps": [{"name": "s", "image": "$(params.image)", "env": [{"name": "E", "value": "$(params.e)"}],
                    "computeResources": {"limits": {"memory": "$(params.memory)"}}, "timeout": "5m"}],
                "volumes": [{"name": "v", "configMap": {"name": "$(params.map)", "optional": true}}]
            },
            "when": [{"input": "$(tasks.a.results.b)", "operator": "in", "values": ["$(params.list[*])"]}]
        }))
        .unwrap();
        for except in [&[][..], &["name", "runAfter", "taskSpec.spec"]] {
            let mut wanted = Vec::new();
            in_json("", &serde_json::to_value(&task).unwrap(), except, &mut wanted);
            assert!(wanted.len() > 20);
            assert_eq!(variables_in(&task, except), wanted);
        }
    }
}
