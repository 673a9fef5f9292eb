//! Values that many hold and nobody changes, such as a run's whole Pipeline: in JSON, as if they were not shared.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[expect(clippy::ref_option, reason = "serde calls it so")]
pub(crate) fn serialize<T: Serialize, S: Serializer>(
    value: &Option<Arc<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_deref().serialize(serializer)
}

pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Arc<T>>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(Arc::new))
}
