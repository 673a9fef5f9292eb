//! Finding out what the engine asks for.

use ergon_api::{Group, Pipeline, StepAction, Task};
use ergon_engine::fuse::Part;
use ergon_engine::pod::{Account, SecretView, plan_of};
use ergon_engine::remote::{Answer, Request};
use ergon_engine::{Library, Need};
use ergon_resolve::Data;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{LimitRange, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{Error, Key, RunKind, Shell};
use crate::resolution::Asker;

/// What one need came to.
enum Found {
    Task(String, Option<Task>),
    Pipeline(String, Option<Pipeline>),
    StepAction(String, Option<StepAction>),
    Remote(Request, Answer),
    Image(String, Result<ergon_engine::ImageConfig, String>),
    Account(String, Option<Account>),
    LimitRanges(Vec<LimitRange>),
    Part(String, Option<Box<Part>>),
    /// Looked up elsewhere.
    Nothing,
}

impl Shell {
    /// Looks up all needs side by side.
    ///
    /// Tasks and Pipelines are read from the API server and not from a cache: who applies a Task and then starts a run
    /// of it means the Task as it is now. Each run asks once, since its status keeps the answer.
    pub(super) async fn look_up(
        &self,
        key: &Key,
        needs: &[Need],
        library: &mut Library,
    ) -> Result<(), Error> {
        let found = try_join_all(needs.iter().map(|need| self.find(key, need))).await?;
        for found in found {
            match found {
                Found::Task(name, task) => {
                    library.tasks.insert(name, task);
                }
                Found::Pipeline(name, pipeline) => {
                    library.pipelines.insert(name, pipeline);
                }
                Found::Remote(request, answer) => {
                    library.remote.insert(request, answer);
                }
                Found::StepAction(name, action) => {
                    library.step_actions.insert(name, action.map(|action| action.spec));
                }
                Found::Image(image, config) => {
                    library.images.insert(image, config);
                }
                Found::Account(name, account) => {
                    library.accounts.insert(name, account);
                }
                Found::Part(pod, part) => {
                    library.parts.insert(pod, part);
                }
                Found::LimitRanges(ranges) => library.limit_ranges = Some(ranges),
                Found::Nothing => {}
            }
        }
        Ok(())
    }

    async fn find(&self, key: &Key, need: &Need) -> Result<Found, Error> {
        Ok(match need {
            Need::Task(name) => Found::Task(name.clone(), self.read(key, Task::KIND, name).await?),
            Need::Pipeline(name) => {
                Found::Pipeline(name.clone(), self.read(key, Pipeline::KIND, name).await?)
            }
            Need::StepAction(name) => {
                Found::StepAction(name.clone(), self.read(key, StepAction::KIND, name).await?)
            }
            Need::Remote(request) => {
                let run = self.runs(key.group).task_runs.get(&key.name);
                let owner = run.filter(|_| key.kind == RunKind::TaskRun).and_then(|run| Key::owner_of(&*run));
                let config = self.settings.now();
                let asker = Asker { key, reference: self.reference(key), owner: owner.as_ref() };
                let answer = self.resolutions.ask(&asker, request, &config).await;
                Found::Remote(request.clone(), answer)
            }
            Need::Image { reference, pull_secrets } => {
                let data = |secret: Secret| secret.data.unwrap_or_default().into_iter();
                let secrets = self.secrets(key, pull_secrets).await?.into_iter();
                let secrets: Vec<Data<Vec<u8>>> =
                    secrets.map(|secret| data(secret).map(|(key, value)| (key, value.0)).collect()).collect();
                let authorities = self.settings.authorities();
                let config = self.images.config(reference, &secrets, &authorities).await;
                Found::Image(reference.clone(), config)
            }
            Need::Account(name) => Found::Account(name.clone(), self.account(key, name).await?),
            Need::LimitRanges => {
                Found::LimitRanges(self.surroundings.limit_ranges(&self.client, &key.name.namespace).await?)
            }
            Need::Pod(_) => Found::Nothing,
            Need::Part(pod) => Found::Part(pod.clone(), self.part(key, pod).await?),
        })
    }

    /// What a shared pod brings with it of its pipeline run. The cache does not keep it.
    async fn part(&self, key: &Key, name: &str) -> Result<Option<Box<Part>>, Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.name.namespace);
        let pod = api.get_opt(name).await.map_err(|error| Error::api("read", "Pod", name, error))?;
        let plan = pod.as_ref().and_then(plan_of);
        Ok(plan.and_then(|plan| Part::of(&plan).ok().flatten()).map(Box::new))
    }

    /// The run as the owner of what is made for it; none where it is not known any more.
    fn reference(&self, key: &Key) -> Option<OwnerReference> {
        let runs = self.runs(key.group);
        let uid = match key.kind {
            RunKind::TaskRun => runs.task_runs.get(&key.name)?.uid().to_owned(),
            RunKind::PipelineRun => runs.pipeline_runs.get(&key.name)?.uid().to_owned(),
        };
        Some(OwnerReference {
            api_version: key.group.api_version().to_owned(),
            kind: key.kind.name().to_owned(),
            name: key.name.name.clone(),
            uid,
            controller: Some(true),
            block_owner_deletion: Some(true),
        })
    }

    /// A service account with what its Secrets are for. They are not kept: who may read them may also change.
    async fn account(&self, key: &Key, name: &str) -> Result<Option<Account>, Error> {
        let Some(account) = self.surroundings.account(&self.client, &key.name.namespace, name).await? else {
            return Ok(None);
        };
        let mut listed: Vec<String> =
            account.secrets.iter().flatten().filter_map(|secret| secret.name.clone()).collect();
        listed.retain(|name| !name.is_empty());
        let secrets = self.secrets(key, &listed).await?;
        let there = |name: &String| secrets.iter().any(|secret| secret.metadata.name.as_ref() == Some(name));
        Ok(Some(Account {
            missing_secrets: listed.iter().filter(|name| !there(name)).cloned().collect(),
            image_pull_secrets: account
                .image_pull_secrets
                .iter()
                .flatten()
                .map(|secret| secret.name.clone())
                .collect(),
            secrets: secrets
                .into_iter()
                .map(|secret| SecretView {
                    name: secret.metadata.name.unwrap_or_default(),
                    type_: secret.type_.unwrap_or_default(),
                    annotations: secret.metadata.annotations.unwrap_or_default(),
                    keys: secret.data.unwrap_or_default().into_keys().collect(),
                })
                .collect(),
        }))
    }

    /// Those of these Secrets that are there.
    async fn secrets(&self, key: &Key, names: &[String]) -> Result<Vec<Secret>, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.name.namespace);
        let read = names.iter().map(|name| {
            let api = api.clone();
            async move { api.get_opt(name).await.map_err(|error| Error::api("read", "Secret", name, error)) }
        });
        Ok(try_join_all(read).await?.into_iter().flatten().collect())
    }

    async fn read<K>(&self, key: &Key, kind: &'static str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = Group, Scope = kube::core::DynamicResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced_with(self.client.clone(), &key.name.namespace, &key.group);
        api.get_opt(name).await.map_err(|error| Error::api("read", kind, name, error))
    }
}
