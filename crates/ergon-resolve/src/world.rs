//! What resolvers ask of the shell that they work for.

use std::collections::BTreeMap;

/// The entries of a Secret or a ConfigMap.
pub type Data<Value> = BTreeMap<String, Value>;

/// A kind that the cluster resolver finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Task,
    Pipeline,
    StepAction,
}

/// An object of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// As JSON, with `apiVersion` and `kind`.
    pub json: Vec<u8>,
    pub uid: String,
    /// Such as `tekton.dev/v1`.
    pub api_version: String,
}

/// The surroundings of one request. Errors are words for the user.
pub trait World: Send + Sync {
    /// The namespace of the run that asks.
    fn namespace(&self) -> &str;

    /// The API group that the run is of, such as `tekton.dev`.
    fn group(&self) -> &str;

    /// A Secret; none where there is none of this name.
    fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<Data<Vec<u8>>>, String>> + Send;

    /// The Secrets with which a service account of the run's namespace pulls images, and the one of this name.
    fn pull_secrets(
        &self,
        service_account: &str,
        secret: Option<&str>,
    ) -> impl Future<Output = Result<Vec<Data<Vec<u8>>>, String>> + Send;

    /// A ConfigMap with settings of resolvers; none where it is not there.
    fn settings(&self, config_map: &str) -> impl Future<Output = Option<Data<String>>> + Send;

    /// An object of the cluster; none where there is none of this name.
    fn object(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<Stored>, String>> + Send;

    /// How long any request may take, whatever the settings of its resolver say.
    fn longest(&self) -> ergon_api::Duration {
        ergon_api::Duration::from_secs(60)
    }

    /// Certificates of authorities to trust besides the system's, as PEM; the empty text for none.
    fn authorities(&self) -> impl Future<Output = String> + Send;
}
