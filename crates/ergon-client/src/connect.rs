//! Reaching a cluster: which one, as whom, in which namespace, and which of the two API groups it serves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ergon_api::Group;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{DynamicResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Config, Resource};
use tokio::sync::OnceCell;

use crate::error::{Error, Result};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect and what to speak. The default is what kubectl would do: `KUBECONFIG`, then `~/.kube/config`, then
/// the service account of the pod that this runs in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A kubeconfig file, in place of the usual places.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it, in place of the current one.
    pub context: Option<String>,
    /// The namespace, in place of the context's.
    pub namespace: Option<String>,
    /// The API group, in place of every one that the cluster serves.
    pub group: Option<Group>,
}

/// A connection to one cluster, bound to one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Ergon {
    client: Client,
    namespace: String,
    group: Option<Group>,
    /// The groups that the cluster serves: asked once.
    served: Arc<OnceCell<Vec<Group>>>,
}

impl std::fmt::Debug for Ergon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ergon")
            .field("namespace", &self.namespace)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Ergon {
    /// Prepares a connection. Nothing is sent yet, so a cluster that is down shows with the first request.
    ///
    /// A process with more than one TLS provider compiled in must have installed one before this.
    pub async fn connect(options: Options) -> Result<Self> {
        let mut config = config(&options).await?;
        // The default policy keeps trying for minutes; people wait for this. Watches and logs have their own.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace = options.namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::of(error, "the configuration"))?;
        let mut ergon = Self::from_client(client, namespace);
        ergon.group = options.group;
        Ok(ergon)
    }

    /// Uses a client that exists, in `namespace`.
    pub fn from_client(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into(), group: None, served: Arc::default() }
    }

    /// The same connection, speaking only `group`.
    #[must_use]
    pub fn with_group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }

    /// The same connection in another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The namespace that this is bound to.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Kubernetes client underneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The groups to look into, Ergon's first: the chosen one, or those that the cluster serves.
    ///
    /// # Errors
    /// [`Error::NotServed`] when there is none.
    pub async fn groups(&self) -> Result<Vec<Group>> {
        if let Some(group) = self.group {
            return Ok(vec![group]);
        }
        let served = self
            .served
            .get_or_try_init(async || {
                let list = self
                    .client
                    .list_api_groups()
                    .await
                    .map_err(|error| Error::of(error, "the list of API groups"))?;
                let names: Vec<String> = list.groups.into_iter().map(|group| group.name).collect();
                Ok(Group::ALL
                    .into_iter()
                    .filter(|group| names.iter().any(|name| name == group.name()))
                    .collect())
            })
            .await?;
        if served.is_empty() { Err(Error::no_groups(None)) } else { Ok(served.clone()) }
    }

    /// The group for something new that names none: Ergon's when it is served.
    pub async fn preferred_group(&self) -> Result<Group> {
        self.groups().await?.first().copied().ok_or_else(|| Error::no_groups(self.group))
    }

    /// The API of one of our kinds in this namespace.
    pub fn api<K>(&self, group: Group) -> Api<K>
    where
        K: Resource<DynamicType = Group, Scope = DynamicResourceScope>,
    {
        Api::namespaced_with(self.client.clone(), &self.namespace, &group)
    }

    /// The API of a core kind in this namespace.
    pub(crate) fn core_api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

async fn config(options: &Options) -> Result<Config> {
    let selected = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let no_config = |error: kube::config::KubeconfigError| Error::of(error.into(), "the kubeconfig");
    if let Some(path) = &options.kubeconfig {
        let file = Kubeconfig::read_from(path).map_err(no_config)?;
        return Config::from_custom_kubeconfig(file, &selected).await.map_err(no_config);
    }
    if options.context.is_some() {
        return Config::from_kubeconfig(&selected).await.map_err(no_config);
    }
    Config::infer().await.map_err(|error| Error::of(kube::Error::InferConfig(error), "the kubeconfig"))
}
