//! Definitions from elsewhere: the resolvers, with what a laptop has in the place of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use ergon_api::Config;
use ergon_engine::remote::{self, Answer, Failure, Request};
use ergon_resolve::{Data, Kind, Resolvers, Stored};

use super::world::World;
use crate::images::{ImageRef, credentials};

/// Asks the resolver that a reference names.
pub(super) async fn fetch(resolvers: &Resolvers, world: &World, request: &Request) -> Answer {
    let laptop = Laptop { world, image: request.text("bundle").map(str::to_owned) };
    match resolvers.resolve(&laptop, request).await {
        Ok(fetched) => {
            let source = fetched.source;
            let name = source.entry_point.clone().or_else(|| source.uri.clone()).unwrap_or_default();
            match remote::read(&fetched.data, &name, Some(source), &Config::default()) {
                Ok(found) => Answer::Found(Arc::new(found)),
                Err(failure) => Answer::Failed(failure),
            }
        }
        Err(error) => {
            let name = request.name(NAMESPACE, request.text("name").unwrap_or_default());
            let key = format!("{NAMESPACE}/{name}");
            Answer::Failed(Failure::NotFetched(error.told(&request.resolver, &key)))
        }
    }
}

/// The one namespace that there is.
const NAMESPACE: &str = "default";

/// The files that were given with the run, as a resolver sees a cluster.
struct Laptop<'a> {
    world: &'a World,
    /// The image that a bundle is.
    image: Option<String>,
}

impl ergon_resolve::World for Laptop<'_> {
    fn namespace(&self) -> &str {
        NAMESPACE
    }

    fn group(&self) -> &str {
        self.world.group.name()
    }

    async fn secret(&self, _namespace: &str, name: &str) -> Result<Option<Data<Vec<u8>>>, String> {
        Ok(self.world.files.secrets.get(name).cloned())
    }

    async fn pull_secrets(
        &self,
        _service_account: &str,
        secret: Option<&str>,
    ) -> Result<Vec<Data<Vec<u8>>>, String> {
        let Some(name) = secret else { return Ok(self.own_login().await) };
        let found = self.world.files.secrets.get(name).cloned();
        found.map(|data| vec![data]).ok_or_else(|| format!("no Secret {name} was given with the run"))
    }

    async fn settings(&self, config_map: &str) -> Option<Data<String>> {
        let text = |data: &BTreeMap<String, Vec<u8>>| {
            let pairs = data
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.clone()).ok()?)));
            pairs.collect()
        };
        self.world.files.config_maps.get(config_map).map(text)
    }

    /// Whatever namespace it is asked for in: there is one set of files.
    async fn object(&self, kind: Kind, _namespace: &str, name: &str) -> Result<Option<Stored>, String> {
        let library = &self.world.library;
        let group = self.world.group;
        let (json, api_version) = match kind {
            Kind::Task => (json_of(library.tasks.get(name)), group.api_version()),
            Kind::Pipeline => (json_of(library.pipelines.get(name)), group.api_version()),
            Kind::StepAction => {
                let spec = library.step_actions.get(name).and_then(Option::as_ref);
                let object = spec.map(|spec| {
                    serde_json::json!({"apiVersion": group.beta_api_version(), "kind": "StepAction",
                        "metadata": {"name": name}, "spec": spec})
                });
                (object.map(|object| object.to_string().into_bytes()), group.beta_api_version())
            }
        };
        Ok(json.map(|json| Stored { json, uid: String::new(), api_version: api_version.to_owned() }))
    }

    async fn authorities(&self) -> String {
        String::new()
    }
}

impl Laptop<'_> {
    /// The login of the person at this machine, in the form of a pull Secret.
    async fn own_login(&self) -> Vec<Data<Vec<u8>>> {
        let Some(image) = self.image.as_ref().and_then(|image| ImageRef::parse(image).ok()) else {
            return Vec::new();
        };
        let found = credentials::find(image.registry(), image.repository()).await;
        let secret = found.login.map(|(username, password)| {
            let file = serde_json::json!({"auths": {image.registry(): {"username": username, "password": password}}});
            Data::from([(".dockerconfigjson".to_owned(), file.to_string().into_bytes())])
        });
        secret.into_iter().collect()
    }
}

fn json_of<K: serde::Serialize>(object: Option<&Option<K>>) -> Option<Vec<u8>> {
    serde_json::to_vec(object?.as_ref()?).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ergon_api::{Group, Object, Param, Task};
    use serde_json::json;

    use super::super::world::Files;
    use super::*;

    #[tokio::test]
    async fn the_cluster_is_what_the_files_have() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let task: Task = serde_json::from_value(json!({"apiVersion": "tekton.dev/v1", "kind": "Task",
            "metadata": {"name": "t"}, "spec": {"steps": [{"image": "i", "script": "x"}]}}))
        .unwrap();
        let mut world = World::new(Group::Tekton, Files::default(), PathBuf::new());
        world.library.tasks.insert("t".to_owned(), Some(task));
        let ask = async |name: &str| {
            let params = [("kind", "task"), ("name", name), ("namespace", "any")]
                .map(|(name, value)| Param::string(name, value))
                .to_vec();
            let request = Request { resolver: "cluster".to_owned(), url: None, params };
            fetch(&Resolvers::new(true), &world, &request).await
        };
        match ask("t").await {
            Answer::Found(found) => {
                assert!(matches!(&found.object, Object::Task(task) if task.name() == "t"));
            }
            other => panic!("{other:?}"),
        }
        match ask("none").await {
            Answer::Failed(Failure::NotFetched(why)) => {
                assert!(why.ends_with("tasks.tekton.dev \"none\" not found"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}
