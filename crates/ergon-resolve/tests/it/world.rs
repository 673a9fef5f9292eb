//! A world that tests fill in.

use std::collections::BTreeMap;

use ergon_api::{Duration, Param};
use ergon_engine::remote::Request;
use ergon_resolve::{Data, Fetched, Kind, ResolveError, Resolvers, Stored};

/// What the shell would know.
#[derive(Default)]
pub struct World {
    /// By name, in the namespace `ns`.
    pub secrets: BTreeMap<String, Data<Vec<u8>>>,
    /// Those of the service account `default`.
    pub pulling: Vec<String>,
    pub settings: BTreeMap<String, Data<String>>,
    pub authorities: String,
    /// How long a request may take at most, if not a minute.
    pub longest: Option<Duration>,
}

impl World {
    pub fn secret(mut self, name: &str, pairs: &[(&str, &str)]) -> Self {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        self.secrets.insert(name.to_owned(), data);
        self
    }

    pub fn settings(mut self, config_map: &str, pairs: &[(&str, &str)]) -> Self {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.settings.insert(config_map.to_owned(), data);
        self
    }

    /// Asks a resolver that knows nothing yet.
    pub async fn ask(&self, resolver: &str, params: &[(&str, &str)]) -> Result<Fetched, ResolveError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Resolvers::new(false).resolve(self, &request(resolver, params)).await
    }

    /// What the resolver found, as text.
    pub async fn text(&self, resolver: &str, params: &[(&str, &str)]) -> String {
        let fetched = self.ask(resolver, params).await.unwrap();
        String::from_utf8(fetched.data).unwrap()
    }

    /// Why the resolver found nothing.
    pub async fn failure(&self, resolver: &str, params: &[(&str, &str)]) -> String {
        match self.ask(resolver, params).await {
            Err(ResolveError::Failed(why)) => why,
            other => panic!("{params:?}: {other:?}"),
        }
    }
}

pub fn request(resolver: &str, params: &[(&str, &str)]) -> Request {
    let params = params.iter().map(|(name, value)| Param::string(*name, *value)).collect();
    Request { resolver: resolver.to_owned(), url: None, params }
}

impl ergon_resolve::World for World {
    fn namespace(&self) -> &'static str {
        "ns"
    }

    fn group(&self) -> &'static str {
        "tekton.dev"
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Data<Vec<u8>>>, String> {
        Ok(self.secrets.get(name).filter(|_| namespace == "ns").cloned())
    }

    async fn pull_secrets(
        &self,
        service_account: &str,
        secret: Option<&str>,
    ) -> Result<Vec<Data<Vec<u8>>>, String> {
        let of_account = self.pulling.iter().map(String::as_str).filter(|_| service_account == "default");
        let names = secret.into_iter().chain(of_account);
        Ok(names.filter_map(|name| self.secrets.get(name).cloned()).collect())
    }

    async fn settings(&self, config_map: &str) -> Option<Data<String>> {
        self.settings.get(config_map).cloned()
    }

    async fn object(&self, _: Kind, _: &str, _: &str) -> Result<Option<Stored>, String> {
        Ok(None)
    }

    fn longest(&self) -> Duration {
        self.longest.unwrap_or(Duration::from_secs(60))
    }

    async fn authorities(&self) -> String {
        self.authorities.clone()
    }
}
