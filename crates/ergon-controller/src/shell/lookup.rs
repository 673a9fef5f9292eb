//! Finding out what the engine asks for.

use ergon_api::{Group, Pipeline, StepAction, Task};
use ergon_engine::remote::{Answer, Failure, Request};
use ergon_engine::{Library, Need};
use futures::future::try_join_all;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{Error, Key, Shell};

/// What one need came to.
enum Found {
    Task(String, Option<Task>),
    Pipeline(String, Option<Pipeline>),
    StepAction(String, Option<StepAction>),
    Remote(Request, Answer),
    Image(String, Result<ergon_engine::ImageConfig, String>),
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
                let failure = Failure::NotFetched(format!("there is no resolver `{}`", request.resolver));
                Found::Remote(request.clone(), Answer::Failed(failure))
            }
            Need::Image(image) => Found::Image(image.clone(), self.images.config(image).await),
            Need::Pod(_) => Found::Nothing,
        })
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
