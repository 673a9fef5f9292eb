//! `$(…)` references: finding them, looking them up, putting values in their place; and CEL, for conditions.
//!
//! The rules are Tekton's: an unknown reference stays as it is, nothing is escaped, a whole array (`[*]`) that stands
//! alone as a list item becomes many items. One difference, on purpose: a value that was put in is never scanned
//! again, so a parameter cannot bring references of its own.

pub use ergon_cel as cel;

mod mark;
mod scope;
mod substitute;

pub(crate) use mark::{LATER, is_mark};
pub use scope::Scope;
pub use substitute::{
    cel_value, cel_values, expand, expand_items, expand_json, expand_object, expand_value, expand_values,
};
